//! The replication connection's socket, read in large pieces.

use std::io::{self, BufRead, Write};
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags};
use rustix::net::{AddressFamily, RecvFlags, SocketType, recv, socket, sockopt};
use rustls::ClientConnection;

use super::watermark::set_receive_low_watermark;
use crate::postgres::{Error, Socket, Transport};
use crate::source::batch_channel::{BatchChannel, wait};
use crate::source::limits::{CIPHER_BYTES, LOW_WATERMARK_BYTES, LOW_WATERMARK_PATIENCE, RECEIVE_BUFFER_BYTES};

/// How reads wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadMode {
    /// Caught up: wake for the first byte.
    Prompt,
    /// Behind: wake for many.
    Bulk,
}

/// The outcome of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// This many bytes were added to the buffer.
    Bytes(usize),
    /// None can be read yet.
    Nothing,
    /// The server closed the connection.
    End,
}

/// The socket, with its TLS session if it has one.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: Socket,
    tls: Option<Box<Tls>>,
    mode: ReadMode,
}

#[derive(Debug)]
struct Tls {
    session: ClientConnection,
    cipher: Vec<u8>,
}

impl Wire {
    /// Takes over a connection's socket.
    pub(crate) fn new(transport: Transport) -> io::Result<Self> {
        let (socket, tls) = match transport {
            Transport::Plain(socket) => (socket, None),
            Transport::Tls(stream) => {
                let (session, socket) = stream.into_parts();
                (socket, Some(Box::new(Tls { session, cipher: Vec::with_capacity(CIPHER_BYTES) })))
            }
        };
        socket.set_read_timeout(LOW_WATERMARK_PATIENCE)?;
        enlarge_receive_buffer(&socket)?;
        Ok(Self { socket, tls, mode: ReadMode::Prompt })
    }

    pub(crate) fn set_mode(&mut self, mode: ReadMode) -> io::Result<()> {
        if self.mode != mode {
            let bytes = if mode == ReadMode::Bulk { LOW_WATERMARK_BYTES } else { 1 };
            set_receive_low_watermark(&self.socket, bytes)?;
            self.mode = mode;
        }
        Ok(())
    }

    /// Reads once into the buffer's spare room, which must not be empty. In prompt mode it waits until bytes
    /// arrive, the bell rings or the deadline passes; in bulk mode for at most 2 ms.
    pub(crate) fn read(
        &mut self,
        buffer: &mut Vec<u8>,
        channel: &mut BatchChannel,
        until: Instant,
    ) -> Result<Received, Error> {
        let flags = match self.mode {
            ReadMode::Bulk => RecvFlags::empty(),
            ReadMode::Prompt => {
                let mut ready = [PollFd::new(&self.socket, PollFlags::IN), PollFd::new(channel.bell(), PollFlags::IN)];
                wait(&mut ready, Some(until))?;
                let [readable, rings] = ready.map(|descriptor| !descriptor.revents().is_empty());
                if rings {
                    channel.silence();
                }
                if !readable {
                    return Ok(Received::Nothing);
                }
                RecvFlags::DONTWAIT
            }
        };
        match &mut self.tls {
            None => receive(&self.socket, buffer, flags),
            Some(tls) => {
                tls.cipher.clear();
                match receive(&self.socket, &mut tls.cipher, flags)? {
                    Received::Bytes(_) => {}
                    other => return Ok(other),
                }
                let received = tls.decrypt(buffer).map_err(closed)?;
                if tls.session.wants_write() {
                    tls.session.write_tls(&mut self.socket).map_err(closed)?;
                }
                Ok(received)
            }
        }
    }

    /// What the TLS session had decrypted before the socket was handed over; polling the socket would not report it.
    pub(crate) fn read_decrypted(&mut self, buffer: &mut Vec<u8>) -> Result<Received, Error> {
        match &mut self.tls {
            None => Ok(Received::Nothing),
            Some(tls) => tls.drain(buffer).map_err(closed),
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let written = match &mut self.tls {
            None => self.socket.write_all(bytes),
            Some(tls) => {
                let mut stream = rustls::Stream::new(&mut tls.session, &mut self.socket);
                stream.write_all(bytes).and_then(|()| stream.flush())
            }
        };
        written.map_err(closed)
    }
}

impl Tls {
    /// Decrypts everything that was received. Only a partial record stays behind.
    fn decrypt(&mut self, buffer: &mut Vec<u8>) -> io::Result<Received> {
        let mut rest = self.cipher.as_slice();
        let mut total = 0;
        while !rest.is_empty() {
            self.session.read_tls(&mut rest)?;
            self.session.process_new_packets().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            match drain(&mut self.session, buffer)? {
                Received::Bytes(count) => total += count,
                Received::Nothing => {}
                Received::End if total == 0 => return Ok(Received::End),
                // What was sent before the close counts; the next read meets the end again.
                Received::End => break,
            }
        }
        Ok(if total == 0 { Received::Nothing } else { Received::Bytes(total) })
    }

    fn drain(&mut self, buffer: &mut Vec<u8>) -> io::Result<Received> {
        drain(&mut self.session, buffer)
    }
}

fn drain(session: &mut ClientConnection, buffer: &mut Vec<u8>) -> io::Result<Received> {
    let mut reader = session.reader();
    let mut total = 0;
    loop {
        match reader.fill_buf() {
            Ok([]) if total == 0 => return Ok(Received::End),
            Ok([]) => return Ok(Received::Bytes(total)),
            Ok(plain) => {
                buffer.extend_from_slice(plain);
                let count = plain.len();
                total += count;
                reader.consume(count);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Ok(if total == 0 { Received::Nothing } else { Received::Bytes(total) });
            }
            Err(error) => return Err(error),
        }
    }
}

fn receive(socket: &Socket, buffer: &mut Vec<u8>, flags: RecvFlags) -> Result<Received, Error> {
    match recv(socket, spare_capacity(buffer), flags) {
        Ok((0, _)) => Ok(Received::End),
        Ok((count, _)) => Ok(Received::Bytes(count)),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(Received::Nothing),
        Err(error) => Err(closed(error.into())),
    }
}

fn closed(error: io::Error) -> Error {
    Error::Closed { source: Some(error) }
}

/// Requests a larger receive buffer if the system grants one. If it does not (Linux's `net.core.rmem_max`), the
/// request would fix the buffer below the size to which the system grows it by itself, so a spare socket is tried
/// first.
fn enlarge_receive_buffer(real: &Socket) -> io::Result<()> {
    if !real.is_tcp() {
        return Ok(());
    }
    let trial = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    sockopt::set_socket_recv_buffer_size(&trial, RECEIVE_BUFFER_BYTES)?;
    let granted = sockopt::socket_recv_buffer_size(&trial)?;
    let present = sockopt::socket_recv_buffer_size(real)?;
    if granted >= RECEIVE_BUFFER_BYTES && granted > present {
        sockopt::set_socket_recv_buffer_size(real, RECEIVE_BUFFER_BYTES)?;
    }
    Ok(())
}
