//! Several Socket.IO servers on the same ports, and one server at several paths.

use std::io;
use std::sync::Arc;

use super::builder::{Builder, senseless};
use super::{Switchboard, with_slash};
use crate::api::options::SocketIoOptions;
use crate::engineio::EngineOptions;
use crate::socketio::parser::Parser;
use crate::socketio::server::SocketIo;
use crate::socketio09::OldClientOptions;
use crate::states::States;

impl Builder {
    /// Adds a further Socket.IO server at another [path](Builder::path) of a server's ports. It has namespaces,
    /// rooms, handlers, values and options of its own. It shares the workers and the listeners, and ends with
    /// the other server. Namespaces of two servers have nothing in common, even if their names are the same.
    /// A [bus](Switchboard::attach_bus) carries the requests of all of them; nodes must have servers at the same
    /// paths.
    ///
    /// ```
    /// use switchboard::Switchboard;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let io = Switchboard::builder().workers(1).build()?;
    /// let devices = Switchboard::builder().path("/devices").max_payload(4096).build_on(&io)?;
    /// devices.root().on("reading", |switchboard::Data(value): switchboard::Data<f64>| value * 2.0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput): options that make no sense; a path that is taken; one of
    /// the options of all servers (`workers`, `node`, `max_rooms`, `inbox_bytes`, `listener`,
    /// `trusted_proxies`, `drafts`, `on_refused`) was set here.
    pub fn build_on(mut self, io: &Switchboard) -> io::Result<Switchboard> {
        self.check().map_err(senseless)?;
        if let Some(option) = self.shared {
            return Err(senseless(format!("`{option}` is an option of the first server on a port")));
        }
        self.complete(io.server.refusals.clone());
        let old = self.engine.old_clients.then_some(self.old);
        io.add_server(self.socketio, self.states, self.engine, self.parser, old)
    }
}

impl Switchboard {
    /// Adds another Socket.IO server to the same ports.
    fn add_server(
        &self,
        options: SocketIoOptions,
        states: States,
        engine: EngineOptions,
        parser: Option<Arc<dyn Parser>>,
        old: Option<OldClientOptions>,
    ) -> io::Result<Self> {
        self.check_path(&engine.path)?;
        let namespaces = self.namespaces.beside(&engine.path, options, states);
        Ok(Self::with_namespaces(self.server.clone(), &namespaces, engine, parser, old))
    }

    /// A path that nothing is mounted at.
    fn check_path(&self, path: &str) -> io::Result<()> {
        if self.server.mounts.load().has(path) {
            return Err(senseless(format!("the path {path} is taken")));
        }
        Ok(())
    }

    /// Serves the namespaces of this server at another path too, for clients with another
    /// [parser](Builder::parser). Sockets of both paths are in the same rooms, and a broadcast reaches each by
    /// its own parser. All other options are those of the first path; clients of Socket.IO 0.6 to 0.9 are served
    /// there alone. A missing leading slash is added.
    ///
    /// ```
    /// use switchboard::{MsgPack, Switchboard};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let io = Switchboard::builder().workers(1).build()?;
    /// io.parser_at("/socket.io-msgpack", MsgPack::default())?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput): the path is taken.
    pub fn parser_at(&self, path: &str, parser: impl Parser) -> io::Result<()> {
        let path = with_slash(path).into_owned();
        self.check_path(&path)?;
        let options = EngineOptions { path, ..EngineOptions::clone(&self.engine) };
        let application = SocketIo::new(&self.namespaces, Some(Arc::new(parser)));
        self.add_engine(options, Arc::new(application), |_| None);
        Ok(())
    }
}
