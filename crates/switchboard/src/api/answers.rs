//! The answers of many: of sockets that a broadcast asked, and of other nodes' servers.

use std::ops::Deref;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use switchboard_hub::{Answered, HubError, NoAnswer};
use switchboard_protocol::socketio::{Args, ArgsError, from_args_within};

use super::ack::AckResult;
use crate::event::{put_part, take_part};
use crate::{AckError, EmitError, SocketId};

/// What each socket acknowledged with: an answer or an error for each socket that was asked, in no order. It
/// is a slice, and an iterator when it is taken apart.
#[derive(Debug)]
pub struct Answers<R> {
    answers: Vec<(SocketId, Result<R, AckError>)>,
    missing: usize,
}

/// The answers to a broadcast, when all are there or the time is over.
pub type AnswersFuture<R> = Pin<Box<dyn Future<Output = Result<Answers<R>, EmitError>> + Send>>;

impl<R: DeserializeOwned> Answers<R> {
    pub(super) fn read(answered: Answered, timeout: Duration) -> Self {
        let answers = answered.answers.into_iter();
        let answers = answers.map(|answer| (answer.id, read_answer(answer.value, timeout))).collect();
        Self { answers, missing: answered.missing }
    }
}

impl<R> Answers<R> {
    /// How many workers and [nodes](crate::Switchboard::attach_bus) did not say in time which sockets they
    /// asked. The answers of their sockets are missing. 0 if all is well.
    pub fn missing(&self) -> usize {
        self.missing
    }
}

impl<R> Deref for Answers<R> {
    type Target = [(SocketId, Result<R, AckError>)];

    fn deref(&self) -> &Self::Target {
        &self.answers
    }
}

impl<R> IntoIterator for Answers<R> {
    type Item = (SocketId, Result<R, AckError>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.answers.into_iter()
    }
}

impl<'a, R> IntoIterator for &'a Answers<R> {
    type Item = &'a (SocketId, Result<R, AckError>);
    type IntoIter = std::slice::Iter<'a, (SocketId, Result<R, AckError>)>;

    fn into_iter(self) -> Self::IntoIter {
        self.answers.iter()
    }
}

/// What the servers of the other nodes answered to
/// [`server_side_emit_with_ack`](crate::Namespace::server_side_emit_with_ack).
#[derive(Debug)]
#[non_exhaustive]
pub struct NodeAnswers<R> {
    /// An answer, or an error, of each node that has a handler for the event, in no order.
    pub answers: Vec<Result<R, AckError>>,
    /// How many nodes did not answer in time.
    pub missing: usize,
}

/// Arguments in the form that nodes agree on.
pub(super) fn write_parts(out: &mut Vec<u8>, json: &[u8], attachments: &[Bytes]) {
    put_part(out, json);
    for attachment in attachments {
        put_part(out, attachment);
    }
}

/// Reads arguments that were written by [`write_parts`]; `None`: they are none.
pub(super) fn read_parts(bytes: &Bytes) -> Option<(&str, Vec<Bytes>)> {
    let (json, mut rest) = take_part(bytes)?;
    let mut attachments = Vec::new();
    while !rest.is_empty() {
        let attachment;
        (attachment, rest) = take_part(rest)?;
        attachments.push(bytes.slice_ref(attachment));
    }
    Some((std::str::from_utf8(json).ok()?, attachments))
}

/// A socket's acknowledgement in the form that nodes agree on.
pub(super) fn write_answer(result: AckResult) -> Result<Bytes, NoAnswer> {
    match result {
        Ok(args) => Ok(write_args(&args)),
        Err(AckError::Timeout(_)) => Err(NoAnswer::TimedOut),
        Err(AckError::TooMany(awaited)) => Err(NoAnswer::TooMany(awaited as u64)),
        Err(AckError::Emit(EmitError::Hub(HubError::OutboxFull { bytes, limit }))) => {
            Err(NoAnswer::OutboxFull { bytes: bytes as u64, limit: limit as u64 })
        }
        Err(AckError::Disconnected | AckError::Emit(_)) => Err(NoAnswer::Gone),
        Err(AckError::Arguments(error)) => Err(NoAnswer::Malformed(error.to_string())),
        Err(AckError::Failed(error)) => Err(NoAnswer::Malformed(error)),
    }
}

fn write_args(args: &Args) -> Bytes {
    let mut out = Vec::with_capacity(args.as_json().len() + 8);
    write_parts(&mut out, args.as_json().as_bytes(), args.attachments());
    out.into()
}

fn read_answer<R: DeserializeOwned>(
    value: Result<Bytes, NoAnswer>,
    timeout: Duration,
) -> Result<R, AckError> {
    match value {
        Ok(bytes) => read_args(&bytes),
        Err(NoAnswer::TimedOut) => Err(AckError::Timeout(timeout)),
        Err(NoAnswer::TooMany(awaited)) => Err(AckError::TooMany(awaited as usize)),
        Err(NoAnswer::OutboxFull { bytes, limit }) => {
            let full = HubError::OutboxFull { bytes: bytes as usize, limit: limit as usize };
            Err(AckError::Emit(EmitError::Hub(full)))
        }
        Err(NoAnswer::Malformed(reason)) => Err(ArgsError::Data(reason).into()),
        Err(_) => Err(AckError::Disconnected),
    }
}

/// Reads arguments as a `R`.
pub(super) fn read_args<R: DeserializeOwned>(bytes: &Bytes) -> Result<R, AckError> {
    let Some((json, attachments)) = read_parts(bytes) else {
        return Err(ArgsError::Data("not the arguments of an acknowledgement".to_owned()).into());
    };
    // Their nesting was checked where they arrived.
    Ok(from_args_within(json, 0, &attachments, usize::MAX)?)
}
