//! Attachments: how a binary packet is assembled, and which placeholders are allowed. The expected results
//! are those of socket.io-parser 4.2.7, unless a comment says otherwise.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use switchboard_protocol::socketio::PacketType::{Ack, Event};
use switchboard_protocol::socketio::{
    Args, ArgsError, AssembleError, Assembler, Binary, Limits, Packet, Started, Value, decode, event_name,
    from_args, validate, write_args, write_packet,
};

const ONE: Bytes = Bytes::from_static(b"one");
const TWO: Bytes = Bytes::from_static(b"two");

fn packet(text: &str) -> Packet<'_> {
    decode(text, &Limits::default()).unwrap()
}

/// Reads the arguments of an event `e` with attachments `one` and `two`.
fn read<T: for<'de> Deserialize<'de>>(args: &str) -> Result<T, ArgsError> {
    let data = format!(r#"["e",{args}]"#);
    let (_, offset) = event_name(&data).unwrap();
    from_args(&data, offset, &[ONE, TWO])
}

fn placeholder(num: usize) -> String {
    format!(r#"{{"_placeholder":true,"num":{num}}}"#)
}

fn written<T: Serialize + ?Sized>(args: &T) -> (String, Vec<Bytes>) {
    let (mut out, mut attachments) = (Vec::new(), Vec::new());
    write_args(&mut out, &mut attachments, Some("e"), args).unwrap();
    (String::from_utf8(out).unwrap(), attachments)
}

#[test]
fn a_packet_is_complete_with_its_last_attachment() {
    let limits = Limits::default();
    let mut assembler = Assembler::new();
    let start = packet(r#"52-/a,3["e"]"#);
    assert_eq!(assembler.start(&start), Ok(Started::Waiting));
    assert!(assembler.is_waiting());
    assert_eq!(assembler.push(ONE, &limits), Ok(None));
    let whole = assembler.push(TWO, &limits).unwrap().unwrap();
    assert_eq!(whole.packet.as_packet(), start);
    assert_eq!(whole.attachments, [ONE, TWO]);
    assert!(!assembler.is_waiting());
    assert_eq!(assembler.push(ONE, &limits), Err(AssembleError::NotAwaited));
}

#[test]
fn a_packet_without_attachments_does_not_touch_the_next_one() {
    let mut assembler = Assembler::new();
    for text in [r#"2["e"]"#, "31[]", "0"] {
        assert_eq!(assembler.start(&packet(text)), Ok(Started::Complete));
        assert!(!assembler.is_waiting());
    }
}

#[test]
fn a_packet_may_not_interrupt_another() {
    for text in [r#"2["e"]"#, r#"51-["e"]"#, "1"] {
        let mut assembler = Assembler::new();
        assembler.start(&packet(r#"51-["e"]"#)).unwrap();
        let error = assembler.start(&packet(text));
        assert_eq!(error, Err(AssembleError::Interrupted));
    }
}

#[test]
fn a_binary_message_nobody_announced_is_an_error() {
    let error = Assembler::new().push(ONE, &Limits::default());
    assert_eq!(error, Err(AssembleError::NotAwaited));
}

#[test]
fn the_bytes_of_all_attachments_are_bounded_together() {
    let limits = Limits { max_attachment_bytes: 5, ..Limits::default() };
    let mut assembler = Assembler::new();
    assembler.start(&packet(r#"52-["e"]"#)).unwrap();
    assert_eq!(assembler.push(ONE, &limits), Ok(None));
    let error = AssembleError::TooLarge { got: 6, limit: 5 };
    assert_eq!(assembler.push(TWO, &limits), Err(error));
    assert!(!assembler.is_waiting());
}

#[test]
fn between_packets_an_assembler_is_a_pointer() {
    assert_eq!(size_of::<Assembler>(), size_of::<usize>());
}

#[test]
fn placeholders_may_be_out_of_order_repeated_and_deep() {
    let (zero, one) = (placeholder(0), placeholder(1));
    assert_eq!(read(&format!("{one},{zero}")), Ok((Binary(TWO), Binary(ONE))));
    assert_eq!(read(&format!("{zero},{zero}")), Ok((Binary(ONE), Binary(ONE))));
    assert_eq!(
        read(&format!(r#"{{"a":[1,{one}],"b":{zero}}}"#)),
        Ok(Value::from_iter([
            ("a", Value::from(vec![Value::from(1), Value::from(TWO)])),
            ("b", Value::from(ONE)),
        ]))
    );
    assert_eq!(read(r#"{"num":0,"x":1,"_placeholder":true}"#), Ok(Binary(ONE)));
    assert_eq!(read(r#""none""#), Ok("none".to_owned()));
}

#[test]
fn an_object_whose_placeholder_is_not_true_is_an_object() {
    for object in [
        r#"{"_placeholder":false,"num":0}"#,
        r#"{"_placeholder":1,"num":0}"#,
        r#"{"_placeholder":"true","num":7}"#,
        r#"{"_placeholder":true,"_placeholder":null,"num":7}"#,
    ] {
        assert!(read::<Value>(object).unwrap().as_object().is_some(), "{object}");
    }
}

#[test]
fn a_placeholder_that_points_nowhere_is_an_error_for_each_reader() {
    for object in [
        r#"{"_placeholder":true,"num":2}"#,
        r#"{"_placeholder":true,"num":18446744073709551616}"#,
        r#"{"_placeholder":true,"num":-1}"#,
        r#"{"_placeholder":true,"num":"0"}"#,
        r#"{"_placeholder":true,"num":null}"#,
        r#"{"_placeholder":true,"num":[0]}"#,
        r#"{"_placeholder":true}"#,
        // Node reads this as `undefined`.
        r#"{"_placeholder":true,"num":0.5}"#,
    ] {
        let data = format!(r#"["e",1,{{"deep":[{object}]}}]"#);
        let attachments = [ONE, TWO];
        for result in [
            from_args::<()>(&data, 4, &attachments),
            from_args::<(u8,)>(&data, 4, &attachments).map(|_| ()),
            from_args::<(u8, Value)>(&data, 4, &attachments).map(|_| ()),
            validate(&data, &attachments),
            Args::parse(&data, 4, attachments.to_vec()).map(|_| ()),
        ] {
            assert!(matches!(result, Err(ArgsError::Attachment(_))), "{data} {result:?}");
        }
    }
}

#[test]
fn malformed_json_after_a_bad_placeholder_is_still_malformed_json() {
    let data = r#"["e",{"_placeholder":true,"num":2},[/]]"#;
    let result = from_args::<Value>(data, 4, &[ONE, TWO]);
    assert!(matches!(result, Err(ArgsError::Syntax(_))));
}

#[test]
fn without_attachments_a_placeholder_is_an_object_like_any_other() {
    let data = format!(r#"["e",{}]"#, placeholder(0));
    let value: Value = from_args(&data, 4, &[]).unwrap();
    assert_eq!(value.get("num").and_then(Value::as_u64), Some(0));
    let binary = from_args::<Binary>(&data, 4, &[]);
    assert!(matches!(binary, Err(ArgsError::Data(_))));
}

#[test]
fn an_attachment_fits_bytes_alone() {
    #[derive(Debug, Deserialize)]
    struct Text {
        #[serde(rename = "t")]
        _t: String,
    }
    #[derive(Debug, Deserialize)]
    enum Kind {
        A,
    }
    let zero = placeholder(0);
    let errors = [
        read::<String>(&zero).err(),
        read::<u8>(&zero).err(),
        read::<bool>(&zero).err(),
        read::<Vec<u8>>(&zero).err(),
        read::<(char,)>(&zero).err(),
        read::<Option<f64>>(&zero).err(),
        read::<std::collections::BTreeMap<String, Value>>(&zero).err(),
        read::<Vec<((), String)>>(&format!("[[null,{zero}]]")).err(),
        read::<Text>(&zero).err(),
        read::<Text>(&format!(r#"{{"t":{zero}}}"#)).err(),
        read::<Kind>(&zero).map(|Kind::A| ()).err(),
    ];
    for error in errors {
        assert!(matches!(error, Some(ArgsError::Attachment(_))), "{error:?}");
    }
}

#[test]
fn bytes_are_an_attachment_alone() {
    for args in [r#""text""#, "[1,2]", "1", "null"] {
        assert!(matches!(read::<Binary>(args), Err(ArgsError::Data(_))), "{args}");
        let data = format!("[{args}]");
        let plain = from_args::<Binary>(&data, 0, &[]);
        assert!(matches!(plain, Err(ArgsError::Data(_))), "{args}");
    }
    assert_eq!(read("null"), Ok(None::<Binary>));
}

#[test]
fn other_types_of_bytes_work_too() {
    let zero = placeholder(0);
    assert_eq!(read(&zero), Ok(serde_bytes::ByteBuf::from(b"one")));
    assert_eq!(written(&serde_bytes::Bytes::new(b"one")), (format!(r#"["e",{zero}]"#), vec![ONE]));
}

#[test]
fn structures_serde_buffers_find_their_attachments() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "type", rename_all = "lowercase")]
    enum Upload {
        Image { data: Binary, alt: Option<String> },
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Either {
        // This variant is first, because serde accepts buffered UTF-8 bytes as a string.
        Data(Binary),
        Text(String),
    }
    let zero = placeholder(0);
    assert_eq!(
        read(&format!(r#"{{"type":"image","data":{zero}}}"#)),
        Ok(Upload::Image { data: Binary(ONE), alt: None })
    );
    assert_eq!(read(&zero), Ok(Either::Data(Binary(ONE))));
    assert_eq!(read(r#""x""#), Ok(Either::Text("x".to_owned())));
}

#[test]
fn bytes_are_written_as_numbered_placeholders() {
    let (zero, one) = (placeholder(0), placeholder(1));
    assert_eq!(written(&Binary(ONE)), (format!(r#"["e",{zero}]"#), vec![ONE]));
    let value = Value::from_iter([(
        "b",
        Value::from(vec![Value::from(ONE), Value::from(2), Value::from_iter([("c", Value::from(TWO))])]),
    )]);
    assert_eq!(written(&value), (format!(r#"["e",{{"b":[{zero},2,{{"c":{one}}}]}}]"#), vec![ONE, TWO]));
}

#[test]
fn a_packet_is_binary_if_its_arguments_are() {
    let (mut out, mut attachments) = (b"4".to_vec(), vec![TWO]);
    let mut write = |kind, namespace, ack, event, args: &(Option<Binary>, u8)| {
        out.truncate(1);
        attachments.truncate(1);
        let result = write_packet(&mut out, &mut attachments, kind, namespace, ack, event, args);
        let text = String::from_utf8(out.clone()).unwrap();
        (result.is_ok(), text, attachments.len() - 1)
    };
    let (plain, binary) = ((None, 1), (Some(Binary(ONE)), 1));
    let blob = placeholder(0);
    for (kind, namespace, ack, event, args, text, attached) in [
        (Event, "/", None, Some("e"), &plain, r#"42["e",null,1]"#.to_owned(), 0),
        (Event, "/a", Some(7), Some("e"), &plain, r#"42/a,7["e",null,1]"#.to_owned(), 0),
        (Ack, "/", Some(7), None, &plain, "437[null,1]".to_owned(), 0),
        (Event, "/", None, Some("e"), &binary, format!(r#"451-["e",{blob},1]"#), 1),
        (Ack, "/a", Some(7), None, &binary, format!("461-/a,7[{blob},1]"), 1),
    ] {
        assert_eq!(write(kind, namespace, ack, event, args), (true, text, attached));
    }
    let refused = write(Event, "/a", None, Some("connect"), &binary);
    assert_eq!(refused, (false, "4".to_owned(), 0));
}

#[test]
fn args_without_attachments_pass_as_they_are() {
    for (data, expected) in [
        (r#"["x"]"#, r#"["e"]"#),
        (r#"["x" ]"#, r#"["e"]"#),
        (r#"["x",1]"#, r#"["e",1]"#),
        (r#" [ "x" , 1.00 , "\u0041\ud800" ] "#, r#"["e",1.00 , "\u0041\ud800"]"#),
        (r#"["x",{"b":1,"a":2}]"#, r#"["e",{"b":1,"a":2}]"#),
    ] {
        let (_, offset) = event_name(data).unwrap();
        let args = Args::parse(data, offset, Vec::new()).unwrap();
        assert_eq!(written(&args), (expected.to_owned(), Vec::new()));
    }
    assert_eq!(written(&Args::default()).0, r#"["e"]"#);
    let ack = Args::parse(r#"["x",1]"#, 0, Vec::new()).unwrap();
    assert_eq!(written(&ack).0, r#"["e","x",1]"#);
    assert_eq!(written(&Args::parse("", 0, Vec::new()).unwrap()).0, r#"["e"]"#);
}

#[test]
fn args_with_attachments_are_numbered_anew() {
    let (zero, one) = (placeholder(0), placeholder(1));
    let data = format!(r#"["x",{one},"a",[{zero}]]"#);
    let args = Args::parse(&data, 4, vec![ONE, TWO]).unwrap();
    assert_eq!(written(&args), (format!(r#"["e",{zero},"a",[{one}]]"#), vec![TWO, ONE]));
    assert_eq!(args.get(), Ok((Binary(TWO), "a", vec![Binary(ONE)])));
}

#[test]
fn args_within_a_value_are_an_array() {
    let args = Args::of(&("a", 1)).unwrap();
    assert_eq!(args.as_json(), r#"["a",1]"#);
    assert_eq!(written(&(2, &args)).0, r#"["e",2,["a",1]]"#);
    assert_eq!(written(&vec![&args]).0, r#"["e",[["a",1]]]"#);
    let args = Args::of(&Binary(ONE)).unwrap();
    assert_eq!(written(&(Binary(TWO), &args)).1, [TWO, ONE]);
}

#[test]
fn args_know_their_types() {
    assert!(Args::default().is_empty());
    assert!(!Args::of("a").unwrap().is_empty());
    let args = Args::of(&("a", Binary(ONE))).unwrap();
    assert_eq!(args.attachments(), [ONE]);
    assert_eq!(args.values(), Ok(vec![Value::from("a"), Value::from(ONE)]));
    assert_eq!(Args::parse("[", 0, Vec::new()).ok(), None);
}

#[test]
fn values_are_read_as_types() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Fields<'a> {
        a: (u8, u8),
        #[serde(borrow)]
        b: &'a [u8],
    }
    let value = Value::from_iter([("a", Value::from(vec![1, 2])), ("b", Value::from(ONE))]);
    assert_eq!(value.read(), Ok(Fields { a: (1, 2), b: b"one" }));
    assert!(matches!(value.read::<u8>(), Err(ArgsError::Data(_))));
    assert_eq!(value.get("a").and_then(|a| a.at(1)).and_then(Value::as_i64), Some(2));
}

#[test]
fn bytes_in_any_form_are_the_same_attachment() {
    let right = Binary(Bytes::from_static(b"\x01\x02\x03"));
    for binary in [
        Binary::from([1, 2, 3]),
        Binary::from(b"\x01\x02\x03"),
        Binary::from(&b"\x01\x02\x03"[..]),
        Binary::from(vec![1, 2, 3]),
        Binary::from(Bytes::from_static(b"\x01\x02\x03")),
    ] {
        assert_eq!(binary, right);
    }
    assert_eq!(Binary::from([]), Binary::from(Vec::new()));
}
