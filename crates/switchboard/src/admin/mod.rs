//! The server side of Socket.IO's admin page, the npm package `@socket.io/admin-ui` 0.5: what its function
//! `instrument` does in Node.
//!
//! The page is a Socket.IO client of the namespace `/admin`. Reading order: this file (the options and what is
//! mounted), [`auth`], [`features`] (what the page asks for), [`feed`] (what it is told), [`stats`].

mod auth;
mod features;
mod feed;
mod stats;

use std::io;
use std::sync::Arc;

use serde_json::json;

use self::auth::Login;
use self::feed::Feed;
use crate::Socket;
use crate::switchboard::{Switchboard, senseless};

/// How much the admin page is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum AdminMode {
    /// All sockets, rooms and events, one by one. An event that is sent to or received from a socket is sent
    /// to the page, too: this is not for a server with many events.
    #[default]
    Development,
    /// Numbers only: of servers, clients, namespaces, packets and bytes.
    Production,
}

/// The options of the admin page's server side. Made by [`basic`](Self::basic) or
/// [`without_login`](Self::without_login).
#[derive(Clone)]
#[must_use = "nothing is served until `Switchboard::admin` is called"]
pub struct AdminOptions {
    login: Option<Login>,
    namespace: String,
    mode: AdminMode,
    read_only: bool,
    server_id: Option<String>,
}

impl std::fmt::Debug for AdminOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminOptions")
            .field("namespace", &self.namespace)
            .field("mode", &self.mode)
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}

impl AdminOptions {
    /// Users log in by a name and a password, of which the server has a bcrypt hash (`$2b$10$...`), as
    /// `htpasswd -B` and the npm package `bcryptjs` make it.
    ///
    /// At most two passwords are compared at a time; further attempts wait, and more than 32 that wait are
    /// refused. A login lasts for a day, or until the server ends.
    pub fn basic(username: impl Into<String>, password_hash: impl Into<String>) -> Self {
        Self::new(Some(Login::new(username.into(), password_hash.into())))
    }

    /// Everybody who can reach the namespace may use the page. It shows the headers of all clients, cookies
    /// among them, and can disconnect them.
    pub fn without_login() -> Self {
        Self::new(None)
    }

    fn new(login: Option<Login>) -> Self {
        let mode = AdminMode::default();
        Self { login, namespace: "/admin".to_owned(), mode, read_only: false, server_id: None }
    }

    /// The name of the namespace. Default `/admin`.
    pub fn namespace(self, name: impl Into<String>) -> Self {
        Self { namespace: name.into(), ..self }
    }

    /// How much the page is told. Default: everything.
    pub fn mode(self, mode: AdminMode) -> Self {
        Self { mode, ..self }
    }

    /// Whether the page may only look. Default: no, it may also emit, join, leave and disconnect.
    pub fn read_only(self, read_only: bool) -> Self {
        Self { read_only, ..self }
    }

    /// The name of this server on the page. Default: the host's name. Servers of one cluster need different
    /// ones.
    pub fn server_id(self, id: impl Into<String>) -> Self {
        Self { server_id: Some(id.into()), ..self }
    }
}

impl Switchboard {
    /// Serves Socket.IO's admin page (`instrument` of `@socket.io/admin-ui`): who opens the page, from a folder
    /// or from its authors' site, enters this server's address and logs in. If the page is on another origin,
    /// that origin must be [let in](crate::Builder::origins), with credentials.
    ///
    /// Call it before clients connect. Namespaces that are made later are shown, too. What a handler keeps on
    /// a socket by [`Socket::set_data`] is shown as it is when the page asks.
    ///
    /// ```
    /// use switchboard::{AdminOptions, Switchboard};
    ///
    /// # #[tokio::main]
    /// # async fn main() -> std::io::Result<()> {
    /// let io = Switchboard::builder().workers(1).build()?;
    /// // The password is "changeit".
    /// let hash = "$2b$10$7q6MGvcMBTcvQ4fIrhAAse/5MKmHNCy/3ejZEIXCPxc9bZVIkef7O";
    /// io.admin(AdminOptions::basic("admin", hash).read_only(true))?;
    /// # io.shutdown(std::time::Duration::ZERO).await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput): the hash is not one of bcrypt's. The errors of a server
    /// that has stopped.
    pub fn admin(&self, options: AdminOptions) -> io::Result<()> {
        let AdminOptions { login, namespace, mode, read_only, server_id } = options;
        let admin = self.of(&namespace);
        if let Some(login) = login {
            login.check().map_err(senseless)?;
            auth::require(&admin, &Arc::new(login));
        } else {
            tracing::warn!(namespace = admin.name(), "the admin page asks for no login");
        }
        let development = mode == AdminMode::Development;
        let mut features = vec!["AGGREGATED_EVENTS"];
        if development {
            features.push("ALL_EVENTS");
        }
        if !read_only {
            features.extend(["EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT"]);
            features::serve(&admin);
        }
        let config = json!({ "supportedFeatures": features });
        let feed = Arc::new(Feed::new(&admin));
        let of_page = Arc::clone(&feed);
        admin.on_connect(async move |socket: Socket, io: Switchboard| -> crate::Result {
            if let Some(session) = socket.get::<auth::NewSession>() {
                socket.emit("session", &session.0)?;
            }
            socket.emit("config", &config)?;
            if development {
                socket.emit("all_sockets", (of_page.all_sockets(&io).await?,))?;
            }
            Ok(())
        });
        if development {
            feed.follow(self);
        }
        stats::start(self, &feed, server_id)
    }
}
