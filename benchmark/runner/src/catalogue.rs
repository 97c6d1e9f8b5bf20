//! What is measured: the servers, and the workloads each of them takes part in.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::certificate::Certificate;
use crate::load::{Deflate, Shape, Wire};
use crate::server::Launch;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The least a server can do; the others are ratios to it.
    Floor,
    Switchboard,
    Peer,
}

/// One server as it takes part in a workload.
#[derive(Clone, Debug)]
pub struct Contender {
    pub id: &'static str,
    pub name: String,
    pub role: Role,
    pub wire: Wire,
    /// Runs on the load's core too: two workers need two.
    pub both_cores: bool,
    pub launch: Launch,
}

impl Contender {
    pub fn protocol(&self) -> &'static str {
        match (self.wire, self.id) {
            (_, "bare-hyper") => "HTTP",
            (Wire::Tcp, _) => "TCP",
            (Wire::WebSocket { .. }, _) => "WebSocket",
            (Wire::Mixed, _) => "Socket.IO 4, 2 and 0.9",
            (Wire::SocketIo2, _) => "Socket.IO 2",
            (Wire::SocketIo09, _) => "Socket.IO 0.9",
            (Wire::SocketIo, _) => "Socket.IO",
        }
    }
}

/// What a workload asks its servers to be started with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Plain,
    /// With permessage-deflate, `takeover` of contexts being what the client will ask for.
    Deflate {
        takeover: bool,
    },
    /// With TLS, and the run's certificate.
    Tls,
    /// Each message to all connections.
    Broadcast,
}

pub struct Workload {
    pub id: &'static str,
    pub title: &'static str,
    pub shape: Shape,
    pub mode: Mode,
    /// Measured in five full rounds in a quick run too: one of the servers is as fast as another to a few per
    /// cent.
    pub thorough: bool,
    pub contenders: Vec<Contender>,
}

/// Where the servers are.
#[derive(Clone)]
pub struct Programs {
    /// The folder with the peers' binaries.
    pub peers: PathBuf,
    /// Switchboard's conformance server, where it was built.
    pub conformance: Option<PathBuf>,
    /// What that says of its options: a workload that needs one it has not leaves it out.
    pub conformance_help: String,
    /// Node, where it is installed.
    pub node: Option<PathBuf>,
    /// Bun, where npm could install it.
    pub bun: Option<PathBuf>,
    /// What servers show on TLS.
    pub certificate: Certificate,
    /// The folder of this benchmark, for its scripts and lock files.
    pub benchmark: PathBuf,
}

/// RFC 6455 at the conformance server's endpoint that sends each message back; the peers look at no path.
pub const ECHO: Wire = Wire::WebSocket { path: "/ws" };
pub const CAST: Wire = Wire::WebSocket { path: "/ws-cast" };

/// Everybody who echoes WebSocket messages.
const RAW: [(&str, Wire); 10] = [
    ("switchboard-ws", ECHO),
    ("fastwebsockets", ECHO),
    ("tokio-tungstenite", ECHO),
    ("tokio-websockets", ECHO),
    ("yawc", ECHO),
    ("sockudo-ws", ECHO),
    ("wtx", ECHO),
    ("ws", ECHO),
    ("uwebsockets", ECHO),
    ("bun", ECHO),
];
/// Those of them that are measured with permessage-deflate.
const DEFLATE: [(&str, Wire); 5] =
    [("switchboard-ws", ECHO), ("yawc", ECHO), ("ws", ECHO), ("uwebsockets", ECHO), ("bun", ECHO)];
/// Those that broadcast raw WebSocket messages, and the floor.
const CASTS: [(&str, Wire); 4] =
    [("floor-broadcast", Wire::Tcp), ("switchboard-ws", CAST), ("uwebsockets", CAST), ("bun", CAST)];
