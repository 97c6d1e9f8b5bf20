//! Many answers to one read: queued bytes are written in pieces while more are to come.

use switchboard_websocket::{Decoder, Limits, Message, Opcode, Role, encode_frame_masked};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::harness::{DEADLINE, Server, upgrade};

/// Messages of many lengths, around the sizes of pieces and buffers, at least 4 MiB in all. Each contains its
/// number.
fn messages() -> Vec<String> {
    let lengths =
        [0, 1, 125, 126, 1000, 4096, 16_384, 16_389, 31_000, 32_767, 32_768, 65_160, 65_536, 200_000];
    let of = |round: usize| {
        lengths.iter().enumerate().map(move |(at, len)| format!("{round}.{at} {}", "x".repeat(*len)))
    };
    (0..10).flat_map(of).collect()
}

#[tokio::test]
async fn answers_to_a_burst_of_messages_of_any_length_come_whole_and_in_order() {
    let server = Server::with(|_| {}).await;
    let mut client = server.send(upgrade("/ws")).await;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(DEADLINE, client.stream.read_u8()).await.expect("it answers").expect("in order"));
    }
    let messages = messages();
    let mut burst = Vec::new();
    for message in &messages {
        encode_frame_masked(&mut burst, Opcode::Text, message.as_bytes(), [1, 2, 3, 4]);
    }
    let (mut reader, mut writer) = client.stream.split();
    let sending =
        async { timeout(DEADLINE, writer.write_all(&burst)).await.expect("it reads").expect("in order") };
    let reading = async {
        let mut decoder = Decoder::new(Role::Client, Limits::default());
        let mut expected = messages.iter();
        let mut bytes = vec![0; 100_000];
        while expected.len() > 0 {
            let n = timeout(DEADLINE, reader.read(&mut bytes)).await.expect("it answers").expect("in order");
            assert_ne!(n, 0, "the connection is open");
            let mut at = 0;
            while let Some(message) = decoder.decode(&mut bytes[..n], &mut at).expect("frames") {
                assert!(
                    matches!(message, Message::Text(text) if Some(text) == expected.next().map(String::as_str))
                );
            }
        }
    };
    tokio::join!(sending, reading);
}
