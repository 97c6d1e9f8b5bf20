//! The binary on sockets that it does not open by address and port: sockets that systemd passes in, and
//! Unix-domain sockets.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Longer than any awaited answer takes on any machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// A folder that is removed at the end of the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("switchboard-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).expect("its name is new");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _there_no_more = std::fs::remove_dir_all(&self.0);
    }
}

/// The server. It is killed at the end of the test if it has not ended.
struct Server(Child);

impl Server {
    /// The given number of lines that it prints at its start.
    fn lines(&mut self, count: usize) -> Vec<String> {
        let out = self.0.stdout.take().expect("it is a pipe");
        BufReader::new(out).lines().take(count).map(|line| line.expect("it is text")).collect()
    }

    /// Asks the server to stop, as systemd does. Returns whether it stopped in order.
    fn stop(mut self) -> bool {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        self.0.wait().expect("it is ours").success()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// Asks for the server's health; returns the answer.
fn ask(mut stream: impl Read + Write) -> String {
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

fn ask_unix(path: &Path) -> String {
    let stream = UnixStream::connect(path).expect("it listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("the time-out is not zero");
    ask(stream)
}

#[test]
fn sockets_that_systemd_passes_in_are_served_and_it_is_told() {
    let folder = Folder::new("passed");
    let (path, manager) = (folder.0.join("local"), folder.0.join("notify"));
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = tcp.local_addr().expect("it is bound");
    let unix = UnixListener::bind(&path).expect("it is new");
    let notified = UnixDatagram::bind(&manager).expect("it is new");
    notified.set_read_timeout(Some(DEADLINE)).expect("the time-out is not zero");
    // The shell puts the sockets where systemd does, and then becomes the server: the sockets are meant for
    // this process id.
    let script = "exec 3<&0 4<&2 </dev/null 2>/dev/null; LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=web:local exec \"$0\" --workers 4";
    let child = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_switchboard")])
        .env("NOTIFY_SOCKET", &manager)
        .stdin(OwnedFd::from(tcp))
        .stderr(OwnedFd::from(unix))
        .stdout(Stdio::piped())
        .spawn()
        .expect("there is a shell");
    let mut server = Server(child);
    let told = || {
        let mut bytes = [0; 64];
        let read = notified.recv(&mut bytes).expect("it is told");
        String::from_utf8_lossy(&bytes[..read]).into_owned()
    };
    assert_eq!(told(), "READY=1");
    assert_eq!(
        server.lines(2),
        [format!("listening on {address}"), format!("listening on unix:{}", path.display())]
    );
    for _ in 0..8 {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("the time-out is not zero");
        assert!(ask(stream).starts_with("HTTP/1.1 200"));
        assert!(ask_unix(&path).starts_with("HTTP/1.1 200"));
    }
    assert!(server.stop());
    assert_eq!(told(), "STOPPING=1");
    assert!(path.exists(), "it is systemd's");
}

#[test]
fn sockets_for_another_process_are_left_alone() {
    let folder = Folder::new("others");
    let path = folder.0.join("s");
    let child = Command::new(env!("CARGO_BIN_EXE_switchboard"))
        .args(["--unix-mode", "600", "--unix"])
        .arg(&path)
        .env("LISTEN_PID", "1")
        .env("LISTEN_FDS", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it is built");
    let mut server = Server(child);
    assert_eq!(server.lines(1), [format!("listening on unix:{}", path.display())]);
    let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(ask_unix(&path).starts_with("HTTP/1.1 200"));
    assert!(server.stop());
    assert!(!path.exists(), "it is gone with the server");
}

#[test]
fn a_place_that_cannot_be_listened_on_is_named() {
    let folder = Folder::new("bad");
    let file = folder.0.join("file");
    std::fs::write(&file, "precious").expect("it is new");
    let file = file.to_str().expect("it is text");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    for (arguments, part) in [
        (&["--unix", file][..], "there is a file that is no socket"),
        (&["--address", "127.0.0.1", "--port", &port], "another program listens there"),
        (&["--tls-certificate", "/missing.pem", "--tls-key", file], "/missing.pem"),
        (&["--tls-certificate", file, "--tls-key", "a,b"], "as many"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_switchboard"))
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("it is built");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(part), "{arguments:?}: {error}");
    }
}

/// The head of the response to a WebSocket handshake that offers compression.
fn offer_deflate(address: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("the time-out is not zero");
    let request = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n\
        upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut lines = BufReader::new(stream).lines().map(|line| line.expect("it is text"));
    lines.by_ref().take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

#[test]
fn websockets_are_compressed_as_the_options_and_their_variables_say() {
    let agreed = "\nsec-websocket-extensions: permessage-deflate";
    for (arguments, variable, expected) in [
        (&[][..], "false", None),
        (&[], "true", Some("; server_no_context_takeover; client_no_context_takeover")),
        (&["--deflate", "--deflate-takeover"], "false", Some("")),
        (
            &["--deflate-takeover", "--deflate-window-bits=12"],
            "true",
            Some("; server_max_window_bits=12; client_max_window_bits=12"),
        ),
    ] {
        let child = Command::new(env!("CARGO_BIN_EXE_switchboard"))
            .args(["--address", "127.0.0.1", "--port", "0"])
            .args(arguments)
            .env("SWITCHBOARD_DEFLATE", variable)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it is built");
        let mut server = Server(child);
        let line = server.lines(1).remove(0);
        let head = offer_deflate(line.strip_prefix("listening on ").expect("an address"));
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let answer = head.split_once(agreed).map(|(_, rest)| rest.lines().next().unwrap_or_default());
        assert_eq!(answer, expected, "{arguments:?} {variable}");
        assert!(server.stop());
    }
}
