//! Names of rooms, as methods take them.

use std::borrow::Cow;

use switchboard_hub::{MemberId as SocketId, RoomName};

/// The name of one room: a string of any kind, a [`RoomName`], or a socket's id, which is the room of that
/// socket.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the name of a room",
    note = "a room's name is a `&str`, a `String`, a `RoomName` or a `SocketId`"
)]
pub trait Room {
    /// The name.
    fn into_room(self) -> RoomName;
}

/// Rooms, as methods take them: one [name](Room), or a list of names (`[R; N]`, `Vec<R>`, and references to
/// them).
///
/// ```
/// use switchboard::{EmitError, Namespace, RoomName, Socket};
///
/// async fn forward(chat: &Namespace, socket: &Socket, chosen: &[String]) -> Result<(), EmitError> {
///     let rooms: Vec<RoomName> = socket.rooms().await?;
///     chat.to(&rooms).emit("moved", ())?;
///     chat.to(chosen).except([socket.id()]).emit("news", "hello")
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not name rooms",
    note = "rooms are one name (`&str`, `String`, `RoomName`, `SocketId`) or a list of names (an array, a `Vec`, a slice)"
)]
pub trait Rooms {
    /// The names.
    fn into_rooms(self) -> impl Iterator<Item = RoomName>;
}

impl<R: Room> Rooms for R {
    fn into_rooms(self) -> impl Iterator<Item = RoomName> {
        std::iter::once(self.into_room())
    }
}

impl<R: Room, const N: usize> Rooms for [R; N] {
    fn into_rooms(self) -> impl Iterator<Item = RoomName> {
        self.into_iter().map(Room::into_room)
    }
}

impl<R: Room> Rooms for Vec<R> {
    fn into_rooms(self) -> impl Iterator<Item = RoomName> {
        self.into_iter().map(Room::into_room)
    }
}

/// References to lists of names.
macro_rules! lists_of_rooms {
    ($([$($generics:tt)*] $list:ty;)*) => {$(
        impl<'a, R, $($generics)*> Rooms for &'a $list
        where
            &'a R: Room,
        {
            fn into_rooms(self) -> impl Iterator<Item = RoomName> {
                self.iter().map(Room::into_room)
            }
        }
    )*};
}

lists_of_rooms! {
    [] [R];
    [] Vec<R>;
    [const N: usize] [R; N];
}

/// Names of one room, and how each becomes one.
macro_rules! room {
    ($($name:ty: $into:expr;)*) => {$(
        impl Room for $name {
            fn into_room(self) -> RoomName {
                let into: fn(Self) -> RoomName = $into;
                into(self)
            }
        }
    )*};
}

room! {
    &str: RoomName::from;
    &&str: |name| RoomName::from(*name);
    String: RoomName::from;
    &String: |name| RoomName::from(name.as_str());
    Box<str>: RoomName::from;
    &Box<str>: |name| RoomName::from(&**name);
    Cow<'_, str>: RoomName::from;
    RoomName: |name| name;
    &RoomName: RoomName::clone;
    SocketId: |id| RoomName::from(id.as_str());
    &SocketId: |id| RoomName::from(id.as_str());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(rooms: impl Rooms) -> Vec<String> {
        rooms.into_rooms().map(|room| room.to_string()).collect()
    }

    #[test]
    #[allow(
        clippy::needless_borrows_for_generic_args,
        reason = "that references are taken is what is tested"
    )]
    fn rooms_are_one_name_or_a_list_of_names() {
        let id = SocketId::new(*b"abcdefghijklmnopqrst").unwrap();
        let (name, string) = (RoomName::from("a"), String::from("a"));
        for one in [names("a"), names(&string), names(string.clone()), names(&name), names(name.clone())] {
            assert_eq!(one, ["a"]);
        }
        assert_eq!(names(id), ["abcdefghijklmnopqrst"]);
        assert_eq!(names([id]), names(&[id]));
        let strings = vec![string.clone(), "b".to_owned()];
        for two in [
            names(["a", "b"]),
            names(&["a", "b"]),
            names(vec!["a", "b"]),
            names(strings.as_slice()),
            names(&strings),
            names([&strings[0], &strings[1]]),
            names(strings.clone()),
            names([name.clone(), "b".into()]),
            names(&[name.clone(), "b".into()]),
            names(&vec![name, "b".into()]),
        ] {
            assert_eq!(two, ["a", "b"]);
        }
        assert!(names(Vec::<String>::new()).is_empty());
    }
}
