//! Faults of other servers, each with the tests that show it is not here. Tests without a better place are
//! below.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

#[path = "socketio/harness.rs"]
#[allow(dead_code, reason = "these tests use a part of it")]
mod harness;

use std::{fs, path::Path};

use harness::Server;
use switchboard::Switchboard;

const BOUNDS: &str = "switchboard/tests/listener/bounds.rs";
const ANSWERS: &str = "switchboard/tests/listener/answers.rs";
const HTTP1: &str = "switchboard/tests/listener/http1.rs";
const UPGRADES: &str = "switchboard/tests/listener/upgrades.rs";
const ORIGINS: &str = "switchboard/tests/listener/origins.rs";
const POLLING: &str = "switchboard/tests/socketio/polling.rs";
const CONNECTING: &str = "switchboard/tests/socketio/connecting.rs";
const ACKS: &str = "switchboard/tests/socketio/acks.rs";
const EVENTS: &str = "switchboard/tests/socketio/events.rs";
const MISBEHAVING: &str = "switchboard/tests/socketio/misbehaving.rs";
const OUTBOX: &str = "switchboard/tests/socketio/outbox.rs";
const ROOMS: &str = "switchboard/tests/socketio/rooms.rs";
const LEAKS: &str = "switchboard/tests/socketio_leaks.rs";
const SESSION: &str = "protocol/tests/engineio_session/server.rs";
const ENGINE_WIRE: &str = "protocol/tests/engineio_wire.rs";
const ENGINE_V3: &str = "protocol/tests/engineio_v3.rs";
const OLD_CLIENTS: &str = "switchboard/tests/socketio/old_clients.rs";
const SOCKET_WIRE: &str = "protocol/tests/socketio_wire.rs";
const BINARY: &str = "protocol/tests/socketio_binary.rs";
const WORKER: &str = "hub/tests/worker.rs";
const NODE_UPGRADE: &str = "../interop/node/suites/engineio-upgrade.test.mjs";
const NODE_RECONNECT: &str = "../interop/node/suites/client-reconnect.test.mjs";

/// The fault, and the tests that would fail if it were here: a file or a folder, and a function or a title in it.
type Pitfall = (&'static str, &'static [(&'static str, &'static str)]);

const ENGINE_IO: &[Pitfall] = &[
    ("a POST of 100 MB", &[(BOUNDS, "a_body_over_its_bound_gets_a_413")]),
    ("a bad query parameter", &[(ENGINE_WIRE, "a_query_is_read_as_node_reads_it")]),
    (
        "a reset during a refused upgrade",
        &[(UPGRADES, "a_client_that_resets_its_refused_upgrade_harms_nobody")],
    ),
    ("a binary POST that is never answered or closed", &[(POLLING, "a_session_that_broke_is_not_kept")]),
    (
        "a slow body without a time-out",
        &[(ANSWERS, "a_body_that_takes_too_long_is_a_408_and_ends_its_session")],
    ),
    (
        "a body of 10 000 pieces of one byte",
        &[(ANSWERS, "a_body_in_too_many_pieces_is_a_413_and_ends_its_session")],
    ),
    (
        "a later request of the session with another EIO",
        &[(POLLING, "a_request_that_names_another_version_than_its_sessions_harms_nobody")],
    ),
    (
        "a session id that is looked up in an object with a prototype",
        &[
            (ENGINE_WIRE, "only_base64url_of_the_right_length_is_a_session_id"),
            ("switchboard/tests/pitfalls.rs", "the_name_of_a_property_is_no_session"),
        ],
    ),
    (
        "a pong deadline that traffic moves for ever",
        &[(SESSION, "while_a_pong_is_awaited_the_first_other_packet_moves_the_deadline_once")],
    ),
    (
        "an upgrade while a pong is awaited clears the deadline",
        &[(SESSION, "an_upgrade_while_a_pong_is_awaited_keeps_its_deadline")],
    ),
    (
        "a session that stays for ever when its poller vanishes",
        &[
            (HTTP1, "a_client_that_disappears_amid_a_poll_closes_its_session"),
            (
                "switchboard/tests/listener/half_open.rs",
                "a_session_whose_peer_is_silent_ends_by_its_heartbeat",
            ),
        ],
    ),
    ("an abandoned session on polling leaks", &[(LEAKS, "nothing_is_left_of_clients_that_have_gone")]),
    (
        "two sessions after one failed probe",
        &[
            (NODE_UPGRADE, "a failed probe leaves the session on polling"),
            (NODE_RECONNECT, "leaves the client on polling, in the same session, with each message once"),
        ],
    ),
    (
        "an upgrade that stalls",
        &[(
            "protocol/src/engineio/session/upgrade.rs",
            "an_upgrade_that_stalls_times_out_and_leaves_room_for_another",
        )],
    ),
    (
        "a check of requests that one transport skips",
        &[(UPGRADES, "users_are_asked_once_whether_a_conversation_may_begin_on_every_way_in")],
    ),
    (
        "a thread for each request",
        &[("switchboard/tests/pitfalls.rs", "requests_that_wait_take_no_threads_of_their_own")],
    ),
    (
        "a client that is cut because its queue is full at ping time",
        &[
            (OUTBOX, "a_ping_that_meets_a_full_outbox_ends_no_session"),
            ("switchboard/src/transport/connection", "a_ping_that_meets_a_full_outbox_ends_no_connection"),
        ],
    ),
];

