//! A message on its way from a home to the workers.

use std::rc::Rc;

use crate::command::Command;
use crate::reply::ReplySender;
use crate::worker::{Worker, WorkerId};
use crate::{HubError, Request};

/// What goes out from the home, in its order.
pub(super) struct Outgoing {
    /// The last change that must be stored before.
    pub(super) ticket: u64,
    pub(super) from: Option<WorkerId>,
    pub(super) to: To,
    /// The workers that have it already: this one first, then the others by their numbers.
    pub(super) sent: usize,
}

/// The workers that it is for.
pub(super) enum To {
    All(Request, Option<ReplySender>),
    One(WorkerId, Option<Command>),
}

impl Outgoing {
    /// Sends to the workers that do not have it yet.
    ///
    /// # Errors
    /// The worker whose inbox is full.
    pub(super) fn send(&mut self, worker: &Rc<Worker>) -> Result<(), WorkerId> {
        let hub = worker.hub();
        let workers = match &self.to {
            To::All(..) => hub.workers(),
            To::One(..) => 1,
        };
        while self.sent < workers {
            let (to, command) = match &mut self.to {
                To::All(request, reply) => {
                    let to = nth(worker.id(), self.sent);
                    (to, Command::Request(request.clone(), reply.clone()))
                }
                To::One(to, command) => {
                    let Some(command) = command.take() else { return Ok(()) };
                    (*to, command)
                }
            };
            let command = if self.from == Some(to) { Command::FromHome(Box::new(command)) } else { command };
            if to == worker.id() {
                self.sent += 1;
                worker.execute(command);
                continue;
            }
            match hub.offer(to, command) {
                Err((HubError::InboxFull(full), command)) => {
                    self.give_back(command);
                    return Err(full);
                }
                // One that has stopped needs nothing more.
                _ => self.sent += 1,
            }
        }
        Ok(())
    }

    fn give_back(&mut self, command: Option<Command>) {
        if let To::One(_, place) = &mut self.to {
            *place = command.map(|command| match command {
                Command::FromHome(command) => *command,
                command => command,
            });
        }
    }
}

/// The workers in the order in which a home sends to them: itself, then the others.
fn nth(home: WorkerId, nth: usize) -> WorkerId {
    match nth {
        0 => home,
        nth if nth <= usize::from(home.0) => WorkerId((nth - 1) as u8),
        nth => WorkerId(nth as u8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_sends_to_itself_first_and_to_each_worker_once() {
        for home in 0..4 {
            let mut all: Vec<_> = (0..4).map(|n| nth(WorkerId(home), n).0).collect();
            assert_eq!(all.first(), Some(&home));
            all.sort_unstable();
            assert_eq!(all, [0, 1, 2, 3]);
        }
    }
}
