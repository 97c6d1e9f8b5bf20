//! One client connection under load: what it still owes the server, and what came of the next reply.

use std::net::TcpStream;

use anyhow::{Result, bail};
use rustix::io::Errno;

use super::socket::{Received, Socket};
use super::wire::Traffic;

pub(super) struct Connection {
    socket: Socket,
    /// Bytes of messages that the socket has not taken yet, and where in a message they begin.
    owed: usize,
    phase: usize,
    pongs_due: usize,
    /// The beginning of a reply whose end has not come.
    tail: Vec<u8>,
    /// Instead of it, where replies are large: how many bytes of one have come.
    begun: usize,
}

impl Connection {
    /// Takes over a socket that has spoken its handshake; `tail` is what was read beyond it.
    pub(super) fn new(socket: Socket, tail: Vec<u8>) -> Self {
        Self { socket, owed: 0, phase: 0, pongs_due: 0, tail, begun: 0 }
    }

    pub(super) fn socket(&self) -> &TcpStream {
        self.socket.tcp()
    }

    /// Sends `n` messages, as far as the socket takes them; [`Self::flush`] sends the rest.
    pub(super) fn send(&mut self, traffic: &Traffic, n: usize) -> Result<()> {
        self.owed += n * traffic.request_len();
        self.flush(traffic)
    }

    pub(super) fn flush(&mut self, traffic: &Traffic) -> Result<()> {
        match self.socket.flush() {
            Ok(()) => {}
            Err(Errno::AGAIN) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        while self.owed > 0 {
            match self.socket.send(traffic.request_bytes(self.phase, self.owed)) {
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
            match self.socket.send(traffic.pong()) {
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
        if traffic.is_large() {
            return self.receive_large(traffic, buffer);
        }
        let mut messages = 0;
        loop {
            let kept = self.tail.len();
            buffer[..kept].copy_from_slice(&self.tail);
            let Received { bytes, more } = match self.socket.receive(&mut buffer[kept..]) {
                Ok(Received { bytes: 0, .. }) => bail!("the server closed a connection"),
                Ok(received) => received,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let bytes = &buffer[..kept + bytes];
            let counted = traffic.count(bytes)?;
            messages += counted.messages;
            self.pongs_due += counted.pings;
            self.tail.clear();
            self.tail.extend_from_slice(&bytes[counted.used..]);
            if !more {
                break;
            }
        }
        if self.pongs_due > 0 {
            self.flush(traffic)?;
        }
        Ok(messages)
    }

    /// As [`Self::receive`], of replies that are compared as they come rather than kept until they are whole.
    fn receive_large(&mut self, traffic: &Traffic, buffer: &mut [u8]) -> Result<usize> {
        let mut messages = 0;
        loop {
            match self.socket.receive(buffer) {
                Ok(Received { bytes: 0, .. }) => bail!("the server closed a connection"),
                Ok(Received { bytes, more }) => {
                    messages += traffic.follow(&buffer[..bytes], &mut self.begun)?;
                    if !more {
                        return Ok(messages);
                    }
                }
                Err(Errno::AGAIN) => return Ok(messages),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
