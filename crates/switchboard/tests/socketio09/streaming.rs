//! WebSocket and htmlfile of 0.9: heartbeats, ends, and changes from one transport to another.

use switchboard::{Data, Socket};

use crate::client::{Polling, SHORT, Socket09, Stream, answering, builder, shake_hands, telling, times};
use crate::harness::{Server, log, soon};

async fn htmlfile(server: &Server) -> (Polling, Stream) {
    let client = Polling::at(server, &shake_hands(server).await);
    let target = format!("/socket.io/1/htmlfile/{}", client.sid());
    let mut page = Stream::get(server.address, &target).await;
    let head = page.until("\r\n\r\n").await;
    assert!(head.contains("content-type: text/html; charset=UTF-8\r\n"), "{head}");
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    let begin = page.until(&" ".repeat(173)).await;
    let script = "<html><body><script>var _ = function (msg) { parent.s._(msg, document); };</script>";
    assert!(begin.contains(script), "{begin}");
    page.until(r#"<script>_("1::");</script>"#).await;
    (client, page)
}

#[tokio::test]
async fn htmlfile_is_a_page_of_scripts_that_nothing_ends() {
    let server = Server::start(builder(), answering).await;
    let (client, mut page) = htmlfile(&server).await;
    client.post("3:::a/b </script><!--").await;
    page.until(r#"<script>_("3:::a\/b \u003c\/script>\u003c!--");</script>"#).await;
    client.post("\u{fffd}5\u{fffd}3:::a\u{fffd}5\u{fffd}3:::b").await;
    let both = page.until(r#"_("3:::b");</script>"#).await;
    assert!(both.contains(r#"<script>_("3:::a");</script>"#), "{both}");
}

#[tokio::test]
async fn a_page_that_is_left_ends_its_session_at_once() {
    let (said, mut told) = log();
    let server = Server::start(builder(), |io| telling(io, said)).await;
    let (client, page) = htmlfile(&server).await;
    drop(page);
    assert_eq!(told.next().await, "transport close");
    client.is_unknown().await;
}

#[tokio::test]
async fn a_page_ends_with_its_session() {
    let server = Server::start(builder(), answering).await;
    for (end, last) in
        [("0::", r#"_("0::");</script>"#), (r#"5:::{"name":"close"}"#, r#"_("0::");</script>"#)]
    {
        let (client, mut page) = htmlfile(&server).await;
        client.post(end).await;
        page.until(last).await;
        page.until("0\r\n\r\n").await;
        client.is_unknown().await;
    }
}

#[tokio::test]
async fn a_page_that_is_not_read_holds_no_more_than_its_outbox() {
    let (said, mut told) = log();
    let builder = builder().max_outbox_bytes(1 << 20);
    let server = Server::start(builder, |io| {
        telling(io, said);
        io.root().on("flood", |socket: Socket| {
            let text = "x".repeat(100_000);
            while socket.emit("message", &text).is_ok() {}
        });
    })
    .await;
    let (client, page) = htmlfile(&server).await;
    client.post(r#"5:::{"name":"flood"}"#).await;
    assert_eq!(told.next().await, "forced server close");
    drop(page);
}

#[tokio::test]
async fn a_page_that_is_read_late_loses_nothing() {
    let server = Server::start(builder(), |io| {
        io.root().on("much", |socket: Socket| -> switchboard::Result {
            for n in 0..200 {
                socket.emit("message", format!("{n} {}", "x".repeat(20_000)))?;
            }
            Ok(socket.emit("message", "end")?)
        });
    })
    .await;
    let (client, mut page) = htmlfile(&server).await;
    client.post(r#"5:::{"name":"much"}"#).await;
    let all = page.until(r#"_("3:::end");</script>"#).await;
    let mut from = 0;
    for n in 0..200 {
        let found = all.get(from..).and_then(|rest| rest.find(&format!("3:::{n} x")));
        from += found.unwrap_or_else(|| panic!("{n} is lost, or out of order"));
    }
}

#[tokio::test]
async fn heartbeats_go_out_and_are_answered_on_websocket_and_htmlfile() {
    let options = times(|times| times.heartbeat_interval = SHORT);
    let server = Server::start(builder().old_client_options(options), answering).await;
    let mut client = Socket09::open(&server).await;
    for _ in 0..3 {
        client.expect("2::").await;
        client.send("2::").await;
    }
    let (client, mut page) = htmlfile(&server).await;
    for _ in 0..3 {
        page.until(r#"<script>_("2::");</script>"#).await;
        client.post("2::").await;
    }
}

#[tokio::test]
async fn a_heartbeat_without_an_answer_is_the_end() {
    let options = || times(|times| (times.heartbeat_interval, times.heartbeat_timeout) = (SHORT, SHORT * 2));
    for polls in [false, true] {
        let (said, mut told) = log();
        let server = Server::start(builder().old_client_options(options()), |io| telling(io, said)).await;
        if polls {
            let (client, mut page) = htmlfile(&server).await;
            assert_eq!(told.next().await, "ping timeout");
            page.until("0\r\n\r\n").await;
            client.is_unknown().await;
        } else {
            let mut client = Socket09::open(&server).await;
            client.expect("2::").await;
            assert_eq!(client.next().await, None);
            assert_eq!(told.next().await, "ping timeout");
        }
    }
}

#[tokio::test]
async fn a_websocket_that_closes_ends_its_session() {
    let (said, mut told) = log();
    let server = Server::start(builder(), |io| telling(io, said)).await;
    let client = Socket09::open(&server).await;
    client.close().await;
    assert_eq!(told.next().await, "transport close");
    let mut client = Socket09::open(&server).await;
    client.ask("0::", "0::").await;
    assert_eq!(client.next().await, None);
    assert_eq!(told.next().await, "client namespace disconnect");
    let mut client = Socket09::open(&server).await;
    client.ask("0", "0::").await;
    assert_eq!(told.next().await, "client namespace disconnect");
}

#[tokio::test]
async fn a_client_goes_on_by_another_transport_where_the_first_one_fails() {
    let (said, mut told) = log();
    let server = Server::start(builder(), |io| {
        answering(io);
        telling(io, said);
        io.root().on("count", |socket: Socket, Data(n): Data<u32>| {
            (0..n).try_for_each(|n| socket.emit("n", n)).map_err(switchboard::Error::from)
        });
    })
    .await;
    let sid = shake_hands(&server).await;
    let websocket = format!("/socket.io/1/websocket/{sid}");
    let mut first = Socket09::at(server.address, &websocket).await;
    first.expect("1::").await;
    // It is told on the next one, too, that it is connected.
    let client = Polling::at(&server, &sid);
    assert_eq!(client.get().await, "1::");
    assert_eq!(first.next().await, None);
    client.post("3:::a").await;
    let mut second = Socket09::at(server.address, &websocket).await;
    second.expect("3:::a").await;
    let target = format!("/socket.io/1/htmlfile/{sid}");
    let mut page = Stream::get(server.address, &target).await;
    page.until(r#"<script>_("1::");</script>"#).await;
    assert_eq!(second.next().await, None);
    client.post(r#"5:::{"name":"count","args":[3]}"#).await;
    page.until(r#"{\"name\":\"n\",\"args\":[2]}");</script>"#).await;
    assert_eq!(told.now(), [""; 0]);
    let sockets = soon("sockets", server.io.root().local_sockets()).await.expect("sockets");
    assert_eq!(sockets.len(), 1);
}
