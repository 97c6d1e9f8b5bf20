//! The half that writes. The reader has one call, `recv`.

use bytes::BytesMut;
use switchboard_websocket::{
    CloseCode, Config, Error, Opcode, OwnedMessage, Prepared, Reader, Role, WebSocketStream, Writer,
};

use crate::{
    DEFLATE, at_each_point, config, from_peer, options, received,
    trickle::{Outside, Trickle, cut, finish},
};

const BEFORE: &str = "twenty bytes of text";

/// The halves of a server whose peer has sent `input`.
fn halves(config: &Config, input: &[u8]) -> (Reader<Trickle>, Writer<Trickle>, Outside) {
    let (read, write, outside) = Trickle::halves(input, 1);
    let (reader, writer) = WebSocketStream::from_halves((read, write), BytesMut::new(), Role::Server, config);
    (reader, writer, outside)
}

/// A ping and a close, which must both be answered, and the answers.
fn asking() -> (Vec<u8>, [OwnedMessage; 2]) {
    let input =
        [from_peer(Role::Server, Opcode::Ping, b"?"), from_peer(Role::Server, Opcode::Close, b"\x03\xe8")];
    let answers = [OwnedMessage::Pong(b"?".to_vec()), OwnedMessage::close(CloseCode::Normal, "")];
    (input.concat(), answers)
}

/// Reads until the connection is over.
async fn read_all(reader: &mut Reader<Trickle>) {
    while finish(reader.recv()).await.unwrap().is_some() {}
}

#[tokio::test(start_paused = true)]
async fn a_dropped_send_sends_all_of_its_message_or_nothing() {
    for (deflate, prepared) in [(false, false), (false, true), (true, false), (true, true)] {
        let (mut left_out, mut sent_later) = (false, false);
        at_each_point(async |polls| {
            let (_reader, mut writer, outside) = halves(&config(), &[]);
            if deflate {
                writer = writer.with_deflate(DEFLATE, &options());
            }
            writer.feed(BEFORE).unwrap();
            let sent = if prepared {
                cut(writer.send_prepared(&Prepared::text("cut")), polls).await
            } else {
                cut(writer.send("cut"), polls).await
            };
            let done = sent.is_some();
            sent.transpose().unwrap();
            finish(writer.send("after")).await.unwrap();
            let got = received(Role::Server, &outside.output(), deflate);
            if got == [BEFORE.into(), "cut".into(), "after".into()] {
                sent_later |= !done;
            } else {
                assert_eq!(got, [BEFORE.into(), "after".into()], "after {polls} polls");
                assert!(!done, "a sent message is not lost");
                left_out = true;
            }
            done
        })
        .await;
        assert!(left_out && sent_later, "deflate: {deflate}, prepared: {prepared}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_flush_writes_the_bytes_that_a_dropped_flush_did_not() {
    let (input, answers) = asking();
    let points = at_each_point(async |polls| {
        let (mut reader, mut writer, outside) = halves(&Config::default(), &input);
        writer.feed("before").unwrap();
        read_all(&mut reader).await;
        let done = cut(writer.flush(), polls).await.is_some();
        finish(writer.flush()).await.unwrap();
        let [pong, close] = answers.clone();
        assert_eq!(received(Role::Server, &outside.output(), false), ["before".into(), pong, close]);
        done
    })
    .await;
    assert!(points > 10, "{points} for as many bytes");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_dropped_is_given_once_by_the_next_call() {
    let (input, answers) = asking();
    let points = at_each_point(async |polls| {
        let (mut reader, mut writer, outside) = halves(&Config::default(), &input);
        read_all(&mut reader).await;
        let done = cut(writer.answer(), polls).await.is_some();
        finish(writer.answer()).await.unwrap();
        assert_eq!(received(Role::Server, &outside.output(), false), answers, "after {polls} polls");
        assert!(outside.line().is_shut, "the server ends the connection");
        done
    })
    .await;
    assert!(points > 10, "{points} for as many bytes");
}

/// A ping that comes while `answer` is not awaited is answered too: a loop that drops `answer` again and
/// again misses none.
#[tokio::test(start_paused = true)]
async fn an_answer_that_is_dropped_between_pings_misses_none() {
    let pings: Vec<OwnedMessage> = (0..20).map(|ping| OwnedMessage::Ping(vec![ping])).collect();
    let input: Vec<u8> =
        pings.iter().flat_map(|ping| from_peer(Role::Server, Opcode::Ping, ping.as_bytes())).collect();
    let (mut reader, mut writer, outside) = halves(&Config::default(), &input);
    let mut read = 0;
    for _ in 0..2000 {
        read += usize::from(cut(reader.recv(), 1).await.is_some());
        assert!(cut(writer.answer(), 1).await.is_none(), "it is over when the peer has closed");
    }
    assert_eq!(read, pings.len());
    let pongs: Vec<OwnedMessage> =
        pings.into_iter().map(|ping| OwnedMessage::Pong(ping.into_bytes())).collect();
    assert_eq!(received(Role::Server, &outside.output(), false), pongs);
}

#[tokio::test(start_paused = true)]
async fn a_close_that_is_dropped_goes_on_with_the_next_call_and_sends_one_frame() {
    let input = from_peer(Role::Server, Opcode::Close, b"\x03\xe8");
    // The peer's answer is there before, or comes after the first call was dropped.
    for answered in [true, false] {
        let points = at_each_point(async |polls| {
            let (mut reader, mut writer, outside) = halves(&Config::default(), &input);
            writer.feed("before").unwrap();
            let polls = if answered { polls } else { polls.min(50) };
            let first = {
                let mut closing = std::pin::pin!(writer.close(CloseCode::Normal, "first"));
                // Our Close frame is queued before the peer's is read.
                let begun = cut(closing.as_mut(), polls.min(1)).await;
                assert!(begun.is_none(), "a stream that makes it wait");
                if answered {
                    read_all(&mut reader).await;
                }
                cut(closing, polls.saturating_sub(1)).await
            };
            let done = first.is_some();
            first.transpose().unwrap();
            if !answered {
                assert!(!done, "without an answer");
                read_all(&mut reader).await;
            }
            finish(writer.close(CloseCode::GoingAway, "second")).await.unwrap();
            let close = match polls {
                // The peer's came first.
                0 => OwnedMessage::close(CloseCode::Normal, ""),
                _ => OwnedMessage::close(CloseCode::Normal, "first"),
            };
            assert_eq!(received(Role::Server, &outside.output(), false), ["before".into(), close]);
            assert!(outside.line().is_shut, "after {polls} polls");
            assert!(matches!(writer.feed("late"), Err(Error::Closed)));
            done || polls == 50
        })
        .await;
        assert!(points > 10, "{points} for as many bytes");
    }
}
