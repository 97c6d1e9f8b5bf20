//! Faults of other WebSocket libraries, each with the tests that show it is not here. Tests without a better
//! place are below.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics says why")]

use std::{fs, path::Path, time::Duration};

use switchboard_websocket::{
    CloseCode, Config, Decoder, Limits, Message, Opcode, Role, deflate::DeflateOptions, encode_close,
    encode_frame,
};

/// The fault, and its tests: a file beside this one or in another crate, and functions in that file.
const PITFALLS: &[(&str, &str, &[&str])] = &[
    (
        "a length in a header reserves memory before a byte arrives",
        "memory.rs",
        &["a_length_in_a_header_reserves_nothing_before_its_bytes_come"],
    ),
    (
        "lengths whose sum overflows",
        "codec.rs",
        &["lengths_that_overflow_together_are_refused_by_the_limits_or_wait_for_their_bytes"],
    ),
    (
        "a draft's length of endless bytes",
        "drafts.rs",
        &["a_length_of_endless_bytes_is_refused_at_its_frames_first_byte"],
    ),
    (
        "a view of a few bytes pins the read buffer",
        "memory.rs",
        &["short_messages_that_are_kept_hold_no_read_buffer", "an_idle_connection_holds_no_read_buffer"],
    ),
    (
        "window bits that are not compared by their value, or are out of range",
        "deflate_negotiation.rs",
        &[
            "the_answer_of_a_server_is_bounded_by_its_own_options",
            "a_server_declines_offers_that_it_cannot_keep",
            "a_client_fails_the_connection_over_an_answer_that_does_not_go_with_its_offer",
        ],
    ),
    ("a Host that is no host and port", "handshake.rs", &["a_host_that_is_no_host_and_port_is_of_no_page"]),
    ("a ping-sized allocation leaks", "memory.rs", &["pings_leave_nothing_behind"]),
    ("no cap across fragments", "codec.rs", &["a_message_over_the_limit_is_refused_in_any_fragments"]),
    (
        "millions of tiny or empty fragments: their count",
        "codec.rs",
        &["a_message_in_too_many_fragments_is_refused_also_if_they_are_empty"],
    ),
    (
        "millions of tiny or empty fragments: their memory",
        "memory.rs",
        &["a_peer_pins_the_bytes_that_it_has_sent_and_no_more", "tiny_fragments_pin_their_bytes_alone"],
    ),
    (
        "an unfinished message pins more than its bytes",
        "allocation.rs",
        &[
            "empty_fragments_hold_nothing",
            "tiny_fragments_hold_at_most_twice_their_bytes",
            "a_message_that_waits_for_the_peer_holds_at_most_twice_its_bytes",
        ],
    ),
    (
        "an unfinished message of an idle peer stays for ever",
        "timing.rs",
        &[
            "a_message_that_is_not_whole_in_time_closes_the_connection",
            "bytes_empty_fragments_and_pings_give_a_message_no_more_time",
        ],
    ),
    (
        "a flood of pings whose pongs cannot leave",
        "pings.rs",
        &[
            "a_peer_that_pings_and_does_not_read_is_cut_when_60_pongs_wait",
            "both_halves_fail_when_60_pongs_wait",
        ],
    ),
    ("a pong after a close", "pings.rs", &["a_ping_behind_our_close_is_not_answered_and_cuts_nothing"]),
    (
        "RSV bits without an extension crash",
        "codec.rs",
        &["a_frame_that_breaks_a_rule_is_refused_with_its_code"],
    ),
    ("too many headers", "handshake.rs", &["a_head_over_a_limit_is_refused_before_its_end"]),
    (
        "quadratic parsing of a handshake that comes byte by byte",
        "handshake_cost.rs",
        &["a_handshake_that_comes_byte_by_byte_costs_as_one_that_comes_whole"],
    ),
    (
        "regular expressions on subprotocols",
        "handshake_cost.rs",
        &["lists_of_any_shape_are_checked_without_an_allocation"],
    ),
    ("a non-ASCII subprotocol", "handshake.rs", &["a_subprotocol_that_is_not_ascii_is_refused"]),
    (
        "uninitialised bytes in a close reason",
        "pitfalls.rs",
        &["a_close_has_nothing_in_it_but_its_code_and_its_reason"],
    ),
    ("an inflate bomb: its memory", "deflate_memory.rs", &["a_bomb_takes_no_more_than_the_limit"]),
    ("an inflate bomb: its close", "deflate_stream.rs", &["a_bomb_closes_the_connection_with_1009"]),
    ("a 64-bit length over 2^63", "codec.rs", &["a_frame_that_breaks_a_rule_is_refused_with_its_code"]),
    (
        "unmasked client frames are accepted",
        "codec.rs",
        &["a_frame_that_breaks_a_rule_is_refused_with_its_code", "a_masked_server_frame_is_refused"],
    ),
    (
        "a read that loses data when it is cancelled",
        "cancellation/stream.rs",
        &["a_recv_that_is_dropped_loses_no_message_and_answers_each_once"],
    ),
    (
        "unlimited write buffers: messages",
        "backpressure.rs",
        &["write_buffers_stay_within_their_limit_and_one_message"],
    ),
    ("unlimited write buffers: pongs", "stream.rs", &["a_peer_that_pings_and_does_not_read_is_not_read"]),
    (
        "bytes after an upgrade are taken for the next request",
        "integration/connections.rs",
        &["bytes_that_came_with_the_request_are_frames"],
    ),
    (
        "bytes after an upgrade, or beyond Content-Length, are taken for the next request",
        "../../switchboard/tests/listener/upgrades.rs",
        &["frames_right_behind_a_handshake_are_not_lost", "bytes_behind_a_refused_handshake_are_no_request"],
    ),
    (
        "HTTP/2: rapid reset, CONTINUATION and empty DATA",
        "../../switchboard/tests/listener/http2/floods.rs",
        &[
            "requests_that_are_reset_at_once_are_a_flood",
            "websockets_that_are_reset_at_once_leave_nothing_behind",
            "continuations_without_end_are_a_flood",
            "empty_pieces_of_data_are_a_flood",
        ],
    ),
];

