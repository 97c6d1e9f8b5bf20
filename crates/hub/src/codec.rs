//! Requests and replies as bytes, for a bus that carries bytes. Numbers are little-endian. Texts and lists
//! begin with their length in 4 bytes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::hub::Hub;
use crate::question::{Answer, NoAnswer};
use crate::reply::{Reply, SocketInfo};
use crate::request::{Broadcast, Request, ServerEvent, Target};
use crate::{Framing, MemberId, Payload, RoomName, ScopeId, Variant};

const VOLATILE: u8 = 1;
const ORDERED: u8 = 2;
const KEYED: u8 = 4;

impl Request {
    /// Appends the request as bytes, which [`Hub::decode_request`] reads. The scope is not among them: its
    /// name travels beside them.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Request::Broadcast(broadcast) => {
                let volatile = if broadcast.volatile { VOLATILE } else { 0 };
                let ordered = if broadcast.ordered { ORDERED } else { 0 };
                let keyed = if broadcast.key.is_some() { KEYED } else { 0 };
                out.extend([0, volatile | ordered | keyed]);
                put_target(out, &broadcast.target);
                if let Some(key) = &broadcast.key {
                    put_bytes(out, key.as_bytes());
                }
                broadcast.payload.write(out);
            }
            Request::Join(target, rooms) => {
                out.push(1);
                put_target(out, target);
                put_names(out, rooms);
            }
            Request::Leave(target, rooms) => {
                out.push(2);
                put_target(out, target);
                put_names(out, rooms);
            }
            Request::Disconnect { target, close } => {
                out.extend([3, u8::from(*close)]);
                put_target(out, target);
            }
            Request::Fetch(target) => {
                out.push(4);
                put_target(out, target);
            }
            Request::Count(target) => {
                out.push(5);
                put_target(out, target);
            }
            Request::Ask { broadcast, timeout } => {
                out.push(7);
                out.extend(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX).to_le_bytes());
                put_target(out, &broadcast.target);
                broadcast.payload.write(out);
            }
            Request::Emit(event) => {
                out.push(6);
                out.extend_from_slice(&event.data);
            }
        }
    }
}

impl Hub {
    /// Reads a request that another node has [encoded](Request::encode), about the scope of this name.
    /// `None`: the bytes are no request.
    pub fn decode_request(&self, scope: &str, bytes: &[u8]) -> Option<Request> {
        let mut reader = Reader(bytes);
        // What is about a scope that is not here is about nobody.
        let scope = self.find_scope(scope).unwrap_or(ScopeId::EMPTY);
        let request = match reader.byte()? {
            0 => {
                let flags = reader.byte()?;
                let target = reader.target(scope)?;
                let key = if flags & KEYED == 0 { None } else { Some(Arc::from(reader.text()?)) };
                let payload = self.read_payload_for(scope, reader.rest())?;
                let (volatile, ordered) = (flags & VOLATILE != 0, flags & ORDERED != 0);
                Request::Broadcast(Arc::new(Broadcast { target, payload, volatile, key, ordered }))
            }
            1 => Request::Join(reader.target(scope)?, reader.names()?.into_vec()),
            2 => Request::Leave(reader.target(scope)?, reader.names()?.into_vec()),
            3 => {
                let close = reader.byte()? != 0;
                Request::Disconnect { target: reader.target(scope)?, close }
            }
            4 => Request::Fetch(reader.target(scope)?),
            5 => Request::Count(reader.target(scope)?),
            6 => Request::Emit(ServerEvent { scope, data: Bytes::copy_from_slice(reader.rest()) }),
            7 => {
                let timeout = Duration::from_nanos(reader.number()?);
                let target = reader.target(scope)?;
                let payload = self.read_payload_for(scope, reader.rest())?;
                let broadcast = Broadcast { target, payload, volatile: false, key: None, ordered: false };
                Request::Ask { broadcast: Arc::new(broadcast), timeout }
            }
            _ => return None,
        };
        reader.is_empty().then_some(request)
    }
}

impl Hub {
    /// Reads the payload of a message for a scope. If nobody is in that scope, it is not read: such a request
    /// is answered all the same.
    fn read_payload_for(&self, scope: ScopeId, bytes: &[u8]) -> Option<Arc<dyn Payload>> {
        if scope == ScopeId::EMPTY { Some(Arc::new(ForNobody)) } else { self.read_payload(bytes) }
    }
}

