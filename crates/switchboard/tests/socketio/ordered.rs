//! Ordered broadcasts: handlers of several workers take turns, and every client sees this order.

use std::sync::{Arc, Mutex};

use switchboard::{Data, Socket, Switchboard};

use crate::harness::{Client, Server};

const CLIENTS: usize = 12;
const EACH: usize = 100;

async fn clients(server: &Server) -> Vec<Client> {
    let mut clients = Vec::with_capacity(CLIENTS);
    for _ in 0..CLIENTS {
        clients.push(server.client().await);
    }
    clients
}

/// Each `raise` increments a number and broadcasts it, under one mutex.
fn raise(io: &Switchboard) {
    let number = Arc::new(Mutex::new(0));
    io.root().on("raise", move |socket: Socket| {
        let mut number = number.lock().expect("not poisoned");
        *number += 1;
        socket.namespace().emit("n", *number)
    });
}

#[tokio::test]
async fn broadcasts_under_one_mutex_arrive_everywhere_in_its_order() {
    let server = Server::start(Switchboard::builder().workers(3).ordered_broadcasts(true), raise).await;
    let mut clients = clients(&server).await;
    for _ in 0..EACH {
        for client in &mut clients {
            client.send(r#"42["raise"]"#).await;
        }
    }
    for client in &mut clients {
        for n in 1..=EACH * CLIENTS {
            client.expect(&format!(r#"42["n",{n}]"#)).await;
        }
    }
}

#[tokio::test]
async fn an_answer_comes_behind_the_event_that_it_answers() {
    let server = Server::workers(3, |io| {
        io.root().ordered_broadcasts(true);
        io.root().on("say", |socket: Socket, Data(word): Data<u32>| socket.namespace().emit("said", word));
    })
    .await;
    let mut clients = clients(&server).await;
    // Each word is sent by the client that got the previous one first.
    clients[0].send(r#"42["say",0]"#).await;
    for word in 0..EACH {
        let said = format!(r#"42["said",{word}]"#);
        let next = word % CLIENTS;
        clients[next].expect(&said).await;
        clients[next].send(&format!(r#"42["say",{}]"#, word + 1)).await;
        for (number, client) in clients.iter_mut().enumerate().filter(|(number, _)| *number != next) {
            assert_eq!(client.text().await, said, "client {number}");
        }
    }
}

#[tokio::test]
async fn packets_of_a_handler_behind_an_ordered_broadcast_come_behind_it() {
    let server = Server::workers(3, |io| {
        io.root().ordered_broadcasts(true);
        io.root().on("all", |socket: Socket| -> switchboard::Result<&'static str> {
            socket.emit("first", ())?;
            socket.namespace().emit("second", ())?;
            socket.emit("third", ())?;
            socket.join("room")?;
            socket.namespace().to("room").emit("fourth", ())?;
            socket.leave("room")?;
            socket.namespace().to("room").emit("nobody", ())?;
            Ok("fifth")
        });
    })
    .await;
    let mut client = server.client().await;
    for _ in 0..EACH {
        client.send(r#"420["all"]"#).await;
        for event in ["first", "second", "third", "fourth"] {
            client.expect(&format!(r#"42["{event}"]"#)).await;
        }
        client.expect(r#"430["fifth"]"#).await;
    }
}
