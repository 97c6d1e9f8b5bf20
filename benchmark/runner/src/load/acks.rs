//! Broadcasts with acknowledgements: one client asks the server to ask a room, all others answer. What is counted
//! is acknowledgements.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use memchr::memmem;
use rustix::io::Errno;

use super::connect::{self, Opening};
use super::meter::Meter;
use super::socket::{Received, Socket};
use super::wire::{Frame, client_text};
use super::{Poller, RECEIVE_BUFFER, STALL, Timing};
use crate::sample::Sample;
use crate::server::Server;

const SENDER: usize = 0;
/// The clients that answer are in this room.
const JOIN: &[u8] = br#"42["join","all"]"#;
/// The question, with the id under which the sender awaits the answers of all.
const ASK_ALL: &[u8] = br#"420["ack-all","all","a question"]"#;
const ANSWERS: &[u8] = b"430[";
const QUESTION: &[u8] = br#"["ask","a question"]"#;
const ANSWER: &str = r#"["an answer"]"#;

struct Client {
    socket: Socket,
    /// What was read and not understood yet.
    received: Vec<u8>,
    /// What the socket has not taken.
    unsent: Vec<u8>,
}

pub(super) fn run(opening: Opening<'_>, receivers: usize, server: &Server, timing: Timing) -> Result<Sample> {
    let mut poller = Poller::new()?;
    let mut clients = Vec::with_capacity(receivers + 1);
    for (index, (socket, received)) in connect::open_sockets(opening, receivers + 1)?.into_iter().enumerate()
    {
        poller.add(socket.tcp(), index)?;
        clients.push(Client { socket, received, unsent: Vec::new() });
    }
    for client in clients.iter_mut().skip(1) {
        client.say(JOIN)?;
    }
    settle(&mut clients, &mut poller)?;
    let mut buffer = vec![0; RECEIVE_BUFFER];
    let mut meter = Meter::start_fan_out(server, timing, receivers)?;
    let mut asked = Instant::now();
    meter.allow(1);
    clients[SENDER].say(ASK_ALL)?;
    loop {
        for index in poller.wait(Duration::from_millis(100))? {
            let answered = clients[index].advance(&mut buffer)?;
            if let Some(answers) = answered {
                ensure!(answers == receivers, "{answers} of {receivers} have answered");
                meter.record(asked.elapsed(), receivers as u64);
                asked = Instant::now();
                if meter.allow(1) == 1 {
                    clients[SENDER].say(ASK_ALL)?;
                }
            }
        }
        if asked.elapsed() > STALL {
            bail!("no answers for {STALL:?}");
        }
        if let Some(sample) = meter.tick()? {
            return Ok(sample);
        }
    }
}

/// Waits until nothing more comes: all clients are in the room then.
fn settle(clients: &mut [Client], poller: &mut Poller) -> Result<()> {
    let mut buffer = vec![0; RECEIVE_BUFFER];
    let mut is_silent = false;
    while !is_silent {
        is_silent = true;
        for index in poller.wait(Duration::from_millis(300))? {
            is_silent = false;
            clients[index].advance(&mut buffer)?;
        }
    }
    Ok(())
}

impl Client {
    fn say(&mut self, packet: &[u8]) -> Result<()> {
        self.unsent.extend(client_text(packet));
        self.flush()
    }

    fn flush(&mut self) -> Result<()> {
        while !self.unsent.is_empty() {
            match self.socket.send(&self.unsent) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads what there is, and answers questions; the number of answers where all have come to the sender.
    fn advance(&mut self, buffer: &mut [u8]) -> Result<Option<usize>> {
        self.flush()?;
        loop {
            match self.socket.receive(buffer) {
                Ok(Received { bytes: 0, .. }) => bail!("the server closed a connection"),
                Ok(Received { bytes, more }) => {
                    self.received.extend_from_slice(&buffer[..bytes]);
                    if !more {
                        break;
                    }
                }
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let (mut used, mut answers) = (0, None);
        while let Some(frame) = Frame::parse(&self.received[used..]) {
            used += frame.length;
            ensure!(!frame.is_close(), "the server closed a connection");
            match answer_to(frame.payload) {
                Some(packet) => self.unsent.extend(client_text(&packet)),
                None if frame.payload.starts_with(ANSWERS) => {
                    answers = Some(memmem::find_iter(frame.payload, b"an answer").count());
                }
                None => {}
            }
        }
        self.received.drain(..used);
        self.flush()?;
        Ok(answers)
    }
}

/// What a client says to a packet: its answer to the question, or a pong. Protocol 5 of Socket.IO.
fn answer_to(packet: &[u8]) -> Option<Vec<u8>> {
    if packet == b"2" {
        return Some(b"3".to_vec());
    }
    let id = packet.strip_prefix(b"42")?.strip_suffix(QUESTION)?;
    let is_id = !id.is_empty() && id.iter().all(u8::is_ascii_digit);
    is_id.then(|| [b"43", id, ANSWER.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::answer_to;

    #[test]
    fn a_question_is_answered_with_its_id_and_a_ping_with_a_pong() {
        for (packet, answer) in [
            (r#"4217["ask","a question"]"#, Some(r#"4317["an answer"]"#)),
            (r#"42["ask","a question"]"#, None),
            (r#"42["auth",{}]"#, None),
            ("2", Some("3")),
            ("40", None),
        ] {
            let said = answer_to(packet.as_bytes()).map(|said| String::from_utf8(said).unwrap());
            assert_eq!(said.as_deref(), answer, "{packet}");
        }
    }
}
