//! What is measured: the servers, and the workloads each of them takes part in.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::load::{Shape, Wire};
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
            (Wire::SocketIo, _) => "Socket.IO",
        }
    }
}

pub struct Workload {
    pub id: &'static str,
    pub title: &'static str,
    pub shape: Shape,
    pub contenders: Vec<Contender>,
}

/// Where the servers are.
pub struct Programs {
    /// The folder with the peers' binaries.
    pub peers: PathBuf,
    /// Switchboard's conformance server, where it was built.
    pub conformance: Option<PathBuf>,
    /// Node, where it is installed.
    pub node: Option<PathBuf>,
    /// The folder of this benchmark, for its scripts and lock files.
    pub benchmark: PathBuf,
}

/// All workloads, each with the contenders this machine can run.
pub fn workloads(programs: &Programs) -> Result<Vec<Workload>> {
    const ECHO: Wire = Wire::WebSocket { path: "/ws" };
    const CAST: Wire = Wire::WebSocket { path: "/ws-cast" };
    let with = |names: &[(&'static str, Wire)]| -> Result<Vec<Contender>> {
        names.iter().filter_map(|(id, wire)| programs.contender(id, *wire).transpose()).collect()
    };
    let echo_peers = [
        ("floor-echo", Wire::Tcp),
        ("switchboard-ws", ECHO),
        ("switchboard", Wire::SocketIo),
        ("fastwebsockets", ECHO),
        ("tokio-tungstenite", ECHO),
        ("ws", ECHO),
        ("socketioxide", Wire::SocketIo),
        ("socket.io", Wire::SocketIo),
    ];
    let raw_echo_peers: Vec<_> = echo_peers.into_iter().filter(|(_, wire)| *wire != Wire::SocketIo).collect();
    let mounted_and_threaded =
        [("switchboard-axum", Wire::SocketIo), ("switchboard-2-workers", Wire::SocketIo)];
    let fan_out_peers = [
        ("floor-broadcast", Wire::Tcp),
        ("switchboard-ws", CAST),
        ("switchboard", Wire::SocketIo),
        mounted_and_threaded[0],
        mounted_and_threaded[1],
        ("socketioxide", Wire::SocketIo),
        ("socket.io", Wire::SocketIo),
    ];
    Ok(vec![
        Workload {
            id: "echo-100x1",
            title: "Echo of 20 bytes, 100 connections, 1 in flight",
            shape: Shape::Echo { connections: 100, in_flight: 1, payload: 20 },
            contenders: with(&[&echo_peers[..3], &mounted_and_threaded, &echo_peers[3..]].concat())?,
        },
        Workload {
            id: "echo-50x64",
            title: "Echo of 20 bytes, 50 connections, 64 in flight",
            shape: Shape::Echo { connections: 50, in_flight: 64, payload: 20 },
            contenders: with(&[&echo_peers[..3], &mounted_and_threaded, &echo_peers[3..]].concat())?,
        },
        Workload {
            id: "echo-16k",
            title: "Echo of 16 KiB, 50 connections, 4 in flight",
            shape: Shape::Echo { connections: 50, in_flight: 4, payload: 16 * 1024 },
            contenders: with(&raw_echo_peers)?,
        },
        Workload {
            id: "fanout-x1",
            title: "Fan-out of 200 bytes to 1000 connections, 1 in flight",
            shape: Shape::FanOut { receivers: 1000, in_flight: 1, payload: 200 },
            contenders: with(&fan_out_peers)?,
        },
        Workload {
            id: "fanout-x16",
            title: "Fan-out of 200 bytes to 1000 connections, 16 in flight",
            shape: Shape::FanOut { receivers: 1000, in_flight: 16, payload: 200 },
            contenders: with(&fan_out_peers)?,
        },
        Workload {
            id: "polling",
            title: "Echo of 20 bytes by long polling, 100 clients",
            shape: Shape::Polling { clients: 100, payload: 20 },
            contenders: with(&[
                ("bare-hyper", Wire::Tcp),
                ("switchboard", Wire::SocketIo),
                ("socketioxide", Wire::SocketIo),
                ("socket.io", Wire::SocketIo),
            ])?,
        },
        Workload {
            id: "idle",
            title: "10 000 idle connections",
            shape: Shape::Idle { connections: 10_000 },
            contenders: with(&[
                ("switchboard", Wire::SocketIo),
                ("switchboard-ws", ECHO),
                ("fastwebsockets", ECHO),
                ("socketioxide", Wire::SocketIo),
                ("socket.io", Wire::SocketIo),
            ])?,
        },
    ])
}

impl Programs {
    /// The contender of that name; none where its program is not there.
    fn contender(&self, id: &'static str, wire: Wire) -> Result<Option<Contender>> {
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
            "socketioxide" => {
                (self.crate_version("socketioxide")?, Role::Peer, Some(self.peer("socketioxide")))
            }
            "ws" => (self.package_version("ws")?, Role::Peer, self.script("ws.js")),
            "socket.io" => (self.package_version("socket.io")?, Role::Peer, self.script("socketio.js")),
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
            _ => anyhow::bail!("no server is called {id}"),
        };
        let both_cores = id == "switchboard-2-workers";
        Ok(launch.map(|launch| Contender { id, name, role, wire, both_cores, launch }))
    }

    fn peer(&self, binary: &str) -> Launch {
        Launch { program: self.peers.join(binary), args: Vec::new() }
    }

    fn script(&self, name: &str) -> Option<Launch> {
        let script = self.benchmark.join("peers/node").join(name);
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

    /// `name version on Node`, out of package-lock.json.
    fn package_version(&self, name: &str) -> Result<String> {
        let lock = read(&self.benchmark.join("peers/node/package-lock.json"))?;
        let lock: serde_json::Value = serde_json::from_str(&lock)?;
        let version = lock["packages"][format!("node_modules/{name}")]["version"].as_str();
        Ok(format!("{name} {} on Node", version.context("in package-lock.json")?))
    }
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}
