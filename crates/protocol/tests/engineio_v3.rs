//! Engine.IO protocol 3 on the wire: the bytes that clients of Socket.IO 1 and 2 read and write, and the defined
//! answers to bytes that are not a packet.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::borrow::Cow;

use proptest::prelude::*;
use switchboard_protocol::engineio::v3::{self, Encoding, TextDecoder, payload};
use switchboard_protocol::engineio::{DecodeError, Packet, jsonp};

fn binary(bytes: &[u8]) -> Packet<'_> {
    Packet::Binary(Cow::Borrowed(bytes))
}

fn decoded(body: &str) -> Result<Vec<Packet<'_>>, DecodeError> {
    payload::decode(body).collect()
}

fn decoded_binary(body: &[u8]) -> Result<Vec<Packet<'_>>, DecodeError> {
    payload::decode_binary(body).collect()
}

#[test]
fn base64_begins_with_b_and_the_type_of_a_message() {
    for (text, packet) in [
        ("b4AQID", binary(&[1, 2, 3])),
        ("b4", binary(b"")),
        // Base64 that begins with the type's own digit.
        ("b44A==", binary(&[0xe0])),
        ("4b4AQID", Packet::Message("b4AQID")),
        ("2probe", Packet::Ping("probe")),
    ] {
        assert_eq!(v3::decode_text(text).as_ref(), Ok(&packet), "{text}");
        let mut out = Vec::new();
        v3::encode_text(&packet, &mut out);
        assert_eq!(out, text.as_bytes());
    }
    for (text, error) in [
        ("", DecodeError::Empty),
        ("b", DecodeError::Empty),
        ("bAQID", DecodeError::UnknownType(b'A')),
        ("b2", DecodeError::UnknownType(b'2')),
        ("b4A*QID", DecodeError::Base64),
        ("bé", DecodeError::UnknownType(0xc3)),
        ("7", DecodeError::UnknownType(b'7')),
    ] {
        assert_eq!(v3::decode_text(text), Err(error), "{text}");
    }
}

#[test]
fn a_binary_packet_begins_with_the_byte_04() {
    assert_eq!(v3::decode_binary(&[4, 0, 0xff]), Ok(binary(&[0, 0xff])));
    assert_eq!(v3::decode_binary(&[4]), Ok(binary(b"")));
    assert_eq!(v3::decode_binary(&[]), Err(DecodeError::Empty));
    assert_eq!(v3::decode_binary(b"4"), Err(DecodeError::UnknownType(b'4')));
    assert_eq!(v3::decode_binary(&[2]), Err(DecodeError::UnknownType(2)));
    let mut out = Vec::new();
    v3::encode_binary(&[0, 0xff], &mut out);
    assert_eq!(out, [4, 0, 0xff]);
}

#[test]
fn a_length_counts_utf_16_units() {
    for (body, packets) in [
        ("6:4hello2:4€", vec![Packet::Message("hello"), Packet::Message("€")]),
        ("3:4😀1:6", vec![Packet::Message("😀"), Packet::Noop]),
        ("6:b4AQID1:2", vec![binary(&[1, 2, 3]), Packet::Ping("")]),
        ("10:4😀😀€é123", vec![Packet::Message("😀😀€é123")]),
        ("0:", vec![]),
        ("0:1:60:0:", vec![Packet::Noop]),
        ("06:2probe", vec![Packet::Ping("probe")]),
    ] {
        assert_eq!(decoded(body).as_ref(), Ok(&packets), "{body}");
    }
    let mut out = Vec::new();
    for packet in ["4hello", "4€", "4😀"] {
        payload::encode(packet.as_bytes(), &mut out);
    }
    assert_eq!(String::from_utf8(out).unwrap(), "6:4hello2:4€3:4😀");
}

#[test]
fn a_length_that_is_not_that_of_its_packet_is_an_error_and_the_end() {
    for body in [
        "4",
        ":",
        ":4",
        "x:4",
        "-1:4",
        "+1:4",
        " 1:4",
        "1.0:4",
        "2:4",
        "1:42",
        "99999999999999999999:4",
        "18446744073709551617:4",
        "00000000001:4",
        // The place lies within an emoji.
        "2:4😀",
        "4:4😀",
        "1:4\u{1e}1:4",
    ] {
        let packets: Vec<_> = payload::decode(body).collect();
        assert_eq!(packets.last(), Some(&Err(DecodeError::Length)), "{body}");
        assert!(packets.len() <= 2, "{body}");
    }
    assert_eq!(decoded(""), Err(DecodeError::Empty));
    let packets: Vec<_> = payload::decode("1:41:x1:4").collect();
    assert_eq!(packets, [Ok(Packet::Message("")), Err(DecodeError::UnknownType(b'x'))]);
}

