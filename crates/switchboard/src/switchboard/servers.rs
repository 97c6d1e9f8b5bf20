//! Several Socket.IO servers on the same ports, and one server at several paths.

use std::io;
use std::sync::Arc;

use super::builder::senseless;
use super::{Switchboard, with_slash};
use crate::api::options::SocketIoOptions;
use crate::engineio::EngineOptions;
use crate::socketio::parser::Parser;
use crate::socketio::server::SocketIo;
use crate::socketio09::OldClientOptions;
use crate::states::States;

impl Switchboard {
    /// Adds another Socket.IO server to the same ports.
    pub(super) fn add_server(
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