/// A message that no member gets.
struct ForNobody;

impl Payload for ForNobody {
    fn encode(&self, _variant: Variant, _framing: Framing, _out: &mut Vec<u8>) -> bool {
        false
    }

    fn bytes(&self) -> usize {
        0
    }

    fn write(&self, _out: &mut Vec<u8>) {}
}

impl Reply {
    /// Appends the reply as bytes, which [`decode`](Self::decode) reads.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Reply::Sockets(sockets) => {
                out.push(0);
                put_length(out, sockets.len());
                for socket in sockets {
                    out.extend_from_slice(socket.id.as_str().as_bytes());
                    put_names(out, &socket.rooms);
                    put_bytes(out, &socket.snapshot);
                }
            }
            Reply::Count(count) => {
                out.push(1);
                out.extend(count.to_le_bytes());
            }
            Reply::Asked(asked) => {
                out.push(3);
                put_length(out, asked.len());
                for id in asked {
                    out.extend_from_slice(id.as_str().as_bytes());
                }
            }
            Reply::Answers(answers) => {
                out.push(4);
                put_length(out, answers.len());
                for answer in answers {
                    put_answer(out, answer);
                }
            }
            Reply::Values(values) => {
                out.push(2);
                put_length(out, values.len());
                for value in values {
                    put_bytes(out, value);
                }
            }
        }
    }

    /// Reads a reply. `None`: the bytes are no reply.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let reply = match reader.byte()? {
            0 => {
                let count = reader.length()?;
                let sockets: Option<_> = (0..count).map(|_| reader.socket()).collect();
                Reply::Sockets(sockets?)
            }
            1 => Reply::Count(reader.number()?),
            2 => {
                let count = reader.length()?;
                let values: Option<_> =
                    (0..count).map(|_| reader.bytes().map(Bytes::copy_from_slice)).collect();
                Reply::Values(values?)
            }
            3 => {
                let count = reader.length()?;
                let asked: Option<_> = (0..count).map(|_| MemberId::new(reader.array()?)).collect();
                Reply::Asked(asked?)
            }
            4 => {
                let count = reader.length()?;
                let answers: Option<_> = (0..count).map(|_| reader.answer()).collect();
                Reply::Answers(answers?)
            }
            _ => return None,
        };
        reader.is_empty().then_some(reply)
    }
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    // A message between nodes is far shorter than 4 GiB. A longer one could not be read.
    out.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

pub(crate) fn put_names(out: &mut Vec<u8>, names: &[RoomName]) {
    put_length(out, names.len());
    for name in names {
        put_bytes(out, name.as_bytes());
    }
}

pub(crate) fn put_target(out: &mut Vec<u8>, target: &Target) {
    put_names(out, &target.rooms);
    put_names(out, &target.except);
    let member = target.except_member.as_ref().map_or(&[][..], |id| id.as_str().as_bytes());
    put_bytes(out, member);
}

fn put_answer(out: &mut Vec<u8>, answer: &Answer) {
    out.extend_from_slice(answer.id.as_str().as_bytes());
    match &answer.value {
        Ok(value) => {
            out.push(0);
            put_bytes(out, value);
        }
        Err(NoAnswer::TimedOut) => out.push(1),
        Err(NoAnswer::Gone) => out.push(2),
        Err(NoAnswer::TooMany(awaited)) => {
            out.push(3);
            out.extend(awaited.to_le_bytes());
        }
        Err(NoAnswer::OutboxFull { bytes, limit }) => {
            out.push(4);
            out.extend(bytes.to_le_bytes());
            out.extend(limit.to_le_bytes());
        }
        Err(NoAnswer::Malformed(reason)) => {
            out.push(5);
            put_bytes(out, reason.as_bytes());
        }
    }
}

