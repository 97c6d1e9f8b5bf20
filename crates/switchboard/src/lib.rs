//! A realtime server: WebSocket, Engine.IO and Socket.IO on one port, in one set of rooms, behind one API.
