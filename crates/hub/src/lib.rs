//! Sessions, rooms and fan-out: the part of Switchboard that knows no protocol.