const SOCKET_IO: &[Pitfall] = &[
    (
        "sockets share the engine's session id",
        &[(CONNECTING, "ids_differ_in_each_namespace_and_are_not_the_sessions")],
    ),
    (
        "pages of all origins by default",
        &[
            (ORIGINS, "a_page_of_another_origin_is_refused_on_every_transport_alike"),
            ("switchboard/src/http/cors.rs", "no_header_lets_others_read_unless_they_are_listed"),
        ],
    ),
    (
        "attachments without a bound",
        &[
            (BINARY, "the_bytes_of_all_attachments_are_bounded_together"),
            (SOCKET_WIRE, "the_number_of_attachments_is_an_option"),
            (MISBEHAVING, "attachments_that_do_not_come_close_their_session"),
        ],
    ),
    (
        "placeholders that point nowhere, are out of order or are no numbers",
        &[
            (BINARY, "a_placeholder_that_points_nowhere_is_an_error_for_each_reader"),
            (BINARY, "placeholders_may_be_out_of_order_repeated_and_deep"),
            (BINARY, "an_object_whose_placeholder_is_not_true_is_an_object"),
        ],
    ),
    (
        "a packet with zero attachments poisons the next one",
        &[
            (SOCKET_WIRE, "bytes_that_are_no_packet_are_an_error"),
            (BINARY, "a_packet_without_attachments_does_not_touch_the_next_one"),
        ],
    ),
    ("binary that no packet awaits", &[(BINARY, "a_binary_message_nobody_announced_is_an_error")]),
    ("a binary packet that another interrupts", &[(BINARY, "a_packet_may_not_interrupt_another")]),
    (
        "names of events that are no strings, or are reserved",
        &[
            (SOCKET_WIRE, "a_name_that_is_neither_string_nor_integer_is_refused"),
            (SOCKET_WIRE, "reserved_names_are_refused_however_they_are_spelled"),
            (EVENTS, "a_reserved_event_from_a_client_is_a_parse_error"),
        ],
    ),
    (
        "acknowledgements that never expire, collide or come twice",
        &[
            (ACKS, "an_acknowledgement_that_does_not_come_is_an_error"),
            (ACKS, "ids_of_acknowledgements_never_collide"),
            (ACKS, "acknowledgements_are_typed_and_come_once"),
        ],
    ),
    (
        "acknowledgements of broadcasts whose time is over are kept",
        &[(ACKS, "acknowledgements_of_a_broadcast_that_is_over_are_kept_no_longer")],
    ),
    (
        "a queue of a client that is sent twice at a reconnect",
        &[(NODE_RECONNECT, "the client comes back as another socket and has lost nothing it said meanwhile")],
    ),
    (
        "a socket in two rooms of one broadcast gets two copies",
        &[
            (ROOMS, "a_broadcast_goes_once_to_each_that_is_meant"),
            ("hub/tests/rooms.rs", "a_member_of_two_rooms_gets_one_copy"),
        ],
    ),
    (
        "a broadcast that is lost in silence on a full channel",
        &[
            (WORKER, "a_full_inbox_is_an_error_and_its_accepted_commands_are_carried_out_in_order"),
            (WORKER, "a_broadcast_that_meets_a_full_inbox_reaches_the_other_workers"),
            ("hub/tests/bus.rs", "a_full_bus_is_an_error_and_this_node_is_served"),
        ],
    ),
];

