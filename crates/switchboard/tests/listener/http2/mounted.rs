//! Mounted in axum, behind hyper-util's connection builder for both versions.

use axum::Router;
use axum::routing::get;
use switchboard::Switchboard;

use super::client::{Http2, soon};
use super::websockets::{ENGINE, set_up};
use crate::harness::Server;
use crate::mounted::serve;

#[tokio::test]
async fn behind_axum_both_versions_are_served_alike() {
    for workers in [1, 4] {
        let io = Switchboard::builder().workers(workers).build().unwrap();
        set_up(&io);
        let router = Router::new().route("/page", get(|| async { "a page" })).layer(io.layer());
        let server = Server { address: serve(router, |_| {}), io };
        let mut client = Http2::connect(&server).await;
        assert_eq!(client.get("/page").await.body, "a page");
        assert_eq!(client.get("/nothing").await.status, 404);
        let (answer, _) = client.try_websocket("/page", &[]).await;
        assert_eq!(answer.status(), 405);

        let mut raw = client.websocket("/ws").await;
        raw.echoes("hello").await;
        let mut socket = client.websocket(ENGINE).await;
        socket.join().await;
        let mut over_http1 = server.websocket(ENGINE).await;
        soon("an open packet", over_http1.recv()).await.unwrap();
        over_http1.send("40").await.unwrap();
        soon("a connect packet", over_http1.recv()).await.unwrap();
        over_http1.send(r#"42["say","hello"]"#).await.unwrap();
        socket.expect(r#"42["said","hello"]"#).await;

        let sid = client.open_session().await;
        client.post(&sid, "40").await;
        client.poll(&sid).await;
        let mut upgraded = client.websocket(&format!("{ENGINE}&sid={sid}")).await;
        upgraded.upgrade_from(&mut client, &sid).await;
        upgraded.send(r#"420["sum",3,4]"#).await;
        upgraded.expect("430[7]").await;
    }
}
