//! The one table of the library's metrics: `docs/metrics.md` shows it, and the recorder gets its descriptions
//! when a server is built.
//!
//! The metrics go to the recorder of the `metrics` facade that the program installs. The code that counts
//! writes out the metric's name, so that a search finds it. Tests keep the code, this table and the page in
//! agreement.

use ::metrics::{Unit, describe_counter, describe_gauge};

/// The kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
}

struct Metric {
    name: &'static str,
    kind: Kind,
    unit: Unit,
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the page shows them, and a recorder learns them from use")
    )]
    labels: &'static [&'static str],
    meaning: &'static str,
}

const fn counter(name: &'static str, labels: &'static [&'static str], meaning: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, unit: Unit::Count, labels, meaning }
}

const fn bytes(name: &'static str, meaning: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, unit: Unit::Bytes, labels: &[], meaning }
}

const fn gauge(name: &'static str, meaning: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, unit: Unit::Count, labels: &[], meaning }
}

/// All metrics, in the order in which a message meets the code that counts.
#[rustfmt::skip]
const METRICS: &[Metric] = &[
    // Accepting.
    counter("switchboard_connections_accepted_total", &[], "Connections that the listener took."),
    counter("switchboard_connections_refused_total", &["reason"], "Connections closed as soon as they were accepted, and WebSockets over HTTP/2 refused with a 503: too many in all, or from one address."),
    gauge("switchboard_connections", "Connections that are open, WebSockets over HTTP/2 among them, and requests of another server's that are being answered."),
    counter("switchboard_http2_connections_total", &[], "Connections that spoke HTTP/2."),
    counter("switchboard_accept_errors_total", &["reason"], "Failures to accept: `connection` where one was lost in the backlog, `resources` where file descriptors or memory ran out, after each of which the listener pauses; `flash policy` on the port that answers Flash players only."),
    counter("switchboard_proxy_protocol_errors_total", &[], "Connections closed because their PROXY protocol header was missing, malformed, or from an address that is not trusted."),
    counter("switchboard_tls_handshakes_total", &["kind"], "TLS handshakes: `full`, or `resumed` by a ticket."),
    counter("switchboard_tls_handshake_errors_total", &["reason"], "TLS handshakes that came to nothing: `not TLS` (requests without it among them, where it is asked for), `refused`, `refused by the client`, `connection lost`. Those that were too slow are in the next line."),
    counter("switchboard_tls_reloads_total", &["result"], "Certificates that changed in their files: `taken`, or `failed` where the old one went on."),
    counter("switchboard_write_timeouts_total", &[], "HTTP/1 connections closed because the client took nothing of an answer in time."),
    counter("switchboard_head_timeouts_total", &[], "Connections closed because no head of a request, or no end of a TLS handshake, came in time; kept ones that were idle as long count too."),
    counter("switchboard_http_errors_total", &["reason"], "HTTP connections that failed: `head too large`, `not HTTP`, `incomplete request`, `connection lost`, and `flood` where HTTP/2's bounds on what costs a client nothing were met."),
    counter("switchboard_flash_policies_total", &[], "Requests of Flash players for their socket policy that were answered."),
    counter("switchboard_connections_cut_total", &[], "Connections cut because a shutdown met its deadline."),
    // Requests.
    counter("switchboard_requests_refused_total", &["layer", "reason"], "Requests refused: by the checks common to all (`http`), of Engine.IO (`engine`), of old clients (`socketio09`), or of a raw WebSocket service (`websocket`)."),
    counter("switchboard_requests_abandoned_total", &[], "Requests of the polling transport whose client went away before their answer; each closes its session."),
    counter("switchboard_fallback_errors_total", &[], "Failures of the service behind Switchboard; each is answered with a 500."),
    // WebSocket.
    counter("switchboard_websocket_connections_total", &[], "Connections upgraded to WebSocket: sessions, probes and raw ones."),
    counter("switchboard_streaming_answers_total", &[], "Requests whose answer became the stream of a session's packets."),
    counter("switchboard_http2_websockets_total", &[], "Those of them that came over HTTP/2, by extended CONNECT."),
    counter("switchboard_draft_handshakes_total", &["draft"], "Handshakes of the drafts before RFC 6455 that were in order: `hybi-07`, `hybi-08` (to -12), `hixie-75`, `hixie-76`."),
    counter("switchboard_binary_not_sent_total", &[], "Binary messages of a shared namespace that WebSockets of hixie-75 and -76 did not get, as they only take text; once for each worker that has any."),
    counter("switchboard_upgraded_connections_lost_total", &[], "Connections lost between their upgrade and the worker they belong to."),
    counter("switchboard_deflate_declined_total", &[], "WebSockets that go without the compression their client offered, because this process has agreed on 64 other forms of it."),
    counter("switchboard_websocket_protocol_errors_total", &[], "WebSocket connections failed because their peer broke RFC 6455, or a bound."),
    counter("switchboard_websocket_close_timeouts_total", &[], "WebSocket connections cut because their peer took too long to take what waited for it, or to answer a close."),
    counter("switchboard_websocket_message_timeouts_total", &[], "WebSocket connections closed because a message that had begun was not complete in time, and sessions because attachments of a packet did not come."),
    counter("switchboard_websocket_ping_floods_total", &[], "WebSocket connections cut because their peer sent pings and did not read 60 pongs."),
    counter("switchboard_websocket_ping_timeouts_total", &[], "Raw WebSocket connections cut because their peer did not answer a ping."),
    counter("switchboard_websockets_opened_total", &[], "Clients of raw WebSocket services that connected."),
    counter("switchboard_websockets_closed_total", &["reason"], "Clients of raw WebSocket services that went: `closed`, `protocol error`, `message timeout`, `ping flood`, `connection lost`, and `panic` where our own code failed."),
    gauge("switchboard_websockets", "Clients of raw WebSocket services."),
    // Engine.IO.
    counter("switchboard_sessions_opened_total", &[], "Sessions of Engine.IO that were opened."),
    counter("switchboard_sessions_closed_total", &["reason"], "Sessions that were closed, with the reason in Socket.IO's words."),
    gauge("switchboard_sessions", "Sessions that are open."),
    counter("switchboard_upgrades_total", &[], "Sessions that went from polling to WebSocket."),
    counter("switchboard_upgrades_failed_total", &[], "Probes that came to nothing; their sessions stayed on polling."),
    // Socket.IO.
    counter("switchboard_sockets_connected_total", &[], "Sockets that joined a namespace."),
    counter("switchboard_sockets_disconnected_total", &["reason"], "Sockets that left their namespace, with the reason in Socket.IO's words."),
    gauge("switchboard_sockets", "Sockets that are in a namespace."),
    counter("switchboard_sockets_recovered_total", &[], "Sockets whose clients came back, and got what they had missed."),
    counter("switchboard_sockets_not_recovered_total", &[], "Clients that asked for a socket which was not there any more, and got a new one."),
    counter("switchboard_recoveries_too_late_total", &[], "Clients that asked for a socket whose missed events were not all kept, and got a new one."),
    counter("switchboard_sessions_expired_total", &[], "Sessions of sockets whose clients did not come back within the window."),
    counter("switchboard_history_overflow_total", &[], "Events that a history forgot before their time, as its bytes are bounded."),
    counter("switchboard_store_errors_total", &[], "Failures of the store of histories."),
    counter("switchboard_connects_refused_total", &[], "CONNECT packets answered with CONNECT_ERROR."),
    counter("switchboard_connect_timeouts_total", &[], "Sessions closed because their client joined no namespace in time."),
    counter("switchboard_parse_errors_total", &[], "Packets that were none; each closes its session."),
    counter("switchboard_packets_out_of_place_total", &[], "Packets for a namespace that was not joined, or of a kind that only servers send, which close their session; and CONNECTs for a namespace that is being joined already, which change nothing."),
    counter("switchboard_events_unhandled_total", &[], "Events that no handler waits for."),
    counter("switchboard_events_dropped_total", &["reason"], "Events that were not handed to their handlers: `disconnected` where the server had disconnected their socket, `time` where the handler before them took longer than they may wait for it after the end of their socket, `full` where more of them waited so than may, `stopped` where the server stopped, `early` where they were kept for a handler that was not registered in time."),
    counter("switchboard_rate_limited_total", &["rate", "outcome"], "Inputs beyond a rate: `socket rate`, `address rate` or `namespace rate`, and `event dropped`, `connect refused`, or `held back`, where their client was not read for a while."),
    counter("switchboard_held_events_full_total", &[], "Times a client was held back because its events waited for handlers up to their bound."),
    counter("switchboard_handler_errors_total", &[], "Errors that handlers returned, or that their arguments met."),
    counter("switchboard_handler_panics_total", &[], "Handlers that panicked."),
    counter("switchboard_acks_refused_total", &[], "Acknowledgements not asked for because as many as may be were awaited of the socket."),
    counter("switchboard_acks_unawaited_total", &[], "Acknowledgements that came late, twice, or for nothing."),
    counter("switchboard_ack_timeouts_total", &[], "Acknowledgements that did not come in time."),
    // Between workers and on them.
    counter("switchboard_joins_refused_total", &[], "Rooms not joined because the socket was in as many as may be."),
    counter("switchboard_inbox_full_total", &[], "Commands refused because a worker's inbox was full."),
    counter("switchboard_child_namespaces_refused_total", &[], "Namespaces that clients asked for beyond the bound."),
    counter("switchboard_bus_full_total", &[], "Requests and replies not sent to other nodes because the bus was full."),
    counter("switchboard_server_events_dropped_total", &[], "Events of other nodes' servers that could not be read, or met a full inbox."),
    counter("switchboard_server_events_unhandled_total", &[], "Events of other nodes' servers that no handler waits for."),
    counter("switchboard_old_clients_unsent_bytes_total", &[], "Bytes that a client of Socket.IO 0.9 had not taken from a transport when it went on to another one."),
    counter("switchboard_outbox_overflow_total", &[], "Times a client was sent something while as much waited for it as may: it was refused, and the client disconnected unless `full_outbox` lets it stay."),
    counter("switchboard_packets_dropped_total", &[], "Events dropped because as much waited for their client as may, where `full_outbox` says that they make room."),
    counter("switchboard_worker_panics_total", &[], "Panics that a worker caught outside of handlers."),
    counter("switchboard_messages_received_total", &[], "Messages that clients sent."),
    counter("switchboard_messages_sent_total", &[], "Messages queued for clients."),
    bytes("switchboard_bytes_received_total", "Bytes that clients sent, WebSocket frames and bodies of requests."),
    bytes("switchboard_bytes_sent_total", "Bytes written to clients, WebSocket frames and bodies of answers."),
    counter("switchboard_volatile_dropped_total", &[], "Volatile packets dropped because a client would not take them at once."),
];

/// Describes all metrics to the installed recorder.
pub(crate) fn describe() {
    for metric in METRICS {
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, metric.unit, metric.meaning),
            Kind::Gauge => describe_gauge!(metric.name, metric.unit, metric.meaning),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::Path;

    use super::*;

    /// The Rust files below a folder.
    fn sources(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("src/metrics.rs") {
                found.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }

    /// The metrics that the sources use, with their labels.
    fn used() -> BTreeMap<String, BTreeSet<String>> {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut files = Vec::new();
        for library in ["switchboard", "hub", "websocket", "protocol"] {
            sources(&crates.join(library).join("src"), &mut files);
        }
        let mut used = BTreeMap::<_, BTreeSet<_>>::new();
        for file in &files {
            for (at, begin) in file.match_indices("\"switchboard_") {
                let of_name = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '_';
                let name: String = file[at + 1..].chars().take_while(of_name).collect();
                let behind = &file[at + begin.len()..];
                let statement = behind.split_once(';').map_or(behind, |(statement, _)| statement);
                let labels =
                    statement.split("\" =>").map(|before| before.rsplit('"').next().unwrap().to_owned());
                let count = statement.matches("\" =>").count();
                used.entry(name).or_default().extend(labels.take(count));
            }
        }
        used
    }

    #[test]
    fn every_metric_that_is_used_is_described_and_the_other_way_round() {
        let described: BTreeMap<_, BTreeSet<_>> = METRICS
            .iter()
            .map(|metric| {
                (metric.name.to_owned(), metric.labels.iter().map(|label| (*label).to_owned()).collect())
            })
            .collect();
        assert_eq!(described.len(), METRICS.len(), "one is described twice");
        assert_eq!(used(), described);
    }

    #[test]
    fn names_tell_their_kind() {
        for metric in METRICS {
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
            assert!(metric.meaning.ends_with('.'), "{}", metric.name);
        }
    }

    #[test]
    fn the_page_shows_them_all() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
        let page = std::fs::read_to_string(page).unwrap();
        let rows = METRICS.iter().map(|metric| {
            let kind = if metric.kind == Kind::Counter { "counter" } else { "gauge" };
            let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            format!("| `{}` | {kind} | {} | {} |\n", metric.name, labels.join(", "), metric.meaning)
        });
        let rows: String = rows.collect();
        assert!(page.contains(&rows), "its table is to be:\n{rows}");
        assert_eq!(page.matches("| `switchboard_").count(), METRICS.len(), "it shows more");
    }
}
