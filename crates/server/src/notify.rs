//! Tells the service manager the state of the server, by the protocol of
//! [`sd_notify(3)`](https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html), as far as
//! `Type=notify` needs it.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The server accepts connections.
pub(crate) const READY: &str = "READY=1";
/// The server is shutting down.
pub(crate) const STOPPING: &str = "STOPPING=1";

/// Tells the service manager, if there is one and it asks for messages.
pub(crate) fn notify(state: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()) else { return };
    if let Err(error) = send(&socket, state) {
        tracing::warn!(%error, state, "the service manager could not be told");
    }
}

fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_manager_is_told_at_its_socket_be_it_a_file_or_not() {
        let name = format!("switchboard-notify-{}", std::process::id());
        let path = std::env::temp_dir().join(&name);
        let (file, none) = (
            SocketAddr::from_pathname(&path).expect("a path"),
            SocketAddr::from_abstract_name(&name).expect("a name"),
        );
        for (address, shown) in [(file, path.clone().into_os_string()), (none, format!("@{name}").into())] {
            let manager = UnixDatagram::bind_addr(&address).expect("it is new");
            send(&shown, READY).expect("it listens");
            let mut bytes = [0; 64];
            let read = manager.recv(&mut bytes).expect("it came");
            assert_eq!(&bytes[..read], b"READY=1");
        }
        std::fs::remove_file(&path).expect("it is there");
        assert!(send(path.as_os_str(), READY).is_err());
    }
}
