//! TLS as `sslmode` asks for it, by rustls.
//!
//! Who is trusted follows libpq: `prefer` and `require` take any certificate (`require` with root certificates given is
//! `verify-ca`), `verify-ca` wants a chain to a root, `verify-full` the host's name in the certificate too. Two things are
//! stricter: names are read from the certificate's alternative names alone, never from its common name; and where a
//! certificate is verified, it must be X.509 v3 with a key that rustls can verify (not P-521, not RSA for PSS alone).

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme};
use x509_cert::der::Decode;

use super::options::{ConnectOptions, Host, RootCertificates, TlsMode};

/// Why there is no TLS session.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The server has no TLS, and `sslmode` demands it.
    #[error("the server does not support TLS: enable it there (ssl = on), or set sslmode=disable")]
    NotOffered,
    /// The answer to the request for TLS is none.
    #[error("the server's answer to the TLS request is invalid")]
    NoAnswer,
    /// `verify-ca` and `verify-full` need somebody to trust.
    #[error(
        "sslmode requires verifying the server, but there are no trusted certificates: set sslrootcert=FILE or sslrootcert=system"
    )]
    NoRoots,
    /// A PEM file can't be read.
    #[error("cannot read the PEM file {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What exactly.
        #[source]
        source: pem::Error,
    },
    /// The PEM file has no certificate in it, or the system no root.
    #[error("{} has no usable certificate", .0.display())]
    Empty(PathBuf),
    /// The key can be read by others.
    #[error("key file {} can be read by others: chmod 0600 it", .0.display())]
    KeyPermissions(PathBuf),
    /// The host is no name that a certificate could bear.
    #[error("\"{0}\" is not a valid name in a certificate")]
    Name(String),
    /// The certificates or keys given don't fit.
    #[error("the certificates or keys are unusable")]
    Setup(#[source] rustls::Error),
    /// The handshake failed: among others a certificate that is not trusted.
    #[error("the TLS handshake failed")]
    Handshake(#[source] io::Error),
}

impl TlsError {
    /// Whether it was the network that failed, not the trust.
    pub(super) fn is_transient(&self) -> bool {
        matches!(self, Self::Handshake(error) if error.kind() != io::ErrorKind::InvalidData)
    }
}

/// Whether the server has not shown that it owns the key of its certificate, which is of a kind that only `prefer` and
/// `require` accept.
pub(super) type Unproved = Arc<AtomicBool>;

/// A session that is ready for its handshake.
pub(super) fn session(options: &ConnectOptions) -> Result<(ClientConnection, Unproved), TlsError> {
    let unproved = Unproved::default();
    let config = config(options, &unproved)?;
    let host = match options.host() {
        Host::Tcp(name) => name.clone(),
        Host::Unix(_) => String::from("localhost"),
    };
    let name = match ServerName::try_from(host.clone()) {
        Ok(name) => name,
        Err(_) if options.tls_mode() == TlsMode::VerifyFull => return Err(TlsError::Name(host)),
        // The name is not looked at; it only has to be one.
        Err(_) => ServerName::from(std::net::IpAddr::from([127, 0, 0, 1])),
    };
    let session = ClientConnection::new(Arc::new(config), name).map_err(TlsError::Setup)?;
    Ok((session, unproved))
}

fn config(options: &ConnectOptions, unproved: &Unproved) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let trust = trust(options, &provider)?;
    let verifier = Verifier { trust, provider: provider.clone(), unproved: Arc::clone(unproved) };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    match (options.client_certificate(), options.client_key()) {
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate)?;
            check_key_permissions(key)?;
            let key =
                PrivateKeyDer::from_pem_file(key).map_err(|source| TlsError::File { path: key.to_owned(), source })?;
            builder.with_client_auth_cert(chain, key).map_err(TlsError::Setup)
        }
        _ => Ok(builder.with_no_client_auth()),
    }
}

/// By libpq's rule: nobody else may read the key, unless it is root's and a group may.
fn check_key_permissions(path: &Path) -> Result<(), TlsError> {
    // A file that can't be looked at is reported by the read that follows.
    let Ok(metadata) = fs::metadata(path) else { return Ok(()) };
    let forbidden = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    if metadata.permissions().mode() & forbidden == 0 { Ok(()) } else { Err(TlsError::KeyPermissions(path.to_owned())) }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    let found = read().map_err(|source| TlsError::File { path: path.to_owned(), source })?;
    if found.is_empty() { Err(TlsError::Empty(path.to_owned())) } else { Ok(found) }
}

/// Whom to trust; `None` is anybody.
fn trust(options: &ConnectOptions, provider: &Arc<CryptoProvider>) -> Result<Option<Trust>, TlsError> {
    let check_name = match (options.tls_mode(), options.root_certificates()) {
        (TlsMode::Disable | TlsMode::Prefer, _) | (TlsMode::Require, None) => return Ok(None),
        (TlsMode::Require | TlsMode::VerifyCa, _) => false,
        (TlsMode::VerifyFull, _) => true,
    };
    let mut roots = RootCertStore::empty();
    let mut pinned = Vec::new();
    let origin = match options.root_certificates() {
        None => return Err(TlsError::NoRoots),
        Some(RootCertificates::File(path)) => {
            pinned = certificates(path)?;
            roots.add_parsable_certificates(pinned.iter().cloned());
            path.clone()
        }
        Some(RootCertificates::System) => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            PathBuf::from("the system's certificate store")
        }
    };
    let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    let chain = chain.map_err(|_| TlsError::Empty(origin))?;
    Ok(Some(Trust { chain, pinned, check_name }))
}

