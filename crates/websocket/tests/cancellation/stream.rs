//! A whole connection.

use futures_util::SinkExt;
use switchboard_websocket::{
    CloseCode, Config, Error, Opcode, OwnedMessage, Prepared, Role, WebSocketStream,
};

use crate::{
    DEFLATE, at_each_point, config, from_peer, options, received,
    trickle::{Outside, Trickle, cut, finish},
};

const ROLES: [Role; 2] = [Role::Server, Role::Client];
const BEFORE: &str = "twenty bytes of text";

/// A connection whose peer has sent `input`, over a stream that moves `step` bytes at a time.
fn connection(role: Role, config: &Config, input: &[u8], step: usize) -> (WebSocketStream<Trickle>, Outside) {
    let (io, outside) = Trickle::new(input, step);
    (WebSocketStream::from_raw(io, role, config), outside)
}

/// The call that sends the message and is cut.
#[derive(Clone, Copy, Debug)]
enum Send {
    Plain,
    Prepared,
    Sink,
}

impl Send {
    async fn send(self, socket: &mut WebSocketStream<Trickle>, text: &str) -> Result<(), Error> {
        match self {
            Self::Plain => socket.send(text).await,
            Self::Prepared => socket.send_prepared(&Prepared::text(text)).await,
            Self::Sink => SinkExt::send(socket, text.into()).await,
        }
    }
}

/// The next use of the connection.
#[derive(Clone, Copy, Debug)]
enum After {
    Flush,
    Send,
    Recv,
    Close,
}

impl After {
    /// Returns the message that this use sends.
    async fn go_on(self, role: Role, socket: &mut WebSocketStream<Trickle>) -> Option<OwnedMessage> {
        match self {
            Self::Flush => finish(socket.flush()).await.unwrap(),
            Self::Send => {
                finish(socket.send("after")).await.unwrap();
                return Some("after".into());
            }
            // It flushes before it waits, and no message comes here.
            Self::Recv => assert!(cut(socket.recv(), 1000).await.is_none(), "{role:?}"),
            Self::Close => {
                let closed = cut(socket.close(CloseCode::GoingAway, "x"), 1000).await;
                assert!(closed.is_none(), "no answer to the close comes: {closed:?}");
                return Some(OwnedMessage::close(CloseCode::GoingAway, "x"));
            }
        }
        None
    }
}

