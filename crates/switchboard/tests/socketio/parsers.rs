//! Parsers other than the default one: MessagePack, and parsers of the user's own.

use std::time::Duration;

use bytes::Bytes;
use switchboard::parser::{Decoder, PacketLimits, PacketType, Parser, ParserError, WholePacket};
use switchboard::{
    Auth, Binary, Data, DisconnectReason, Error, Message, MsgPack, Socket, Switchboard, Value,
};
use switchboard_protocol::socketio::msgpack::{MsgPackLimits, decode, encode};

use crate::harness::{Client, Polling, Server, log};

fn whole(kind: PacketType, namespace: &str, id: Option<u64>, data: &str) -> WholePacket<'static> {
    let (namespace, data) = (namespace.to_owned().into(), data.to_owned().into());
    WholePacket { kind, namespace, id, data, attachments: [].as_slice().into() }
}

fn packed(packet: &WholePacket<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    encode(packet, &mut out).expect("it is JSON");
    out
}

async fn unpacked(client: &mut Client) -> WholePacket<'static> {
    decode(&client.binary().await, &MsgPackLimits::default()).expect("a packet")
}

/// Joins a namespace with MessagePack.
async fn join(client: &mut Client, namespace: &str, auth: &str) {
    client.send_binary(&packed(&whole(PacketType::Connect, namespace, None, auth))).await;
    let reply = unpacked(client).await;
    assert_eq!((reply.kind, &*reply.namespace), (PacketType::Connect, namespace));
    assert!(reply.data.starts_with(r#"{"sid":""#), "{}", reply.data);
}

fn set_up(io: &Switchboard) {
    let root = io.root();
    root.on("echo", |Data((name, bytes)): Data<(String, Binary)>| (name, bytes));
    root.on("all", |socket: Socket, Data(value): Data<Value>| socket.namespace().emit("said", value));
    root.on("leave", |socket: Socket| socket.disconnect(false));
    let closed = io.of("/closed");
    closed.middleware(|_: Socket, Auth(_): Auth<Value>| -> switchboard::Result {
        Err(Error::new("closed").with_data([1, 2]))
    });
}

#[tokio::test]
async fn with_msgpack_each_packet_is_one_binary_message_with_its_binary_data_in_it() {
    let server = Server::start(Switchboard::builder().workers(2).parser(MsgPack::default()), set_up).await;
    let mut client = server.open().await;
    join(&mut client, "/", r#"{"token":1}"#).await;
    let mut echo = whole(PacketType::Event, "/", Some(7), r#"["echo","a",{"_placeholder":true,"num":0}]"#);
    echo.attachments = vec![Bytes::from_static(b"\0\xff")].into();
    client.send_binary(&packed(&echo)).await;
    let ack = unpacked(&mut client).await;
    assert_eq!(
        (ack.kind, ack.id, &*ack.data),
        (PacketType::Ack, Some(7), r#"["a",{"_placeholder":true,"num":0}]"#)
    );
    assert_eq!(*ack.attachments, *echo.attachments);
    // A broadcast, to clients of both transports.
    let poller = Polling::open(&server).await;
    poller.post(&base64(&packed(&whole(PacketType::Connect, "/", None, "")))).await;
    assert_eq!(poller.get().await.len(), 1);
    client.send_binary(&packed(&whole(PacketType::Event, "/", None, r#"["all",{"a":[1.5,null]}]"#))).await;
    let said = whole(PacketType::Event, "/", None, r#"["said",{"a":[1.5,null]}]"#);
    assert_eq!(unpacked(&mut client).await, said);
    assert_eq!(poller.get().await, [base64(&packed(&said))]);
    // A namespace that refuses, and the end of a socket.
    client.send_binary(&packed(&whole(PacketType::Connect, "/closed", None, "{}"))).await;
    let refused = whole(PacketType::ConnectError, "/closed", None, r#"{"message":"closed","data":[1,2]}"#);
    assert_eq!(unpacked(&mut client).await, refused);
    client.send_binary(&packed(&whole(PacketType::Event, "/", None, r#"["leave"]"#))).await;
    assert_eq!(unpacked(&mut client).await, whole(PacketType::Disconnect, "/", None, ""));
}

#[tokio::test]
async fn one_server_has_clients_of_each_parser_in_its_rooms_at_paths_of_their_own() {
    for workers in [1, 4] {
        let server = Server::workers(workers, |io| {
            set_up(io);
            io.parser_at("/packed", MsgPack::default()).expect("the path is free");
            io.parser_at("parts/", Parts::default()).expect("the path is free");
        })
        .await;
        let mut text = server.client().await;
        let mut packed_one = server.open_path("/packed/?EIO=4&transport=websocket").await;
        join(&mut packed_one, "/", "").await;
        let mut parts = server.open_path("/parts/?EIO=4&transport=websocket").await;
        parts.send("40|/||").await;
        parts.send_binary(b"").await;
        parts.text().await;
        parts.binary().await;
        text.send(r#"42["all",[1]]"#).await;
        text.expect(r#"42["said",[1]]"#).await;
        assert_eq!(unpacked(&mut packed_one).await.data, r#"["said",[1]]"#);
        parts.expect(r#"42|/||["said",[1]]"#).await;
    }
}

/// A binary packet in a payload of polling.
fn base64(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    switchboard_protocol::engineio::Packet::Binary(bytes.into()).encode_text(&mut out);
    String::from_utf8(out).expect("base64 is text")
}

#[tokio::test]
async fn what_is_no_packet_of_msgpack_closes_the_session_with_parse_error() {
    let deep = [&b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa1e"[..], &b"\x91".repeat(5), b"\x01"].concat();
    let many = b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x94\xa1e\xc4\x00\xc4\x00\xc4\x00";
    let reserved = packed(&whole(PacketType::Event, "/", None, r#"["disconnect"]"#));
    let nameless = packed(&whole(PacketType::Event, "/", None, "[{}]"));
    for message in [&b""[..], b"\xc1", b"\x80", &deep, many, &reserved, &nameless] {
        let (said, mut told) = log();
        let parser = MsgPack::default().max_binary_values(2);
        let builder = Switchboard::builder().workers(1).max_depth(4).parser(parser);
        let server = Server::start(builder, |io| {
            io.root().on_disconnect(move |reason: DisconnectReason| said.say(reason.as_str()));
        })
        .await;
        let mut client = server.open().await;
        join(&mut client, "/", "").await;
        client.send_binary(message).await;
        assert_eq!(client.ended().await, Vec::<String>::new());
        assert_eq!(told.next().await, "parse error", "{message:?}");
        // Text is no packet, either.
        let mut client = server.open().await;
        join(&mut client, "/", "").await;
        client.send(r#"42["e"]"#).await;
        assert_eq!(client.ended().await, Vec::<String>::new());
        assert_eq!(told.next().await, "parse error");
    }
}

/// A packet is text, and then a message for each attachment, the last of which is empty. It panics at the
/// event `panic`.
#[derive(Default)]
struct Parts {
    waiting: Option<WholePacket<'static>>,
}

impl Parser for Parts {
    fn encode(&self, packet: &WholePacket<'_>, send: &mut dyn FnMut(Message<'_>)) {
        assert!(!packet.data.contains("panic"), "on purpose");
        let id = packet.id.map(|id| id.to_string()).unwrap_or_default();
        send(Message::Text(&format!("{}|{}|{id}|{}", packet.kind as u8, packet.namespace, packet.data)));
        packet.attachments.iter().for_each(|bytes| send(Message::Binary(bytes)));
        send(Message::Binary(&[]));
    }

    fn decoder(&self, _limits: &PacketLimits) -> Box<dyn Decoder> {
        Box::new(Self::default())
    }
}

impl Decoder for Parts {
    fn decode<'a>(&mut self, message: Message<'a>) -> Result<Option<WholePacket<'a>>, ParserError> {
        match (message, &mut self.waiting) {
            (Message::Text(text), None) => {
                let parts: Vec<_> = text.splitn(4, '|').collect();
                let [kind, namespace, id, data] = parts[..] else { return Err("not four parts".into()) };
                assert!(!data.contains("panic"), "on purpose");
                let kind = match kind {
                    "0" => PacketType::Connect,
                    "2" => PacketType::Event,
                    "3" => PacketType::Ack,
                    _ => PacketType::Disconnect,
                };
                self.waiting = Some(whole(kind, namespace, id.parse().ok(), data));
                Ok(None)
            }
            (Message::Binary([]), waiting) => waiting.take().map(Some).ok_or("nothing waits".into()),
            (Message::Binary(bytes), Some(packet)) => {
                packet.attachments.to_mut().push(Bytes::copy_from_slice(bytes));
                Ok(None)
            }
            _ => Err("out of place".into()),
        }
    }
}

/// A client of `Parts` in namespace `/`.
async fn parts_client(server: &Server) -> Client {
    let mut client = server.open().await;
    client.send("40|/||").await;
    client.send_binary(b"").await;
    assert!(client.text().await.starts_with(r#"40|/||{"sid":"#));
    assert_eq!(client.binary().await, b"");
    client
}

#[tokio::test]
async fn a_parser_of_ones_own_writes_a_packet_as_several_messages_and_reads_them() {
    let server = Server::start(Switchboard::builder().workers(2).parser(Parts::default()), set_up).await;
    let mut client = parts_client(&server).await;
    let other = &mut parts_client(&server).await;
    client.send(r#"42|/|1|["echo","a",{"_placeholder":true,"num":0}]"#).await;
    client.send_binary(b"bytes").await;
    client.send_binary(b"").await;
    client.expect(r#"43|/|1|["a",{"_placeholder":true,"num":0}]"#).await;
    assert_eq!((client.binary().await, client.binary().await), (b"bytes".to_vec(), Vec::new()));
    client.send(r#"42|/||["all",1]"#).await;
    client.send_binary(b"").await;
    for client in [&mut client, other] {
        client.expect(r#"42|/||["said",1]"#).await;
        assert_eq!(client.binary().await, b"");
    }
}

#[tokio::test]
async fn the_messages_of_a_packet_have_the_time_of_a_message_to_follow_one_another() {
    let (said, mut told) = log();
    let time = Some(Duration::from_millis(50));
    let builder = Switchboard::builder().workers(1).parser(Parts::default()).message_timeout(time);
    let server = Server::start(builder, |io| {
        io.root().on_disconnect(move |reason: DisconnectReason| said.say(reason.as_str()));
    })
    .await;
    let mut client = parts_client(&server).await;
    client.send("42|/||[\"e\"]").await;
    assert_eq!(client.ended().await, Vec::<String>::new());
    assert_eq!(told.next().await, "parse error");
}

#[tokio::test]
async fn a_parser_that_panics_or_breaks_the_protocol_closes_the_session_of_that_client_alone() {
    let (said, mut told) = log();
    let server = Server::start(Switchboard::builder().workers(1).parser(Parts::default()), |io| {
        set_up(io);
        io.root().on_disconnect(move |reason: DisconnectReason| said.say(reason.as_str()));
    })
    .await;
    let mut bystander = parts_client(&server).await;
    // A panic, an error, a type that does not take the payload, JSON that is none.
    for packet in [r#"42|/||["panic"]"#, "4nonsense", "42|/||{}", "41|/||[]", r#"42|/|1|["echo",}"#] {
        let mut client = parts_client(&server).await;
        client.send(packet).await;
        client.send_binary(b"").await;
        assert_eq!(client.ended().await, Vec::<String>::new(), "{packet}");
        assert_eq!(told.next().await, "parse error", "{packet}");
    }
    // A packet that it does not write is not sent, and the next one is.
    bystander.send(r#"42|/||["all","pa\u006eic"]"#).await;
    bystander.send_binary(b"").await;
    bystander.send(r#"42|/||["all","calm"]"#).await;
    bystander.send_binary(b"").await;
    bystander.expect(r#"42|/||["said","calm"]"#).await;
}