const FLOOR: (&str, Wire) = ("floor-echo", Wire::Tcp);
const SOCKET_IO: (&str, Wire) = ("switchboard", Wire::SocketIo);
const SOCKET_IO_PEERS: [(&str, Wire); 2] = [("socketioxide", Wire::SocketIo), ("socket.io", Wire::SocketIo)];
const MOUNTED: (&str, Wire) = ("switchboard-axum", Wire::SocketIo);
const TWO_WORKERS: (&str, Wire) = ("switchboard-2-workers", Wire::SocketIo);
const RECOVERING: (&str, Wire) = ("switchboard-recovery", Wire::SocketIo);
const MIXED: (&str, Wire) = ("switchboard-mixed", Wire::Mixed);

/// uWebSockets.js is on no registry under its own name; this package carries its binaries.
const UWEBSOCKETS: &str = "@trufflesuite/uws-js-unofficial";

/// All workloads, each with the contenders this machine can run.
pub fn workloads(programs: &Programs) -> Result<Vec<Workload>> {
    let mut all = socketio_and_its_floor(programs)?;
    all.extend(websocket(programs)?);
    Ok(all)
}

fn socketio_and_its_floor(programs: &Programs) -> Result<Vec<Workload>> {
    let with_floor = [&[FLOOR][..], &RAW].concat();
    let own_echoes = [FLOOR, RAW[0], SOCKET_IO, MOUNTED, TWO_WORKERS];
    let everybody = [&own_echoes[..], &RAW[1..], &SOCKET_IO_PEERS].concat();
    let own_casts = [CASTS[0], SOCKET_IO, MOUNTED, TWO_WORKERS, RECOVERING, MIXED];
    let fan_out = [&own_casts[..], &SOCKET_IO_PEERS].concat();
    let polling = [&[("bare-hyper", Wire::Tcp), SOCKET_IO][..], &SOCKET_IO_PEERS].concat();
    let idle = [&[SOCKET_IO, RECOVERING][..], &RAW[..2], &SOCKET_IO_PEERS].concat();
    let acks = [&[SOCKET_IO][..], &SOCKET_IO_PEERS].concat();
    let idle_polling = [&[SOCKET_IO][..], &SOCKET_IO_PEERS].concat();
    let plain = |id, title, shape, names: &[(&'static str, Wire)]| {
        programs.workload(id, title, shape, Mode::Plain, names)
    };
    Ok(vec![
        plain(
            "echo-100x1",
            "Echo of 20 bytes, 100 connections, 1 in flight",
            Shape::Echo { connections: 100, in_flight: 1, payload: 20 },
            &everybody,
        )?
        .thorough(),
        plain(
            "echo-50x64",
            "Echo of 20 bytes, 50 connections, 64 in flight",
            Shape::Echo { connections: 50, in_flight: 64, payload: 20 },
            &everybody,
        )?,
        plain(
            "echo-16k",
            "Echo of 16 KiB, 50 connections, 4 in flight",
            Shape::Echo { connections: 50, in_flight: 4, payload: 16 * 1024 },
            &with_floor,
        )?,
        plain(
            "fanout-x1",
            "Fan-out of 200 bytes to 1000 connections, 1 in flight",
            Shape::FanOut { receivers: 1000, in_flight: 1, payload: 200 },
            &fan_out,
        )?,
        plain(
            "fanout-x16",
            "Fan-out of 200 bytes to 1000 connections, 16 in flight",
            Shape::FanOut { receivers: 1000, in_flight: 16, payload: 200 },
            &fan_out,
        )?,
        plain(
            "acks",
            "Broadcasts that 1000 clients acknowledge, 1 in flight",
            Shape::Acks { receivers: 1000 },
            &acks,
        )?,
        plain(
            "polling",
            "Echo of 20 bytes by long polling, 100 clients",
            Shape::Polling { clients: 100, payload: 20 },
            &polling,
        )?
        .thorough(),
        plain(
            "idle",
            "10 000 idle connections",
            Shape::Idle { connections: 10_000, deflate: Deflate::Declined },
            &idle,
        )?,
        plain(
            "idle-polling",
            "10 000 idle clients of Socket.IO over long polling, a GET of each in waiting",
            Shape::IdlePolling { clients: 10_000 },
            &idle_polling,
        )?,
    ])
}

/// The WebSocket alone, at other sizes, compressed, over TLS, opened and idle.
fn websocket(programs: &Programs) -> Result<Vec<Workload>> {
    let with_floor = [&[FLOOR][..], &RAW].concat();
    let echo = |id, title, connections, in_flight, payload| {
        let shape = Shape::Echo { connections, in_flight, payload };
        programs.workload(id, title, shape, Mode::Plain, &with_floor)
    };
    let tls = |id, title, connections, in_flight, payload| {
        let shape = Shape::Echo { connections, in_flight, payload };
        programs.workload(id, title, shape, Mode::Tls, &RAW)
    };
    let deflate = |id, title, takeover| {
        let shape = Shape::DeflateEcho { connections: 50, in_flight: 4, takeover };
        programs.workload(id, title, shape, Mode::Deflate { takeover }, &DEFLATE)
    };
    let idle = |id, title, deflate, mode, names: &[(&'static str, Wire)]| {
        programs.workload(id, title, Shape::Idle { connections: 10_000, deflate }, mode, names)
    };
    let cast = |id, title, in_flight| {
        let shape = Shape::FanOut { receivers: 1000, in_flight, payload: 200 };
        programs.workload(id, title, shape, Mode::Broadcast, &CASTS)
    };
    Ok(vec![
        echo("echo-5b-512x16", "Echo of 5 bytes, 512 connections, 16 in flight", 512, 16, 5)?,
        cast("cast-x1", "Broadcast of 200 bytes to 1000 raw WebSockets, 1 in flight", 1)?,
        cast("cast-x16", "Broadcast of 200 bytes to 1000 raw WebSockets, 16 in flight", 16)?,
        echo("echo-1k-50x1", "Echo of 1 KiB, 50 connections, 1 in flight", 50, 1, 1 << 10)?,
        echo("echo-1k-50x64", "Echo of 1 KiB, 50 connections, 64 in flight", 50, 64, 1 << 10)?,
        echo("echo-16k-50x1", "Echo of 16 KiB, 50 connections, 1 in flight", 50, 1, 16 << 10)?,
        echo("echo-16k-8x64", "Echo of 16 KiB, 8 connections, 64 in flight", 8, 64, 16 << 10)?,
        echo("echo-1m-4x1", "Echo of 1 MiB, 4 connections, 1 in flight", 4, 1, 1 << 20)?,
        echo("echo-1m-2x64", "Echo of 1 MiB, 2 connections, 64 in flight", 2, 64, 1 << 20)?,
        deflate(
            "deflate-takeover",
            "Echo of deflated JSON of 1 KiB, contexts kept, 50 connections, 4 in flight",
            true,
        )?,
        deflate(
            "deflate-alone",
            "Echo of deflated JSON of 1 KiB, no context kept, 50 connections, 4 in flight",
            false,
        )?,
        tls("tls-100x1", "Echo of 20 bytes over TLS, 100 connections, 1 in flight", 100, 1, 20)?,
        tls("tls-50x64", "Echo of 20 bytes over TLS, 50 connections, 64 in flight", 50, 64, 20)?,
        tls("tls-16k-50x4", "Echo of 16 KiB over TLS, 50 connections, 4 in flight", 50, 4, 16 << 10)?,
        programs.workload(
            "handshakes",
            "Connect, upgrade and close, 32 at once",
            Shape::Handshakes { at_once: 32 },
            Mode::Plain,
            &RAW,
        )?,
        idle("idle-ws", "10 000 idle WebSockets", Deflate::Declined, Mode::Plain, &RAW)?,
        idle("idle-tls", "10 000 idle WebSockets over TLS", Deflate::Declined, Mode::Tls, &RAW)?,
        idle(
            "idle-deflate",
            "10 000 idle WebSockets with compression contexts, after one message of 1 KiB",
            Deflate::Takeover,
            Mode::Deflate { takeover: true },
            &DEFLATE,
        )?,
    ])
}

impl Workload {
    fn thorough(self) -> Self {
        Self { thorough: true, ..self }
    }
}

impl Programs {
    fn workload(
        &self,
        id: &'static str,
        title: &'static str,
        shape: Shape,
        mode: Mode,
        names: &[(&'static str, Wire)],
    ) -> Result<Workload> {
        let contenders = names.iter().filter_map(|(id, wire)| self.contender(id, *wire, mode).transpose());
        let contenders = contenders.collect::<Result<_>>()?;
        Ok(Workload { id, title, shape, mode, thorough: false, contenders })
    }

    /// The contender of that name; none where its program is not there.
    pub fn contender(&self, id: &'static str, wire: Wire, mode: Mode) -> Result<Option<Contender>> {
        let (name, role, launch) = match id {
            "floor-echo" => ("raw TCP (the floor)".to_owned(), Role::Floor, Some(self.peer("floor_echo"))),
            "floor-broadcast" => {
                ("raw TCP (the floor)".to_owned(), Role::Floor, Some(self.peer("floor_broadcast")))
            }
            "bare-hyper" => ("bare hyper (the floor)".to_owned(), Role::Floor, Some(self.peer("bare_hyper"))),
            "fastwebsockets" => {
                (self.crate_version("fastwebsockets")?, Role::Peer, Some(self.peer("fastwebsockets")))
            }
            "tokio-tungstenite" => {
                (self.crate_version("tokio-tungstenite")?, Role::Peer, Some(self.peer("tungstenite")))
            }
            "tokio-websockets" => {
                (self.crate_version("tokio-websockets")?, Role::Peer, Some(self.peer("tokio_websockets")))
            }
            "sockudo-ws" => (self.crate_version("sockudo-ws")?, Role::Peer, Some(self.peer("sockudo_ws"))),
            "wtx" => (self.crate_version("wtx")?, Role::Peer, Some(self.peer("wtx"))),
            "yawc" => (self.crate_version("yawc")?, Role::Peer, Some(self.peer("yawc"))),
            "socketioxide" => {
                (self.crate_version("socketioxide")?, Role::Peer, Some(self.peer("socketioxide")))
            }
            "uwebsockets" => {
                let version = self.package_version("uwebsockets", UWEBSOCKETS)?;
                (
                    version.replace(UWEBSOCKETS, "uWebSockets.js"),
                    Role::Peer,
                    self.script("uwebsockets/server.js"),
                )
            }
            "ws" => (self.on_node("ws")?, Role::Peer, self.script("node/ws.js")),
            "socket.io" => (self.on_node("socket.io")?, Role::Peer, self.script("node/socketio.js")),
            "bun" => (self.package_version("bun", "bun")?, Role::Peer, self.bun()),
            "switchboard" | "switchboard-ws" => {
                ("Switchboard".to_owned(), Role::Switchboard, self.switchboard(&["--workers", "1"]))
            }
            "switchboard-axum" => {
                ("Switchboard in axum".to_owned(), Role::Switchboard, self.switchboard(&["--mount", "axum"]))
            }
            "switchboard-2-workers" => (
                "Switchboard, 2 workers".to_owned(),
                Role::Switchboard,
                self.switchboard(&["--workers", "2"]),
            ),
            "switchboard-recovery" => (
                "Switchboard with recovery".to_owned(),
                Role::Switchboard,
                self.switchboard(&["--workers", "1", "--recovery", "120000"]),
            ),
            "switchboard-mixed" => (
                "Switchboard, a room of old and new clients".to_owned(),
                Role::Switchboard,
                self.switchboard(&["--workers", "1", "--old-clients"]),
            ),
            _ => anyhow::bail!("no server is called {id}"),
        };
        let both_cores = id == "switchboard-2-workers";
        let launch = launch
            .filter(|launch| role != Role::Switchboard || self.offers(mode) && self.has_options(launch))
            .map(|launch| self.in_mode(launch, id, mode));
        Ok(launch.map(|launch| Contender { id, name, role, wire, both_cores, launch }))
    }

    /// Whether the conformance server has the options of a launch.
    fn has_options(&self, launch: &Launch) -> bool {
        let mut options = launch.args.iter().filter(|arg| arg.starts_with("--"));
        options.all(|option| self.conformance_help.contains(option.as_str()))
    }

    /// Whether the conformance server has a mode's options.
    fn offers(&self, mode: Mode) -> bool {
        match mode {
            Mode::Plain | Mode::Broadcast => true,
            Mode::Deflate { .. } => self.conformance_help.contains("--deflate"),
            Mode::Tls => self.conformance_help.contains("--tls-cert"),
        }
    }

    /// The same server with the mode's options.
    fn in_mode(&self, mut launch: Launch, id: &str, mode: Mode) -> Launch {
        let certificate = &self.certificate;
        match mode {
            Mode::Deflate { takeover } => {
                launch.args.push("--deflate".to_owned());
                // The others do what the client asks for.
                match (id, takeover) {
                    ("bun" | "uwebsockets", false) => launch.args.push("--no-takeover".to_owned()),
                    ("switchboard-ws", true) => launch.args.push("--deflate-takeover".to_owned()),
                    _ => {}
                }
            }
            // The others have a path for it, or do nothing else.
            Mode::Broadcast if ["bun", "uwebsockets"].contains(&id) => {
                launch.args.push("--broadcast".to_owned());
            }
            Mode::Plain | Mode::Broadcast => {}
            Mode::Tls => {
                for (option, file) in [("--tls-cert", &certificate.cert), ("--tls-key", &certificate.key)] {
                    launch.args.extend([option.to_owned(), file.to_string_lossy().into_owned()]);
                }
            }
        }
        launch
    }

    fn peer(&self, binary: &str) -> Launch {
        Launch { program: self.peers.join(binary), args: Vec::new() }
    }

    fn script(&self, name: &str) -> Option<Launch> {
        let script = self.benchmark.join("peers").join(name);
        Some(Launch { program: self.node.clone()?, args: vec![script.to_string_lossy().into_owned()] })
    }

    fn switchboard(&self, args: &[&str]) -> Option<Launch> {
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        Some(Launch { program: self.conformance.clone()?, args })
    }

    /// `name version`, out of Cargo.lock.
    fn crate_version(&self, name: &str) -> Result<String> {
        let lock = read(&self.benchmark.join("Cargo.lock"))?;
        let mut lines = lock.lines().skip_while(|line| *line != format!("name = \"{name}\"")).skip(1);
        let version =
            lines.next().and_then(|line| line.strip_prefix("version = ")).context("in Cargo.lock")?;
        Ok(format!("{name} {}", version.trim_matches('"')))
    }

    fn bun(&self) -> Option<Launch> {
        let script = self.benchmark.join("peers/bun/ws.js");
        Some(Launch { program: self.bun.clone()?, args: vec![script.to_string_lossy().into_owned()] })
    }

    fn on_node(&self, name: &str) -> Result<String> {
        Ok(format!("{} on Node", self.package_version("node", name)?))
    }

    /// `name version`, out of the package-lock.json of `folder`.
    fn package_version(&self, folder: &str, name: &str) -> Result<String> {
        let lock = read(&self.benchmark.join("peers").join(folder).join("package-lock.json"))?;
        let lock: serde_json::Value = serde_json::from_str(&lock)?;
        let version = lock["packages"][format!("node_modules/{name}")]["version"].as_str();
        Ok(format!("{name} {}", version.context("in package-lock.json")?))
    }
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

/// What a program says when it is asked for help.
pub fn help(program: &Path) -> Result<String> {
    let output = Command::new(program).arg("--help").output();
    let output = output.with_context(|| format!("starting {}", program.display()))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