#[derive(Debug)]
struct Trust {
    chain: Arc<WebPkiServerVerifier>,
    /// The certificates of `sslrootcert`. A server that signs for itself shows one of them as its own, which a chain
    /// check alone refuses: it is a root, not a server's.
    pinned: Vec<CertificateDer<'static>>,
    check_name: bool,
}

#[derive(Debug)]
struct Verifier {
    trust: Option<Trust>,
    provider: Arc<CryptoProvider>,
    unproved: Unproved,
}

/// Schemes of certificates that only OpenSSL can verify: ECDSA on P-521, Ed448, and RSA keys that are for PSS alone
/// (RFC 8446, section 4.2.3). They are offered where nobody is trusted anyway.
const UNVERIFIED: [SignatureScheme; 5] = [
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::ED448,
    SignatureScheme::Unknown(0x0809),
    SignatureScheme::Unknown(0x080a),
    SignatureScheme::Unknown(0x080b),
];

impl Verifier {
    /// The result of verifying the handshake's signature. Where any certificate will do, one whose kind can't be verified
    /// here will do, too: whoever could forge it could as well show a certificate of their own.
    fn judge(
        &self,
        scheme: SignatureScheme,
        verify: impl FnOnce() -> Result<HandshakeSignatureValid, rustls::Error>,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if self.trust.is_some() {
            return verify();
        }
        let is_known = self.provider.signature_verification_algorithms.supported_schemes().contains(&scheme);
        match is_known.then(verify) {
            Some(Ok(valid)) => return Ok(valid),
            Some(Err(error)) if is_forged(&error) => return Err(error),
            Some(Err(_)) | None => {}
        }
        self.unproved.store(true, Ordering::Relaxed);
        Ok(HandshakeSignatureValid::assertion())
    }
}

/// Whether a signature is wrong, rather than of a kind that can't be verified here.
fn is_forged(error: &rustls::Error) -> bool {
    !matches!(error, rustls::Error::InvalidCertificate(reason) if !matches!(reason, CertificateError::BadSignature))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(trust) = &self.trust else { return Ok(ServerCertVerified::assertion()) };
        if trust.pinned.contains(end_entity) {
            check_validity(end_entity, now)?;
            if trust.check_name {
                rustls::client::verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        match trust.chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is the last thing that is verified, so the chain is sound.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !trust.check_name => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        self.judge(signature.scheme, || verify_tls12_signature(message, certificate, signature, algorithms))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        self.judge(signature.scheme, || verify_tls13_signature(message, certificate, signature, algorithms))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = self.provider.signature_verification_algorithms.supported_schemes();
        if self.trust.is_none() {
            schemes.extend(UNVERIFIED);
        }
        schemes
    }
}

fn check_validity(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), rustls::Error> {
    let parsed = x509_cert::Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let validity = parsed.tbs_certificate.validity;
    if now.as_secs() > validity.not_after.to_unix_duration().as_secs() {
        return Err(CertificateError::Expired.into());
    }
    if now.as_secs() < validity.not_before.to_unix_duration().as_secs() {
        return Err(CertificateError::NotValidYet.into());
    }
    Ok(())
}

/// The channel binding data `tls-server-end-point` (RFC 5929, section 4.1): the hash of the server's certificate, by the
/// hash function of its signature, or by SHA-256 where that one is MD5 or SHA-1.
///
/// `None` where the RFC defines none: signatures without one hash function, such as Ed25519.
pub(super) fn server_end_point(session: &ClientConnection) -> Option<Vec<u8>> {
    end_point_hash(session.peer_certificates()?.first()?)
}

fn end_point_hash(certificate: &[u8]) -> Option<Vec<u8>> {
    let parsed = x509_cert::Certificate::from_der(certificate).ok()?;
    let algorithm = match parsed.signature_algorithm.oid.to_string().as_str() {
        // RSA with MD5, SHA-1 and SHA-256; ECDSA with SHA-1 and SHA-256.
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.1"
        | "1.2.840.10045.4.3.2" => &ring::digest::SHA256,
        // RSA and ECDSA with SHA-384.
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => &ring::digest::SHA384,
        // RSA and ECDSA with SHA-512.
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => &ring::digest::SHA512,
        _ => return None,
    };
    Some(ring::digest::digest(algorithm, certificate).as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_point_hash_follows_the_signature() {
        for (algorithm, length) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, Some(32)),
            (&rcgen::PKCS_ECDSA_P384_SHA384, Some(48)),
            (&rcgen::PKCS_ED25519, None),
        ] {
            let key = rcgen::KeyPair::generate_for(algorithm).expect("a key");
            let certificate = rcgen::CertificateParams::new(vec!["h".to_owned()]).expect("a name").self_signed(&key);
            let hash = end_point_hash(certificate.expect("a certificate").der());
            assert_eq!(hash.map(|hash| hash.len()), length);
        }
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let key = tempfile::NamedTempFile::new().expect("a file");
        let check = |mode| {
            fs::set_permissions(key.path(), fs::Permissions::from_mode(mode)).expect("own file");
            check_key_permissions(key.path())
        };
        assert!(check(0o600).is_ok());
        assert!(matches!(check(0o644), Err(TlsError::KeyPermissions(_))));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_hashed_or_not(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = end_point_hash(&bytes);
        }
    }
}
