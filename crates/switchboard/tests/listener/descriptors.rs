//! A server that runs out of file descriptors. It runs in its own process, with a low limit.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use switchboard::Switchboard;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::{Client, DEADLINE, Server, eventually, metric, upgrade};

const DESCRIPTORS: u64 = 48;

/// This is not a test but the process that [`a_server_out_of_descriptors_waits_and_goes_on`] starts. It
/// serves until the end of its standard input.
#[tokio::test]
#[ignore = "the other process of a test"]
async fn serve_with_few_descriptors() {
    let limit = rustix::process::Rlimit { current: Some(DESCRIPTORS), maximum: Some(DESCRIPTORS) };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit)
        .expect("a lower limit is always allowed");
    let server = Server::start(Switchboard::builder().workers(1)).await;
    println!("\nserving {}", server.address);
    eventually("accepting failed", async || metric("switchboard_accept_errors_total", "resources") > 0.0)
        .await;
    println!("out of descriptors");
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()))
        .await
        .expect("reading does not panic")
        .expect("the other process is there");
    println!("errors {}", metric("switchboard_accept_errors_total", "resources"));
}

/// The processor time that a process has used, in hundredths of a second.
fn ticks(child: &Child) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).expect("the process is there");
    let (_, fields) = stat.rsplit_once(") ").expect("a name in parentheses");
    fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_out_of_descriptors_waits_and_goes_on() {
    let mut child = Command::new(std::env::current_exe().expect("a program runs"))
        .args(["descriptors::serve_with_few_descriptors", "--exact", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a program that runs can be run");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut lines = lines.map(|line| line.expect("text"));
    let mut line = |begin: &str| {
        let found = lines.find_map(|line| line.strip_prefix(begin).map(str::to_owned));
        found.unwrap_or_else(|| panic!("the process ended before it said {begin:?}"))
    };
    let address = tokio::task::block_in_place(|| line("serving ")).trim().to_owned();

    // More connections than it has descriptors. The others wait in the backlog.
    let mut clients = Vec::new();
    for _ in 0..DESCRIPTORS + 20 {
        let mut client = Client { stream: TcpStream::connect(&address).await.expect("the backlog has room") };
        client.send(upgrade("/ws")).await;
        clients.push(client);
    }
    tokio::task::block_in_place(|| line("out of descriptors"));
    let (began, before) = (Instant::now(), ticks(&child));
    // A while in which it has nothing to do but wait.
    assert!(timeout(Duration::from_secs(2), clients.last_mut().expect("some").head()).await.is_err());
    let spent = ticks(&child) - before;
    assert!(spent < 50, "it spun: {spent} hundredths of a second in {:?}", began.elapsed());

    // The first connections have been answered. When they close, the others are answered.
    let waiting = clients.split_off(clients.len() - 20);
    drop(clients);
    for mut client in waiting {
        let head = timeout(DEADLINE, client.head()).await.expect("it accepts again");
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    }
    drop(child.stdin.take());
    let errors: f64 = tokio::task::block_in_place(|| line("errors ")).parse().expect("a number");
    assert!(errors < 50.0, "{errors} tries to accept");
    assert!(child.wait().expect("it ends").success());
}
