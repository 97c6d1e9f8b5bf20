//! Engine.IO and Socket.IO wire formats and session machines: bytes to packets and back, no I/O.
