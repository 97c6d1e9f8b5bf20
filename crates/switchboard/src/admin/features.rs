//! What the admin page may do: emit events, let sockets join and leave rooms, and disconnect them. Each is
//! done to the sockets of a room of a namespace, which may be the room of one socket, or to all of them.

use serde::Deserialize;

use crate::{Args, BroadcastOperator, Data, EmitError, Namespace, RoomName, Switchboard, Value};

/// The room or rooms whose sockets are meant. None, or an empty name: all sockets of the namespace.
#[derive(Default, Deserialize)]
#[serde(untagged)]
enum Filter {
    #[default]
    All,
    Room(String),
    Rooms(Vec<String>),
}

/// Does what the page asks for.
pub(super) fn serve(admin: &Namespace) {
    admin.on("emit", |io: Switchboard, args: Args| emit(&io, &args));
    admin.on("join", |io: Switchboard, Data(asked): Data<(String, String, Option<Filter>)>| {
        let (namespace, room, filter) = asked;
        on(&io, &namespace, filter, |sockets| sockets.join(room))
    });
    admin.on("leave", |io: Switchboard, Data(asked): Data<(String, String, Option<Filter>)>| {
        let (namespace, room, filter) = asked;
        on(&io, &namespace, filter, |sockets| sockets.leave(room))
    });
    admin.on("_disconnect", |io: Switchboard, Data(asked): Data<(String, bool, Option<Filter>)>| {
        let (namespace, close, filter) = asked;
        on(&io, &namespace, filter, |sockets| sockets.disconnect(close))
    });
}

/// Takes a namespace, a filter, the name of an event, and its arguments.
fn emit(io: &Switchboard, args: &Args) -> crate::Result {
    let mut values = args.values()?.into_iter();
    let (Some(Value::String(namespace)), Some(filter), Some(Value::String(event))) =
        (values.next(), values.next(), values.next())
    else {
        return Err(crate::Error::new("`emit` takes a namespace, a filter, an event and its arguments"));
    };
    let filter = filter.read::<Option<Filter>>()?;
    on(io, &namespace, filter, |sockets| sockets.emit(&event, Args::from(values.collect::<Vec<_>>())))
}

/// Does something to sockets. A namespace that is not there has none, and is not made.
fn on(
    io: &Switchboard,
    namespace: &str,
    filter: Option<Filter>,
    act: impl FnOnce(BroadcastOperator) -> Result<(), EmitError>,
) -> crate::Result {
    let Some(namespace) = io.namespaces().into_iter().find(|known| known.name() == namespace) else {
        return Ok(());
    };
    let rooms: Vec<RoomName> = match filter.unwrap_or_default() {
        Filter::All => Vec::new(),
        Filter::Room(room) => {
            Some(room).filter(|room| !room.is_empty()).map(Into::into).into_iter().collect()
        }
        Filter::Rooms(rooms) => rooms.into_iter().map(Into::into).collect(),
    };
    Ok(act(namespace.all().to(rooms))?)
}
