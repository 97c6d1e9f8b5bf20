//! One client connection under load: what it still owes the server, and what came of the next reply.

use std::net::TcpStream;

use anyhow::{Result, bail};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::wire::Traffic;

pub(super) struct Connection {
    socket: TcpStream,
    /// Bytes of messages that the socket has not taken yet, and where in a message they begin.
    owed: usize,
    phase: usize,
    pongs_due: usize,
    /// The beginning of a reply whose end has not come.
    tail: Vec<u8>,
}

impl Connection {
    /// Takes over a socket that has spoken its handshake; `tail` is what was read beyond it.
    pub(super) fn new(socket: TcpStream, tail: Vec<u8>) -> Self {
        Self { socket, owed: 0, phase: 0, pongs_due: 0, tail }
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Sends `n` messages, as far as the socket takes them; [`Self::flush`] sends the rest.
    pub(super) fn send(&mut self, traffic: &Traffic, n: usize) -> Result<()> {
        self.owed += n * traffic.request_len();
        self.flush(traffic)
    }

    pub(super) fn flush(&mut self, traffic: &Traffic) -> Result<()> {
        while self.owed > 0 {
            match send(&self.socket, traffic.request_bytes(self.phase, self.owed), SendFlags::NOSIGNAL) {
                Ok(n) => {
                    self.owed -= n;
                    self.phase = (self.phase + n) % traffic.request_len();
                }
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        while self.pongs_due > 0 {
            // A handful of bytes into an empty queue: it goes whole or not at all.
            match send(&self.socket, traffic.pong(), SendFlags::NOSIGNAL) {
                Ok(_) => self.pongs_due -= 1,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads all there is into `buffer` and returns how many messages have come in full.
    pub(super) fn receive(&mut self, traffic: &Traffic, buffer: &mut [u8]) -> Result<usize> {
        let mut messages = 0;
        loop {
            let kept = self.tail.len();
            buffer[..kept].copy_from_slice(&self.tail);
            let room = buffer.len() - kept;
            let n = match recv(&self.socket, &mut buffer[kept..], RecvFlags::empty()) {
                Ok((_, 0)) => bail!("the server closed a connection"),
                Ok((_, n)) => n,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let bytes = &buffer[..kept + n];
            let counted = traffic.count(bytes)?;
            messages += counted.messages;
            self.pongs_due += counted.pings;
            self.tail.clear();
            self.tail.extend_from_slice(&bytes[counted.used..]);
            if n < room {
                break;
            }
        }
        if self.pongs_due > 0 {
            self.flush(traffic)?;
        }
        Ok(messages)
    }
}
