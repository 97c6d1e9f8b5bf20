//! Names of rooms, as methods take them.

use switchboard_hub::{MemberId, RoomName};

/// Rooms, as methods take them: one name or several.
pub trait Rooms {
    /// The names.
    fn into_rooms(self) -> impl Iterator<Item = RoomName>;
}

impl Rooms for &str {
    fn into_rooms(self) -> impl Iterator<Item = RoomName> {
        std::iter::once(RoomName::from(self))
    }
}

impl Rooms for &String {
    fn into_rooms(self) -> impl Iterator<Item = RoomName> {
        std::iter::once(RoomName::from(self.as_str()))
    }
}

impl Rooms for String {
    fn into_rooms(self) -> impl Iterator<Item = RoomName> {
        std::iter::once(RoomName::from(self))
    }
}

/// The room of one socket.
impl Rooms for MemberId {
    fn into_rooms(self) -> impl Iterator<Item = RoomName> {
        std::iter::once(RoomName::from(self.as_str()))
    }
}

impl<S: Into<RoomName>, const N: usize> Rooms for [S; N] {
    fn into_rooms(self) -> impl Iterator<Item = RoomName> {
        self.into_iter().map(Into::into)
    }
}

impl<S: Into<RoomName>> Rooms for Vec<S> {
    fn into_rooms(self) -> impl Iterator<Item = RoomName> {
        self.into_iter().map(Into::into)
    }
}