#[test]
fn a_binary_payload_has_a_byte_for_each_digit_of_a_length() {
    let body = b"\x00\x06\xff4hello\x00\x01\x00\xff4\xe2\x82\xac234567\x01\x04\xff\x04\x01\x02\x03";
    assert_eq!(
        decoded_binary(body).unwrap(),
        [Packet::Message("hello"), Packet::Message("€234567"), binary(&[1, 2, 3])]
    );
}

#[test]
fn what_is_no_binary_payload_is_an_error_and_the_end() {
    for (body, error) in [
        (&b""[..], DecodeError::Empty),
        (b"\x00", DecodeError::Length),
        (b"\x00\xff", DecodeError::Length),
        (b"\x00\x01", DecodeError::Length),
        (b"\x00\x02\xff4", DecodeError::Length),
        (b"\x00\x0a\xff4", DecodeError::Length),
        (b"\x001\xff4", DecodeError::Length),
        (b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\xff4", DecodeError::Length),
        (b"\x00\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\xff4", DecodeError::Length),
        (b"\x02\x01\xff4", DecodeError::UnknownType(2)),
        (b"4hello", DecodeError::Length),
        (b"\x00\x00\xff", DecodeError::Empty),
        (b"\x00\x02\xff4\xe2", DecodeError::Utf8),
        (b"\x01\x01\xff4", DecodeError::UnknownType(b'4')),
    ] {
        let packets: Vec<_> = payload::decode_binary(body).collect();
        assert_eq!(packets, [Err(error)], "{body:?}");
    }
    let packets: Vec<_> = payload::decode_binary(b"\x00\x01\xff4\x09").collect();
    assert_eq!(packets, [Ok(Packet::Message("")), Err(DecodeError::Length)]);
}

/// A text as clients of Socket.IO 1.0 hand it to their transport.
fn twice(text: &str) -> String {
    text.bytes().map(char::from).collect()
}

#[test]
fn a_text_that_was_encoded_twice_is_told_from_a_plain_one() {
    let mut decoder = TextDecoder::default();
    assert_eq!(decoder.decode("ascii"), "ascii");
    assert_eq!(decoder.encoding(), Encoding::Unknown);
    assert_eq!(decoder.decode(&twice("é € 😀")), "é € 😀");
    assert_eq!(decoder.encoding(), Encoding::Twice);
    // Half of an emoji, as such clients write it.
    assert_eq!(decoder.decode("\u{ed}\u{a0}\u{bd} \u{c3}\u{a9}"), "\u{fffd}\u{fffd}\u{fffd} é");
    assert_eq!(decoder.encoding(), Encoding::Twice);
    // No byte, so no text that was encoded twice.
    assert_eq!(decoder.decode("€"), "€");
    assert_eq!(decoder.encoding(), Encoding::Plain);

    let mut decoder = TextDecoder::default();
    assert_eq!(decoder.decode("café"), "café");
    // What is known of a client stays.
    assert_eq!(decoder.decode(&twice("é")), twice("é"));
    assert_eq!(decoder.encoding(), Encoding::Plain);
}

#[test]
fn a_script_calls_the_clients_own_function_and_nothing_else() {
    for (index, head) in [
        ("0", "___eio[0]("),
        ("17", "___eio[17]("),
        ("", "___eio[]("),
        ("0](alert(1));x[1", "___eio[011]("),
        ("\u{661}<script>", "___eio[]("),
        ("123456789012345", "___eio[1234567890]("),
    ] {
        assert_eq!(jsonp::head(index), head, "{index}");
    }
}

#[test]
fn a_form_gives_its_payload_with_its_newlines() {
    for (body, data) in [
        ("d=1%3A6", Some("1:6")),
        ("d=", Some("")),
        ("x=1&d=a+b&d=c", Some("a b")),
        (r"d=a\nb", Some("a\nb")),
        (r"d=a\\nb", Some(r"a\nb")),
        (r"d=a\\\nb", Some(r"a\\nb")),
        (r"d=\\\\n\n\", Some(concat!(r"\\\n", "\n", r"\"))),
        ("D=1", None),
        ("", None),
    ] {
        assert_eq!(jsonp::decode_form(body.as_bytes()).as_deref(), data, "{body}");
    }
}

/// What the client does to a payload before it puts it into its form.
fn escape_newlines(data: &str) -> String {
    data.replace(r"\n", "\\\n").replace('\n', r"\n")
}

fn packet() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => any::<String>().prop_map(|text| format!("4{text}")),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| {
            let mut out = Vec::new();
            v3::encode_text(&Packet::Binary(bytes.into()), &mut out);
            String::from_utf8(out).unwrap()
        }),
        1 => Just("2probe".to_owned()),
        1 => Just("6".to_owned()),
    ]
}

