//! The messages of the namespace `/chat`: the server's side of the contract in `web/src/events.ts`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A room's name.
pub(crate) type RoomName = Arc<str>;

/// A member's public id: opaque, and the same for a visitor as long as the server runs.
pub(crate) type MemberId = Arc<str>;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Member {
    pub(crate) id: MemberId,
    pub(crate) name: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RoomCount {
    pub(crate) name: RoomName,
    pub(crate) count: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Picture {
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) size: usize,
}

/// The content of a message: text or a picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Content {
    Text(String),
    Image(Picture),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Message {
    pub(crate) room: RoomName,
    pub(crate) id: u64,
    pub(crate) client_id: Arc<str>,
    pub(crate) from: Member,
    /// Unix time in milliseconds.
    pub(crate) at: u64,
    #[serde(flatten)]
    pub(crate) content: Content,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Enter {
    pub(crate) room: String,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) epoch: Option<String>,
    #[serde(default)]
    pub(crate) after: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Entered {
    pub(crate) room: RoomName,
    pub(crate) epoch: Arc<str>,
    pub(crate) you: Member,
    pub(crate) history: Vec<Arc<Message>>,
    pub(crate) last: u64,
    pub(crate) version: u64,
    pub(crate) count: usize,
    pub(crate) members: Vec<Member>,
    pub(crate) rooms: Vec<RoomCount>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(clippy::struct_field_names, reason = "the contract's names")]
pub(crate) struct Members {
    pub(crate) room: RoomName,
    pub(crate) version: u64,
    pub(crate) count: usize,
    pub(crate) members: Vec<Member>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Rooms {
    pub(crate) version: u64,
    pub(crate) rooms: Vec<RoomCount>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Said {
    pub(crate) id: u64,
    pub(crate) at: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Say {
    pub(crate) room: String,
    pub(crate) client_id: String,
    pub(crate) text: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SendImage {
    pub(crate) room: String,
    pub(crate) client_id: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

#[derive(Debug, Deserialize)]
pub(crate) struct WhichPicture {
    pub(crate) room: String,
    pub(crate) id: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Typing {
    pub(crate) room: RoomName,
    pub(crate) member: Member,
    pub(crate) on: bool,
}

/// The reason for a refusal, in the contract's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RefusalCode {
    BadRequest,
    BadName,
    BadRoom,
    BadText,
    BadImage,
    TooLarge,
    TooFast,
    TooManyRooms,
    NotEntered,
    Gone,
}

/// A negative acknowledgement. `message` is a sentence for the visitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Refusal {
    pub(crate) error: RefusalCode,
    pub(crate) message: &'static str,
}

impl Refusal {
    pub(crate) const fn new(error: RefusalCode, message: &'static str) -> Self {
        Self { error, message }
    }
}

/// An acknowledgement: the requested value, or a [`Refusal`]. It is not a `Result`, because the error of a
/// `Result` goes to `on_error` and not to the page.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Reply<T> {
    Done(T),
    Refused(Refusal),
}

impl<T> From<Result<T, Refusal>> for Reply<T> {
    fn from(result: Result<T, Refusal>) -> Self {
        match result {
            Ok(done) => Self::Done(done),
            Err(refusal) => Self::Refused(refusal),
        }
    }
}