/// The bytes that are still to be read.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(self.array()?)).ok()
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    pub(crate) fn names(&mut self) -> Option<SmallVec<[RoomName; 1]>> {
        let count = self.length()?;
        (0..count).map(|_| self.text().map(RoomName::from)).collect()
    }

    pub(crate) fn target(&mut self, scope: ScopeId) -> Option<Target> {
        let (rooms, except) = (self.names()?, self.names()?);
        let except_member = match self.bytes()? {
            [] => None,
            id => Some(MemberId::parse(std::str::from_utf8(id).ok()?)?),
        };
        Some(Target { rooms, except, except_member, ..Target::all(scope) })
    }

    fn answer(&mut self) -> Option<Answer> {
        let id = MemberId::new(self.array()?)?;
        let value = match self.byte()? {
            0 => Ok(Bytes::copy_from_slice(self.bytes()?)),
            1 => Err(NoAnswer::TimedOut),
            2 => Err(NoAnswer::Gone),
            3 => Err(NoAnswer::TooMany(self.number()?)),
            4 => Err(NoAnswer::OutboxFull { bytes: self.number()?, limit: self.number()? }),
            5 => Err(NoAnswer::Malformed(std::str::from_utf8(self.bytes()?).ok()?.to_owned())),
            _ => return None,
        };
        Some(Answer { id, value })
    }

    fn socket(&mut self) -> Option<SocketInfo> {
        let id = MemberId::new(self.array()?)?;
        Some(SocketInfo { id, rooms: self.names()?.into_vec(), snapshot: self.bytes()?.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::HubOptions;

    fn names() -> impl Strategy<Value = Vec<RoomName>> {
        prop::collection::vec(any::<String>().prop_map(RoomName::from), 0..4)
    }

    fn id() -> impl Strategy<Value = MemberId> {
        "[A-Za-z0-9_-]{20}".prop_map(|text| MemberId::parse(&text).expect("an id"))
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..40)
    }

    fn replies() -> impl Strategy<Value = Reply> {
        let socket =
            (id(), names(), bytes()).prop_map(|(id, rooms, snapshot)| SocketInfo { id, rooms, snapshot });
        let value = prop_oneof![
            bytes().prop_map(|value| Ok(Bytes::from(value))),
            Just(Err(NoAnswer::TimedOut)),
            Just(Err(NoAnswer::Gone)),
            any::<u64>().prop_map(|awaited| Err(NoAnswer::TooMany(awaited))),
            any::<(u64, u64)>().prop_map(|(bytes, limit)| Err(NoAnswer::OutboxFull { bytes, limit })),
            any::<String>().prop_map(|reason| Err(NoAnswer::Malformed(reason))),
        ];
        let answer = (id(), value).prop_map(|(id, value)| Answer { id, value });
        prop_oneof![
            prop::collection::vec(id(), 0..4).prop_map(Reply::Asked),
            prop::collection::vec(answer, 0..4).prop_map(Reply::Answers),
            prop::collection::vec(socket, 0..4).prop_map(Reply::Sockets),
            any::<u64>().prop_map(Reply::Count),
            prop::collection::vec(bytes().prop_map(Bytes::from), 0..4).prop_map(Reply::Values),
        ]
    }

    fn hub() -> Arc<Hub> {
        Hub::without_threads(&HubOptions { workers: 1, ..HubOptions::default() }).0
    }

    fn requests() -> impl Strategy<Value = Request> {
        let scope = hub().scope("/");
        let target =
            (names(), names(), prop::option::of(id())).prop_map(move |(rooms, except, except_member)| {
                Target { rooms: rooms.into(), except: except.into(), except_member, ..Target::all(scope) }
            });
        (target, names(), any::<bool>(), bytes(), 0..6).prop_map(move |(target, rooms, close, data, kind)| {
            match kind {
                0 => Request::Join(target, rooms),
                1 => Request::Leave(target, rooms),
                2 => Request::Disconnect { target, close },
                3 => Request::Fetch(target),
                4 => Request::Count(target),
                _ => Request::Emit(ServerEvent { scope, data: data.into() }),
            }
        })
    }

    proptest! {
        #[test]
        fn a_reply_is_read_as_it_was_written(reply in replies()) {
            let mut out = Vec::new();
            reply.encode(&mut out);
            prop_assert_eq!(Reply::decode(&out), Some(reply));
        }

        #[test]
        fn a_request_is_read_as_it_was_written(request in requests()) {
            let (mut out, mut again) = (Vec::new(), Vec::new());
            request.encode(&mut out);
            let here = hub();
            here.scope("/");
            let read = here.decode_request("/", &out).expect("a request");
            read.encode(&mut again);
            prop_assert_eq!(out, again);
            prop_assert_eq!(read.target(), request.target());
        }

        #[test]
        fn bytes_of_any_kind_are_a_message_or_none(bytes in prop::collection::vec(prop_oneof![0u8..8, any::<u8>()], 0..100)) {
            let _none_or_some = (Reply::decode(&bytes), hub().decode_request("/", &bytes));
        }
    }
}