#[test]
fn the_time_stamp_of_early_clients_is_two_numbers() {
    for (query, is_early) in [
        ("EIO=3&t=1400000000000-0&b64=1", true),
        ("t=1-2", true),
        ("t=Nxyz_-4", false),
        ("t=1400000000000", false),
        ("t=-1", false),
        ("t=1-", false),
        ("T=1-1&x=1-1", false),
        ("", false),
    ] {
        assert_eq!(v3::is_early(query), is_early, "{query}");
    }
}

proptest! {
    #[test]
    fn packets_survive_in_both_forms(packets in prop::collection::vec(packet(), 1..10)) {
        let (mut text, mut bytes) = (Vec::new(), Vec::new());
        for packet in &packets {
            payload::encode(packet.as_bytes(), &mut text);
            bytes.push(0);
            bytes.extend(packet.len().to_string().bytes().map(|digit| digit - b'0'));
            bytes.push(0xff);
            bytes.extend_from_slice(packet.as_bytes());
        }
        let text = String::from_utf8(text).unwrap();
        let expected: Vec<_> = packets.iter().map(|packet| v3::decode_text(packet).unwrap()).collect();
        prop_assert_eq!(decoded(&text).unwrap(), expected.clone());
        prop_assert_eq!(decoded_binary(&bytes).unwrap(), expected);
        let binary = payload::to_binary(text.as_bytes());
        prop_assert_eq!(decoded_binary(&binary).unwrap(), decoded(&text).unwrap());
        let texts: Vec<_> = payload::split(&text).collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(texts, packets);
    }

    #[test]
    fn each_step_reads_some_of_the_body(body in "[0-9:4b😀é]{0,30}") {
        let mut texts = payload::split(&body);
        let mut read = 0;
        while let Some(text) = texts.next() {
            prop_assert!(texts.read() > read || body.is_empty());
            read = texts.read();
            if text.is_err() {
                prop_assert!(texts.next().is_none());
                break;
            }
        }
        prop_assert_eq!(texts.read(), body.len());
    }

    #[test]
    fn no_body_panics_or_goes_on_for_ever(text in any::<String>(), bytes: Vec<u8>) {
        prop_assert!(payload::decode(&text).count() <= text.len() + 1);
        prop_assert!(payload::decode_binary(&bytes).count() <= bytes.len() + 1);
        let _ = jsonp::decode_form(&bytes);
        let _ = v3::decode_binary(&bytes);
        let _ = payload::to_binary(&bytes);
    }

    #[test]
    fn a_text_that_was_encoded_twice_is_decoded(texts in prop::collection::vec(any::<String>(), 1..5)) {
        let mut decoder = TextDecoder::default();
        for text in texts {
            let sent = twice(&text);
            prop_assert_eq!(decoder.decode(&sent), text);
        }
    }

    #[test]
    fn a_text_with_a_character_that_is_no_byte_is_plain(text in any::<String>(), beyond in prop::char::range('\u{100}', char::MAX)) {
        let text = format!("{text}{beyond}");
        let mut decoder = TextDecoder::default();
        prop_assert_eq!(decoder.decode(&text), text.as_str());
        prop_assert_eq!(decoder.encoding(), Encoding::Plain);
    }

    #[test]
    fn a_payload_survives_a_form(text in r"([\\n\n\r<&=%+]|\PC){0,40}") {
        // A newline behind a backslash comes as these two characters do: the client's own form is ambiguous there.
        prop_assume!(!text.contains("\\\n"));
        let sent = form_urlencoded::Serializer::new(String::new())
            .append_pair("d", &escape_newlines(&text))
            .finish();
        let received = jsonp::decode_form(sent.as_bytes());
        prop_assert_eq!(received.as_deref(), Some(text.as_str()));
    }
}
