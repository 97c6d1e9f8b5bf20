//! What the executor of a worker's connections does for them.

use std::cell::Cell;
use std::rc::Rc;

use switchboard_websocket::Opcode;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::super::Phase;
use super::{Bench, frame, run, until_idle};
use crate::transport::io::Io;
use crate::transport::wire::Wire;

/// Connections that each have a message to read, none of which has had its turn; and how many are handled.
async fn all_ready(bench: &Bench, connections: usize) -> (Rc<Cell<usize>>, Vec<DuplexStream>) {
    let handled = Rc::new(Cell::new(0));
    let mut clients = Vec::new();
    for _ in 0..connections {
        let handled = Rc::clone(&handled);
        let (_owner, client) = bench.open(100, Wire::Rfc6455, move |_, _, _| handled.set(handled.get() + 1));
        clients.push(client);
    }
    until_idle().await;
    tokio::task::unconstrained(async {
        for client in &mut clients {
            client.write_all(&frame(Opcode::Text, b"hi")).await.unwrap();
        }
    })
    .await;
    (handled, clients)
}

#[test]
fn another_thread_may_wake_a_connection() {
    run(|bench| async move {
        let (owner, mut client) = bench.quiet(1000);
        until_idle().await;
        let waker = owner.connection().waker.get().expect("it has had its first turn").clone();
        owner.connection().phase.set(Phase::Ended);
        std::thread::spawn(move || waker.wake()).join().expect("it ends");
        let mut all = Vec::new();
        client.read_to_end(&mut all).await.unwrap();
        assert_eq!(owner.end(), Some("closed"));
    });
}

#[test]
fn many_connections_that_are_ready_let_others_have_their_turn() {
    run(|bench| async move {
        const CONNECTIONS: usize = 1000;
        let (handled, _clients) = all_ready(&bench, CONNECTIONS).await;
        let mut turns = vec![handled.get()];
        while handled.get() < CONNECTIONS {
            tokio::task::yield_now().await;
            turns.push(handled.get());
        }
        let most = turns.windows(2).map(|turn| turn[1] - turn[0]).max();
        assert_eq!(most, Some(256), "{turns:?}");
    });
}

#[test]
fn a_connection_that_is_woken_while_others_wait_for_their_turn_is_not_forgotten() {
    run(|bench| async move {
        const CONNECTIONS: usize = 600;
        let (handled, mut clients) = all_ready(&bench, CONNECTIONS).await;
        tokio::task::yield_now().await;
        assert!((1..CONNECTIONS).contains(&handled.get()), "{} are handled, others wait", handled.get());
        clients[0].write_all(&frame(Opcode::Text, b"and you")).await.unwrap();
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(handled.get(), CONNECTIONS + 1);
    });
}

#[test]
fn connections_end_with_their_worker() {
    let mut left = None;
    let saved = &mut left;
    run(|bench| async move {
        let (owner, client) = bench.quiet(1000);
        until_idle().await;
        *saved = Some((owner.connection(), client));
    });
    let (connection, _client) = left.expect("it is set");
    assert!(matches!(*connection.io.borrow(), Io::Closed));
}
