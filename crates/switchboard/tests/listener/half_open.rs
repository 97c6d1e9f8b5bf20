//! Peers that have vanished silently are detected.

use std::time::Duration;

use switchboard::{Switchboard, WebSocketOptions};

use crate::harness::{SHORT, Server, eventually, metric, text_frame, upgrade};

#[tokio::test]
async fn a_raw_websocket_whose_peer_is_silent_is_pinged_then_cut() {
    let server = Server::with(|_| {}).await;
    let mut options = WebSocketOptions::default();
    options.ping_interval = Some(SHORT);
    server.io.websocket_with("/pinged", options).expect("the options are good");
    let mut silent = server.send(upgrade("/pinged")).await;
    let mut lively = server.websocket("/pinged").await;
    silent.head().await;
    silent.until(b"\x89\x00").await;
    // The client answers pings by itself as long as the test reads it.
    let reading = tokio::spawn(async move { while let Ok(Some(_)) = lively.recv().await {} });
    assert!(silent.is_cut().await);
    assert!(metric("switchboard_websocket_ping_timeouts_total", "") > 0.0);
    assert!(!reading.is_finished(), "the one who answers stays");
}

#[tokio::test]
async fn a_session_whose_peer_is_silent_ends_by_its_heartbeat() {
    let builder = Switchboard::builder().workers(1).ping_interval(SHORT).ping_timeout(SHORT);
    let builder = builder.close_timeout(Some(SHORT));
    let server = Server::start(builder).await;
    let before = metric("switchboard_sessions_closed_total", "ping timeout");
    let mut silent = server.send(upgrade("/socket.io/?EIO=4&transport=websocket")).await;
    silent.head().await;
    let rest = silent.rest().await;
    assert!(rest.contains("\u{1}2"), "it was pinged: {rest:?}");
    eventually("counted", async || metric("switchboard_sessions_closed_total", "ping timeout") > before)
        .await;

    let polling = server.open_session().await;
    eventually("the session on polling is closed", async || {
        // Checked less often than the server pings, because each check is a sign of life.
        tokio::time::sleep(Duration::from_secs(1)).await;
        !server.has_session(&polling).await
    })
    .await;
}

#[tokio::test]
async fn a_session_whose_peer_answers_stays() {
    let builder = Switchboard::builder().workers(1).ping_interval(SHORT / 4).ping_timeout(SHORT * 10);
    let server = Server::start(builder).await;
    let mut lively = server.send(upgrade("/socket.io/?EIO=4&transport=websocket")).await;
    lively.send(text_frame("40")).await;
    for _ in 0..10 {
        lively.until(b"\x81\x012").await;
        lively.send(text_frame("3")).await;
    }
}
