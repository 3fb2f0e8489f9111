//! Random names, passwords and ports.

use std::net::{Ipv4Addr, TcpListener};

use ring::rand::{SecureRandom, SystemRandom};

/// A random string of `length` lowercase letters and digits, suitable as a password.
pub(super) fn token(length: usize) -> String {
    // 32 symbols, so that every byte maps to one without bias.
    const SYMBOLS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = vec![0; length];
    fill(&mut bytes);
    bytes.iter().map(|byte| char::from(SYMBOLS[usize::from(byte % 32)])).collect()
}

/// A port of 127.0.0.1 without a listener.
///
/// It is below the ephemeral port range of operating systems (32768 and up on Linux, 49152 on macOS). Otherwise a client that retries a
/// stopped server's port could be assigned that port, connect to itself, and prevent the server from restarting.
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

/// Whether this port of 127.0.0.1 has no listener.
fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn fill(bytes: &mut [u8]) {
    SystemRandom::new().fill(bytes).expect("the operating system has random bytes");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_have_the_requested_length_and_differ() {
        assert_eq!(token(20).len(), 20);
        assert_ne!(token(20), token(20));
    }

    #[test]
    fn a_free_port_can_be_bound_and_is_not_ephemeral() {
        let port = free_port();
        assert!(port < 32_768);
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("nobody took it in between");
    }
}
