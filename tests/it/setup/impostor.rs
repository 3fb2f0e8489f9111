//! An impostor of Postgres gets no password that the URL forbids, and no more time than `connect_timeout`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::harness::program;

const SECRET: &str = "hunter2";

/// The server's part of the protocol after the client's startup message.
type Part = fn(&mut TcpStream) -> std::io::Result<()>;

/// The impostor, with everything that clients have sent to it.
struct Impostor {
    port: u16,
    received: Arc<Mutex<Vec<u8>>>,
}

impl Impostor {
    fn start(part: Part) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let received = Arc::<Mutex<Vec<u8>>>::default();
        let all = Arc::clone(&received);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let all = Arc::clone(&all);
                std::thread::spawn(move || {
                    // The client may have disconnected.
                    let _ = part(&mut stream);
                    let mut rest = Vec::new();
                    let _ = stream.read_to_end(&mut rest);
                    all.lock().expect("no panic holds it").extend(rest);
                });
            }
        });
        Self { port, received }
    }

    fn url(&self, query: &str) -> String {
        format!("postgres://walpost:{SECRET}@127.0.0.1:{}/shop?sslmode=disable&{query}", self.port)
    }

    fn has_received_the_secret(&self) -> bool {
        let received = self.received.lock().expect("no panic holds it");
        received.windows(SECRET.len()).any(|window| window == SECRET.as_bytes())
    }
}

fn read_start_up(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).expect("a length fits");
    stream.read_exact(&mut vec![0; length.saturating_sub(4)])
}

/// Requests the password in clear text.
fn ask_for_the_password(stream: &mut TcpStream) -> std::io::Result<()> {
    read_start_up(stream)?;
    stream.write_all(b"R\0\0\0\x08\0\0\0\x03")
}

/// Sends notices endlessly.
fn send_notices(stream: &mut TcpStream) -> std::io::Result<()> {
    read_start_up(stream)?;
    loop {
        stream.write_all(b"N\0\0\0\x18SNOTICE\0C00000\0Mno\0\0")?;
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Commands that connect to Postgres first.
fn commands(url: &str) -> Vec<Vec<String>> {
    let commands = [
        vec!["migrate", "--database-url", url],
        vec!["contract", "list", "--database-url", url],
        vec!["contract", "show", "order.placed", "--database-url", url],
        vec!["demo", "--postgres", url],
    ];
    commands.map(|words| words.into_iter().map(str::to_owned).collect()).into()
}

fn run(words: &[String]) -> program::Ended {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    program::run(words[0], &words[1..])
}

#[test]
fn case_45_an_impostor_gets_no_password_if_channel_binding_is_required() {
    let server = Impostor::start(ask_for_the_password);
    for words in commands(&server.url("channel_binding=require")) {
        let ended = run(&words);
        assert!(matches!(ended.code(), Some(64 | 69)), "{words:?}: {ended:?}");
        assert!(ended.stderr.contains("channel_binding"), "{words:?}: {}", ended.stderr);
        assert!(!ended.stderr.contains(SECRET), "{}", ended.stderr);
    }
    for words in &commands(&server.url("require_auth=scram-sha-256"))[..3] {
        let ended = run(words);
        assert_eq!(ended.code(), Some(69), "{words:?}: {ended:?}");
        assert!(ended.stderr.contains("require_auth"), "{words:?}: {}", ended.stderr);
    }
    assert!(!server.has_received_the_secret());
}

#[test]
fn case_45_connect_timeout_applies_to_every_command_and_notices_do_not_extend_it() {
    let server = Impostor::start(send_notices);
    for words in commands(&server.url("connect_timeout=1")) {
        let ended = run(&words);
        assert_eq!(ended.code(), Some(69), "{words:?}: {ended:?}");
        assert!(ended.stderr.contains("did not answer for 1 s"), "{words:?}: {}", ended.stderr);
    }
}
