//! Socket.IO 0.6: frames, and the scripts and parts that they go in.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use bytes::Bytes;
use proptest::prelude::*;
use switchboard_protocol::socketio06::{
    HTMLFILE_HEAD, Message, NotAFrame, decode, event_json, write_event, write_frame, write_heartbeat,
    write_jsonp, write_part, write_script,
};

fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

fn event(json: &str, attachments: &[Bytes]) -> String {
    written(|out| assert!(write_event(out, json, attachments), "{json}"))
}

#[test]
fn frames_stand_one_after_another_and_count_utf16() {
    let text = "~m~5~m~hello~m~0~m~~m~3~m~\u{1f600}\u{e9}~m~10~m~~j~{\"a\":1}~m~5~m~~h~12";
    let frames: Result<Vec<_>, _> = decode(text).collect();
    let expected = vec![
        Message::Text("hello"),
        Message::Text(""),
        Message::Text("\u{1f600}\u{e9}"),
        Message::Json("{\"a\":1}"),
        Message::Heartbeat("12"),
    ];
    assert_eq!(frames, Ok(expected));
    assert_eq!(decode("").count(), 0);
    assert_eq!(written(|out| write_frame(out, "\u{1f600}\u{e9}")), "~m~3~m~\u{1f600}\u{e9}");
    assert_eq!(written(|out| write_heartbeat(out, 12)), "~m~5~m~~h~12");
}

#[test]
fn what_is_no_frame_is_refused() {
    for text in [
        "hello",
        "~m~",
        "~m~5",
        "~m~5~m~",
        "~m~5~m~hell",
        "~m~~m~",
        "~m~-1~m~",
        "~m~+1~m~a",
        "~m~1e1~m~a",
        "~m~99999999999999999999~m~a",
        "~m~1~m~\u{1f600}",
        "~m~1~m~ab",
    ] {
        assert_eq!(decode(text).last(), Some(Err(NotAFrame)), "{text}");
    }
}

#[test]
fn an_event_is_a_json_message_and_the_event_message_is_its_argument() {
    for (json, frame) in [
        (r#"["message","hi"]"#, "~m~2~m~hi"),
        (r#"["message",{"a":1}]"#, r#"~m~10~m~~j~{"a":1}"#),
        (r#"["message",5]"#, "~m~4~m~~j~5"),
        (r#"["news",1,"two"]"#, r#"~m~35~m~~j~{"name":"news","args":[1,"two"]}"#),
        (r#"["news"]"#, r#"~m~18~m~~j~{"name":"news"}"#),
        // What would be taken for something else goes as JSON.
        (r#"["message","~h~1"]"#, r#"~m~9~m~~j~"~h~1""#),
        (r#"["message","~j~1"]"#, r#"~m~9~m~~j~"~j~1""#),
        (r#"["message","~m~1~m~"]"#, "~m~7~m~~m~1~m~"),
    ] {
        assert_eq!(event(json, &[]), frame, "{json}");
    }
    let picture = [Bytes::from_static(b"hi")];
    let frame = event(r#"["message",{"_placeholder":true,"num":0}]"#, &picture);
    assert_eq!(frame, r#"~m~20~m~~j~{"base64":"aGk="}"#);
    for (message, json) in [
        (Message::Text("a\"b"), Some(r#"["message","a\"b"]"#)),
        (Message::Json("[1, 2]"), Some(r#"["message",[1, 2]]"#)),
        (Message::Json(r#"{"name":"say","args":["x"]}"#), Some(r#"["say","x"]"#)),
        (Message::Json(r#"{"name":"say"}"#), Some(r#"["message",{"name":"say"}]"#)),
        (
            Message::Json(r#"{"name":"a","args":[],"z":1}"#),
            Some(r#"["message",{"name":"a","args":[],"z":1}]"#),
        ),
        (Message::Json("{"), None),
        (Message::Heartbeat("1"), None),
    ] {
        let mut out = Vec::new();
        let read = event_json(&message, &mut out).ok().map(|()| String::from_utf8(out).unwrap());
        assert_eq!(read.as_deref(), json, "{message:?}");
    }
}

#[test]
fn frames_go_in_scripts_and_parts_that_nothing_in_them_ends() {
    let text = "~m~9~m~</script>";
    assert_eq!(
        written(|out| write_script(out, text)),
        r#"<script>parent.s._("~m~9~m~\u003c\/script>", document);</script>"#
    );
    assert_eq!(written(|out| write_jsonp(out, "2", text)), r#"io.JSONP[2]._("~m~9~m~</script>");"#);
    assert_eq!(
        written(|out| write_part(out, text)),
        "Content-Type: text/plain\n\n~m~9~m~</script>\n--socketio\n"
    );
    assert_eq!(HTMLFILE_HEAD, format!("<html><body>{}", " ".repeat(244)));
}

proptest! {
    #[test]
    fn any_frames_survive(texts in proptest::collection::vec(any::<String>(), 0..8)) {
        let body = written(|out| texts.iter().for_each(|text| write_frame(out, text)));
        let read: Vec<_> = decode(&body).map(|frame| match frame.unwrap() {
            Message::Text(text) => text.to_owned(),
            Message::Json(json) => format!("~j~{json}"),
            Message::Heartbeat(number) => format!("~h~{number}"),
        }).collect();
        prop_assert_eq!(read, texts);
    }

    #[test]
    fn any_text_message_survives(text in "(~[hjm]~)?.{0,20}") {
        let json = serde_json::to_string(&("message", &text)).unwrap();
        let frame = event(&json, &[]);
        let mut out = Vec::new();
        event_json(&decode(&frame).next().unwrap().unwrap(), &mut out).unwrap();
        prop_assert_eq!(String::from_utf8(out).unwrap(), json);
    }
}
