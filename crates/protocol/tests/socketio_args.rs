//! Arguments: a list is read as types, and types are written as a list.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use switchboard_protocol::socketio::{
    Args, ArgsError, Binary, DEFAULT_MAX_DEPTH, Value, WriteError, event_name, from_args, from_args_within,
    validate, validate_within, write_args,
};

/// Reads the arguments of an event's payload.
fn read<'de, T: Deserialize<'de>>(data: &'de str) -> Result<T, ArgsError> {
    let (_, offset) = event_name(data).unwrap();
    from_args(data, offset, &[])
}

/// Reads the arguments of an event's payload with the attachments `one` and `two`.
fn read_binary<T: for<'de> Deserialize<'de>>(data: &str) -> Result<T, ArgsError> {
    let attachments = [Bytes::from_static(b"one"), Bytes::from_static(b"two")];
    let (_, offset) = event_name(data).unwrap();
    from_args(data, offset, &attachments)
}

/// The text of an event `e` with these arguments.
fn written<T: Serialize + ?Sized>(args: &T) -> (String, Vec<Bytes>) {
    let (mut out, mut attachments) = (Vec::new(), Vec::new());
    write_args(&mut out, &mut attachments, Some("e"), args).unwrap();
    (String::from_utf8(out).unwrap(), attachments)
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    x: i32,
    y: Option<i32>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Pair(i32, String);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Wrapped<T>(T);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Nothing;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Dot,
    Circle(u8),
    Line { to: u8 },
}