/// Faults of socketioxide, by its log of 2026.
const RUST: &[Pitfall] = &[
    (
        "a decoder of protocol 3 that goes on for ever on a malformed payload, or panics",
        &[
            (ENGINE_V3, "no_body_panics_or_goes_on_for_ever"),
            (ENGINE_V3, "each_step_reads_some_of_the_body"),
            (OLD_CLIENTS, "a_body_that_is_no_payload_ends_the_session_with_a_400"),
        ],
    ),
    (
        "base64 that begins with the digit 4 is misread",
        &[
            (ENGINE_V3, "base64_begins_with_b_and_the_type_of_a_message"),
            (OLD_CLIENTS, "binary_comes_in_each_form_and_goes_out_as_base64_or_with_its_type"),
        ],
    ),
    (
        "lengths of protocol 3 that do not count UTF-16 units",
        &[
            (ENGINE_V3, "a_length_counts_utf_16_units"),
            (OLD_CLIENTS, "json_goes_out_in_ascii_and_lengths_count_utf_16_units"),
        ],
    ),
    ("the parameter b64 is read otherwise than by Node", &[(ENGINE_WIRE, "a_query_is_read")]),
    (
        "an encoder of protocol 3 that merges binary and text packets",
        &[
            (ENGINE_V3, "packets_survive_in_both_forms"),
            (OLD_CLIENTS, "what_waits_for_a_poll_goes_on_as_frames_after_an_upgrade"),
        ],
    ),
    (
        "a payload over the bound of its reader",
        &[
            (ENGINE_WIRE, "a_payload_holds_as_many_packets_as_its_length_allows"),
            (POLLING, "a_post_brings_as_many_events_as_its_bytes_allow"),
        ],
    ),
    (
        "an encoder that waits forgets the separator",
        &[
            ("hub/src/outbox", "a_separator_stands_between_packets_only"),
            ("protocol/tests/properties.rs", "any_payload_survives"),
        ],
    ),
    ("a session on polling leaks", &[(LEAKS, "nothing_is_left_of_clients_that_have_gone")]),
    (
        "an acknowledgement that races with its time-out",
        &[
            (ACKS, "an_acknowledgement_that_does_not_come_is_an_error"),
            ("hub/tests/question.rs", "an_answer_that_nobody_awaits_any_more_is_known_as_such"),
        ],
    ),
    (
        "a socket is left after a namespace refused it",
        &[(CONNECTING, "a_socket_that_a_namespace_has_refused_leaves_nothing_behind")],
    ),
];

/// The text of a file, or of all files in a folder.
fn text(path: &Path) -> std::io::Result<String> {
    if !path.is_dir() {
        return fs::read_to_string(path);
    }
    let mut all = String::new();
    for entry in fs::read_dir(path)? {
        all.push_str(&text(&entry?.path())?);
    }
    Ok(all)
}

#[test]
fn every_pitfall_has_a_test() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (pitfall, tests) in [ENGINE_IO, SOCKET_IO, RUST].into_iter().flatten() {
        for (file, test) in *tests {
            let text = text(&crates.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            let is_in_rust = text.contains(&format!("fn {test}("));
            let is_there = is_in_rust || file.starts_with("../interop/") && text.contains(test);
            assert!(is_there, "{pitfall}: no {test} in {file}");
        }
    }
}

#[tokio::test]
async fn the_name_of_a_property_is_no_session() {
    let server = Server::workers(1, |_| {}).await;
    for sid in ["__proto__", "constructor", "hasOwnProperty", "toString", "%5F%5Fproto%5F%5F"] {
        let target = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
        let asked = harness::request(server.address, "GET", &target, "", "");
        let (head, body) = harness::soon("an answer", asked).await;
        assert!(head.starts_with("HTTP/1.1 400"), "{target}: {head}");
        assert_eq!(body, r#"{"code":1,"message":"Session ID unknown"}"#, "{target}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn requests_that_wait_take_no_threads_of_their_own() {
    const REQUESTS: usize = 200;
    let threads = || fs::read_dir("/proc/self/task").expect("a list of threads").count();
    let (said, mut told) = harness::log();
    let gate = harness::Signal::new();
    let waits = gate.clone();
    let builder = Switchboard::builder().workers(2).allow_request_async(move |_, _| {
        let (said, waits) = (said.clone(), waits.clone());
        async move {
            said.say("asked");
            waits.passed().await;
            Ok::<_, String>(())
        }
    });
    let server = Server::start(builder, |_| {}).await;
    let before = threads();
    let opening = |_| {
        let address = server.address;
        tokio::spawn(
            async move { harness::http(address, "GET", "/socket.io/?EIO=4&transport=polling", "").await },
        )
    };
    let requests: Vec<_> = (0..REQUESTS).map(opening).collect();
    for _ in 0..REQUESTS {
        assert_eq!(told.next().await, "asked");
    }
    // The other tests of this file have threads, too.
    assert!(threads() < before + REQUESTS / 10, "{} threads, before {before}", threads());
    gate.open();
    for request in requests {
        let open = harness::soon("an answer", request).await.expect("no panic");
        assert!(open.contains(r#""sid":"#), "{open}");
    }
}
