//! Random names, passwords and ports.

use std::net::{Ipv4Addr, TcpListener};

use ring::rand::{SecureRandom, SystemRandom};

/// A random string of `length` lowercase letters and digits, good for a password too.
pub(super) fn token(length: usize) -> String {
    // 32 symbols, so that every byte maps to one without bias.
    const SYMBOLS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = vec![0; length];
    fill(&mut bytes);
    bytes.iter().map(|byte| char::from(SYMBOLS[usize::from(byte % 32)])).collect()
}

/// A port of 127.0.0.1 that nobody listens on.
///
/// It lies below the range that operating systems give to outgoing connections (32768 and up on Linux, 49152 on macOS). A
/// client that tries a stopped server's port again and again would otherwise be given that very port some day, connect to
/// itself, and keep the server from coming back.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 15_000;
    const COUNT: u16 = 16_384;
    for _ in 0..1000 {
        let mut bytes = [0; 2];
        fill(&mut bytes);
        let port = FIRST + u16::from_le_bytes(bytes) % COUNT;
        if is_free(port) {
            return port;
        }
    }
    panic!("not one of 1000 random ports of 127.0.0.1 was free")
}

/// Whether nobody listens on this port of 127.0.0.1.
fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn fill(bytes: &mut [u8]) {
    SystemRandom::new().fill(bytes).expect("the operating system gives random bytes");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_its_length_and_is_never_the_same() {
        assert_eq!(token(20).len(), 20);
        assert_ne!(token(20), token(20));
    }

    #[test]
    fn a_free_port_can_be_bound_and_is_no_ephemeral_one() {
        let port = free_port();
        assert!(port < 32_768);
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("nobody took it in between");
    }
}