#[test]
fn a_tuple_is_the_list_and_anything_else_one_argument() {
    assert_eq!(read(r#"["e"]"#), Ok(()));
    assert_eq!(read(r#"["e",1,2]"#), Ok(()));
    assert_eq!(read(r#"["e",1,2]"#), Ok(Nothing));
    assert_eq!(read(r#"["e","a"]"#), Ok("a".to_owned()));
    assert_eq!(read(r#"["e","a"]"#), Ok(("a".to_owned(),)));
    assert_eq!(read(r#"["e",1,"b"]"#), Ok((1, "b".to_owned())));
    assert_eq!(read(r#"["e",1,"b"]"#), Ok(Pair(1, "b".to_owned())));
    assert_eq!(read(r#"["e",[1,2],3]"#), Ok(vec![1, 2]));
    assert_eq!(read(r#"["e",[1,2],3]"#), Ok(((1, 2), 3)));
    assert_eq!(read(r#"["e",1,2,3]"#), Ok([1, 2, 3]));
    assert_eq!(read(r#"["e",7]"#), Ok(Wrapped(7)));
    assert_eq!(read(r#"["e",7,8]"#), Ok(Wrapped((7, 8))));
    assert_eq!(read(r#"["e",{"x":1}]"#), Ok(Point { x: 1, y: None }));
    assert_eq!(read(r#"["e","Dot"]"#), Ok(Shape::Dot));
    assert_eq!(read(r#"["e",{"Circle":3}]"#), Ok(Shape::Circle(3)));
    assert_eq!(read(r#"["e",{"Line":{"to":3}}]"#), Ok(Shape::Line { to: 3 }));
    assert_eq!(read(r#"["e",{"1":"a"}]"#), Ok(BTreeMap::from([(1, "a".to_owned())])));
}

#[test]
fn types_are_written_as_they_are_read() {
    assert_eq!(written(&()).0, r#"["e"]"#);
    assert_eq!(written(&Nothing).0, r#"["e"]"#);
    assert_eq!(written("a").0, r#"["e","a"]"#);
    assert_eq!(written(&("a",)).0, r#"["e","a"]"#);
    assert_eq!(written(&(1, "b")).0, r#"["e",1,"b"]"#);
    assert_eq!(written(&Pair(1, "b".to_owned())).0, r#"["e",1,"b"]"#);
    assert_eq!(written(&vec![1, 2]).0, r#"["e",[1,2]]"#);
    assert_eq!(written(&Vec::<u8>::new()).0, r#"["e",[]]"#);
    assert_eq!(written(&((1, 2), 3)).0, r#"["e",[1,2],3]"#);
    assert_eq!(written(&((), vec![((),)])).0, r#"["e",null,[[null]]]"#);
    assert_eq!(written(&[1, 2, 3]).0, r#"["e",1,2,3]"#);
    assert_eq!(written(&[0_u8; 0]).0, r#"["e"]"#);
    assert_eq!(written(&Wrapped((7, 8))).0, r#"["e",7,8]"#);
    assert_eq!(written(&Some((7, 8))).0, r#"["e",[7,8]]"#);
    assert_eq!(written(&None::<u8>).0, r#"["e",null]"#);
    assert_eq!(written(&Point { x: 1, y: None }).0, r#"["e",{"x":1,"y":null}]"#);
    assert_eq!(written(&Shape::Line { to: 3 }).0, r#"["e",{"Line":{"to":3}}]"#);
    assert_eq!(written(&(f64::NAN, f32::INFINITY)).0, r#"["e",null,null]"#);
}

#[test]
fn an_acknowledgement_has_no_name() {
    let mut out = Vec::new();
    for (args, expected) in
        [(written_ack(&()), "[]"), (written_ack("a"), r#"["a"]"#), (written_ack(&("a", 1)), r#"["a",1]"#)]
    {
        assert_eq!(args, expected);
    }
    write_args(&mut out, &mut Vec::new(), None, &[0; 0]).unwrap();
    assert_eq!(out, b"[]");
    assert_eq!(from_args(r#"["a",1]"#, 0, &[]), Ok(("a", 1)));
    assert_eq!(from_args("[]", 0, &[]), Ok(()));
    assert_eq!(from_args("", 0, &[]), Ok(()));
    assert_eq!(from_args("", 0, &[]), Ok(None::<String>));
}

fn written_ack<T: Serialize + ?Sized>(args: &T) -> String {
    let mut out = Vec::new();
    write_args(&mut out, &mut Vec::new(), None, args).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_missing_argument_is_none_and_one_too_many_is_dropped() {
    assert_eq!(read(r#"["e",1]"#), Ok((1, None::<String>, None::<u8>)));
    assert_eq!(read(r#"["e"]"#), Ok(None::<String>));
    assert_eq!(read(r#"["e",null]"#), Ok(None::<String>));
    assert_eq!(read(r#"["e",1,2,3]"#), Ok((1,)));
    assert_eq!(read(r#"["e",1,{"a":[2]},"x"]"#), Ok(1));
    for data in [r#"["e"]"#, r#"["e",1]"#] {
        assert!(matches!(read::<(u8, u8)>(data), Err(ArgsError::Data(_))));
    }
    assert!(matches!(read::<String>(r#"["e"]"#), Err(ArgsError::Data(_))));
}

#[test]
fn malformed_json_is_a_syntax_error_for_each_type() {
    for data in [
        r#"["e""#,
        r#"["e","#,
        r#"["e",]"#,
        r#"["e",1"#,
        r#"["e",1,]"#,
        r#"["e",1 2]"#,
        r#"["e",1]]"#,
        r#"["e",1]x"#,
        r#"["e"1]"#,
        r#"["e",tru]"#,
        r#"["e",01]"#,
        r#"["e","a]"#,
        r#"["e",{"a":}]"#,
        "[\"e\",\"\u{1}\"]",
    ] {
        assert!(matches!(read::<()>(data), Err(ArgsError::Syntax(_))), "{data}");
        assert!(matches!(read::<u8>(data), Err(ArgsError::Syntax(_))), "{data}");
        assert!(matches!(read::<(bool, bool)>(data), Err(ArgsError::Syntax(_))), "{data}");
        assert!(matches!(read_binary::<u8>(data), Err(ArgsError::Syntax(_))), "{data}");
        assert!(matches!(validate(data, &[]), Err(ArgsError::Syntax(_))), "{data}");
    }
}

#[test]
fn strings_borrow_where_they_have_no_escapes() {
    assert_eq!(read::<&str>(r#"["e","a"]"#), Ok("a"));
    assert!(matches!(read::<&str>(r#"["e","\n"]"#), Err(ArgsError::Data(_))));
    let attachments = [Bytes::from_static(b"x")];
    let data = r#"["a",{"_placeholder":true,"num":0}]"#;
    assert_eq!(from_args::<(&str, &[u8])>(data, 0, &attachments), Ok(("a", &b"x"[..])));
}

#[test]
fn an_attachment_is_shared_and_not_copied() {
    let attachments = [Bytes::from(vec![7; 1000])];
    let data = r#"[{"a":[{"_placeholder":true,"num":0}]}]"#;
    let read: BTreeMap<String, Vec<Binary>> = from_args(data, 0, &attachments).unwrap();
    assert_eq!(read["a"][0].as_ptr(), attachments[0].as_ptr());
    let (text, written) = written(&read);
    assert_eq!(text, r#"["e",{"a":[{"_placeholder":true,"num":0}]}]"#);
    assert_eq!(written[0].as_ptr(), attachments[0].as_ptr());
}

#[test]
fn nothing_stays_written_after_an_error() {
    let mut out = b"before".to_vec();
    let mut attachments = vec![Bytes::new()];
    let bad = (Binary::from(vec![1]), BTreeMap::from([((1, 2), 3)]));
    let error = write_args(&mut out, &mut attachments, Some("e"), &bad);
    assert!(matches!(error, Err(WriteError::Serialize(_))));
    let error = write_args(&mut out, &mut attachments, Some("disconnect"), &1);
    assert!(matches!(error, Err(WriteError::ReservedEvent(name)) if name == "disconnect"));
    assert_eq!((out.as_slice(), attachments.len()), (&b"before"[..], 1));
}

#[test]
fn nesting_is_bounded_for_each_reader() {
    fn nested(levels: usize, open: &str, inner: &str, close: &str) -> String {
        format!(r#"["e",{}{inner}{}]"#, open.repeat(levels), close.repeat(levels))
    }
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        for levels in [127, 128, DEFAULT_MAX_DEPTH] {
            let fits = nested(levels, open, r#""[[{{\"[[""#, close);
            assert!(read::<Value>(&fits).is_ok());
            assert!(read::<serde_json::Value>(&fits).is_ok());
            assert!(read_binary::<Value>(&fits).is_ok());
            assert!(matches!(read::<u8>(&fits), Err(ArgsError::Data(_))));
            assert_eq!(read::<()>(&fits), Ok(()));
            assert_eq!(validate(&fits, &[]), Ok(()));
            let args = Args::parse(&fits, 4, Vec::new()).unwrap();
            assert_eq!(args.values().unwrap().len(), 1);
            assert_eq!(written(&args).0, fits);
        }
        for levels in [DEFAULT_MAX_DEPTH + 1, DEFAULT_MAX_DEPTH + 2, 5000, 100_000] {
            let deep = nested(levels, open, "0", close);
            for result in [
                read::<Value>(&deep).map(|_| ()),
                read::<u8>(&deep).map(|_| ()),
                read_binary::<Value>(&deep).map(|_| ()),
                validate(&deep, &[]),
                Args::parse(&deep, 4, Vec::new()).map(|_| ()),
            ] {
                assert!(matches!(result, Err(ArgsError::Syntax(_))), "{levels}");
            }
        }
    }
}

#[test]
fn the_bound_on_nesting_is_the_callers() {
    let nested = |levels: usize| format!(r#"["e",{}1{}]"#, "[".repeat(levels), "]".repeat(levels));
    for limit in [0, 1, 126, 127, 128, 700] {
        let (fits, deep) = (nested(limit), nested(limit + 1));
        assert!(from_args_within::<Value>(&fits, 4, &[], limit).is_ok(), "{limit}");
        assert_eq!(validate_within(&fits, &[], limit), Ok(()), "{limit}");
        assert!(Args::parse_within(&fits, 4, Vec::new(), limit).is_ok(), "{limit}");
        assert!(matches!(from_args_within::<Value>(&deep, 4, &[], limit), Err(ArgsError::Syntax(_))));
        let attachments = [Bytes::new()];
        let read = from_args_within::<Value>(&deep, 4, &attachments, limit);
        assert!(matches!(read, Err(ArgsError::Syntax(_))), "{limit}");
        assert!(matches!(validate_within(&deep, &[], limit), Err(ArgsError::Syntax(_))), "{limit}");
        assert!(matches!(Args::parse_within(&deep, 4, Vec::new(), limit), Err(ArgsError::Syntax(_))));
    }
}

#[test]
fn a_value_that_rust_cannot_hold_is_no_syntax_error() {
    for data in [r#"["e","\ud800"]"#, r#"["e",1e999]"#] {
        assert!(matches!(read::<Value>(data), Err(ArgsError::Data(_))), "{data}");
        assert!(matches!(read_binary::<Value>(data), Err(ArgsError::Data(_))), "{data}");
        assert_eq!(read::<()>(data), Ok(()));
        assert_eq!(validate(data, &[]), Ok(()));
        assert!(Args::parse(data, 4, Vec::new()).is_ok());
    }
}

#[test]
fn raw_json_is_read_and_written_untouched() {
    let raw: &RawValue = read(r#"["e",{"a": 1.00}]"#).unwrap();
    assert_eq!(raw.get(), r#"{"a": 1.00}"#);
    assert_eq!(written(raw).0, r#"["e",{"a": 1.00}]"#);
    let (number, raw): (u8, &RawValue) = read(r#"["e",1, [ ] ]"#).unwrap();
    assert_eq!((number, raw.get()), (1, "[ ]"));
    assert_eq!(written(&(number, raw)).0, r#"["e",1,[ ]]"#);
}