/// Cuts a send at each point, and checks the messages that the peer reads.
async fn cut_sends(role: Role, deflate: bool, send: Send, after: After, (text, step): (&str, usize)) {
    let (mut left_out, mut sent_later) = (false, false);
    let points = at_each_point(async |polls| {
        let (mut socket, outside) = connection(role, &config(), &[], step);
        if deflate {
            socket = socket.with_deflate(DEFLATE, &options());
        }
        socket.feed(BEFORE).unwrap();
        let sent = cut(send.send(&mut socket, text), polls).await;
        let done = sent.is_some();
        sent.transpose().unwrap();
        let last = after.go_on(role, &mut socket).await;
        let got = received(role, &outside.output(), deflate);
        let with: Vec<OwnedMessage> = [BEFORE.into(), text.into()].into_iter().chain(last.clone()).collect();
        if got == with {
            sent_later |= !done;
        } else {
            let without: Vec<OwnedMessage> = [BEFORE.into()].into_iter().chain(last).collect();
            assert_eq!(got, without, "{role:?} {deflate} {send:?} {after:?}: after {polls} polls");
            assert!(!done, "a sent message is not lost");
            left_out = true;
        }
        done
    })
    .await;
    assert!(left_out && sent_later, "{role:?} {deflate} {send:?} {after:?}: in {points} points");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_send_sends_all_of_its_message_or_nothing() {
    for role in ROLES {
        for send in [Send::Plain, Send::Prepared, Send::Sink] {
            for after in [After::Flush, After::Send, After::Recv, After::Close] {
                cut_sends(role, false, send, after, ("and some more of it", 1)).await;
            }
            // A compressor that keeps context costs much to make.
            cut_sends(role, true, send, After::Send, ("and some more of it", 1)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_send_of_a_long_message_sends_all_of_it_or_nothing() {
    let text = "0123456789".repeat(2000);
    for role in ROLES {
        for send in [Send::Plain, Send::Prepared] {
            cut_sends(role, false, send, After::Send, (&text, 777)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_flush_writes_the_bytes_that_a_dropped_flush_did_not() {
    for role in ROLES {
        let messages: [OwnedMessage; 3] = ["one".into(), vec![2; 10].into(), OwnedMessage::Ping(vec![3])];
        let points = at_each_point(async |polls| {
            let (mut socket, outside) = connection(role, &Config::default(), &[], 1);
            for message in &messages {
                socket.feed(message.clone()).unwrap();
            }
            let done = cut(socket.flush(), polls).await.is_some();
            finish(socket.flush()).await.unwrap();
            assert_eq!(received(role, &outside.output(), false), messages, "after {polls} polls");
            done
        })
        .await;
        assert!(points > 10, "{points} for as many bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn a_recv_that_is_dropped_loses_no_message_and_answers_each_once() {
    for role in ROLES {
        let input = [
            from_peer(role, Opcode::Ping, b"?"),
            from_peer(role, Opcode::Text, b"text"),
            from_peer(role, Opcode::Close, b"\x03\xe8bye"),
        ];
        let expected =
            [OwnedMessage::Ping(b"?".to_vec()), "text".into(), OwnedMessage::close(CloseCode::Normal, "bye")];
        at_each_point(async |polls| {
            let (mut socket, outside) = connection(role, &Config::default(), &input.concat(), 1);
            outside.line().ends = true;
            let first = cut(socket.recv(), polls).await;
            let done = first.is_some();
            let mut got: Vec<OwnedMessage> = first.into_iter().filter_map(Result::unwrap).collect();
            // Then it is cut at every point.
            for _ in 0..1000 {
                got.extend(cut(socket.recv(), 1).await.and_then(Result::unwrap));
            }
            assert_eq!(got, expected, "{role:?}: after {polls} polls");
            let answers = [OwnedMessage::Pong(b"?".to_vec()), OwnedMessage::close(CloseCode::Normal, "")];
            assert_eq!(received(role, &outside.output(), false), answers);
            assert_eq!(outside.line().is_shut, role == Role::Server, "the server ends the connection");
            done
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_that_is_dropped_goes_on_with_the_next_call_and_sends_one_frame() {
    for role in ROLES {
        for by_recv in [false, true] {
            let input = [from_peer(role, Opcode::Text, b"late"), from_peer(role, Opcode::Close, b"\x03\xe8")];
            let points = at_each_point(async |polls| {
                let (mut socket, outside) = connection(role, &Config::default(), &input.concat(), 1);
                outside.line().ends = true;
                socket.feed("before").unwrap();
                let first = cut(socket.close(CloseCode::Normal, "first"), polls).await;
                let done = first.is_some();
                first.transpose().unwrap();
                if by_recv && polls > 0 {
                    while finish(socket.recv()).await.unwrap().is_some() {}
                } else {
                    finish(socket.close(CloseCode::GoingAway, "second")).await.unwrap();
                }
                let close = match polls {
                    0 => OwnedMessage::close(CloseCode::GoingAway, "second"),
                    _ => OwnedMessage::close(CloseCode::Normal, "first"),
                };
                assert_eq!(received(role, &outside.output(), false), ["before".into(), close]);
                assert_eq!(outside.line().is_shut, role == Role::Server, "{role:?}: after {polls} polls");
                assert!(matches!(socket.feed("late"), Err(Error::Closed)));
                done
            })
            .await;
            assert!(points > 10, "{points} for as many bytes");
        }
    }
}