#[test]
fn every_pitfall_has_a_test() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for (pitfall, file, functions) in PITFALLS {
        let text = fs::read_to_string(tests.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        for function in *functions {
            assert!(text.contains(&format!("fn {function}(")), "{pitfall}: no {function} in {file}");
        }
    }
}

#[test]
fn no_default_is_laxer_than_that_of_ws() {
    // The defaults of `ws` 8.23: maxPayload, maxFragments, maxPendingAutoPongs, and its closing time-out.
    let config = Config::default();
    assert!(config.limits.max_message_bytes <= 100 << 20 && config.limits.max_frame_bytes <= 100 << 20);
    assert!(config.limits.max_fragments <= 16_384);
    assert!(config.max_pending_pongs <= 60);
    assert!(config.close_timeout <= Duration::from_secs(30));
    assert!(config.deflate.is_none() && DeflateOptions::default().threshold >= 1024);
    // `ws` has no time for a message.
    assert_eq!(config.message_timeout, Some(Duration::from_secs(60)));
}

#[test]
fn a_close_has_nothing_in_it_but_its_code_and_its_reason() {
    for reason in ["x".repeat(200), "é".repeat(100), "채".repeat(70)] {
        for len in (0..=reason.len()).filter(|&len| reason.is_char_boundary(len)) {
            let reason = &reason[..len];
            let mut sent = b"before".to_vec();
            encode_close(&mut sent, None, CloseCode::GoingAway, reason);
            // Of a reason that is too long, as many characters as fit.
            let cut = (0..=len.min(123)).rev().find(|&at| reason.is_char_boundary(at)).unwrap();
            let body = [&1001u16.to_be_bytes(), &reason.as_bytes()[..cut]].concat();
            let mut expected = b"before".to_vec();
            encode_frame(&mut expected, Opcode::Close, &body);
            assert_eq!(sent, expected, "{len} bytes");

            let mut decoder = Decoder::new(Role::Client, Limits::default());
            let frame = decoder.decode(&mut sent, &mut 6).unwrap();
            assert!(matches!(frame, Some(Message::Close(Some(close))) if close.reason == &reason[..cut]));
        }
    }
}
