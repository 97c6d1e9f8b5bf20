//! The rules of the server's end, one at a time.

use std::time::Duration;

use switchboard_protocol::engineio::{
    Admission, Closing, Ending, GetAnswer, Packet, ProbeStep, Received, ServerAction, ServerSession,
    UpgradeRefused, Version,
};

use crate::world::{INTERVAL, TIMEOUT};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn session() -> ServerSession {
    ServerSession::polling(ms(0), Version::V4, INTERVAL, TIMEOUT)
}

#[test]
fn it_is_small() {
    assert!(size_of::<ServerSession>() <= 64, "{} bytes", size_of::<ServerSession>());
}

#[test]
fn one_get_and_one_post_at_a_time() {
    let mut session = session();
    assert_eq!(session.on_get(), Admission::Accept);
    assert_eq!(session.on_post_head(), Admission::Accept);
    assert_eq!(session.on_get(), Admission::Overlap);
    assert_eq!(session.on_post_head(), Admission::Overlap);
    assert_eq!(session.on_post(false), Admission::Overlap);
    assert_eq!(session.on_post(true), Admission::Accept);
    assert!(session.on_post_handled(false));
    assert_eq!(session.on_post(false), Admission::Accept);
}

#[test]
fn a_session_on_websocket_takes_no_requests_and_one_that_is_over_knows_none() {
    let mut session = ServerSession::websocket(ms(0), Version::V4, INTERVAL, TIMEOUT);
    assert_eq!(session.on_get(), Admission::WrongTransport);
    assert_eq!(session.on_post(false), Admission::WrongTransport);
    assert_eq!(session.start_probe(ms(0), ms(1)), Err(UpgradeRefused::Upgraded));
    session.close(ms(0), Ending::Orderly, true);
    assert_eq!(session.on_get(), Admission::Unknown);
    assert_eq!(session.start_probe(ms(0), ms(1)), Err(UpgradeRefused::Closed));
}

#[test]
fn a_post_is_held_while_the_session_does_not_read() {
    let mut session = session();
    session.pause();
    assert_eq!(session.on_post(false), Admission::Accept);
    assert!(!session.on_post_handled(false));
    assert_eq!(session.on_post(false), Admission::Overlap);
    assert!(session.resume(ms(1)) && !session.resume(ms(1)));
    assert_eq!(session.on_post(false), Admission::Accept);
    // For a reason of the owner.
    assert!(!session.on_post_handled(true));
    assert_eq!(session.on_post_head(), Admission::Overlap);
    session.pause();
    assert!(!session.release_post(), "it does not read now");
    session.resume(ms(2));
    assert!(session.release_post());
    assert_eq!(session.on_post_head(), Admission::Accept);
}

#[test]
fn an_orderly_close_lingers_for_30_seconds_without_regard_to_the_heartbeat() {
    let mut session = session();
    assert_eq!(session.close(ms(24_000), Ending::Orderly, true), Closing::Lingers);
    assert_eq!(session.close(ms(24_000), Ending::Orderly, true), Closing::None);
    assert_eq!(session.deadline(), Some(ms(54_000)));
    assert_eq!(session.poll(ms(53_999)), None);
    assert_eq!(session.clone().poll(ms(54_000)), Some(ServerAction::GiveUp));
    assert_eq!(session.on_get(), Admission::Accept);
    assert_eq!(session.answer_get(true), Some(GetAnswer::NoopAndClose));
    assert!(session.is_over() && session.deadline().is_none());
}

#[test]
fn a_close_goes_alone() {
    for (get_waits, queue_is_empty, first, then) in [
        (true, true, Closing::Over(Some(GetAnswer::Close)), None),
        (true, false, Closing::Lingers, Some(GetAnswer::Packets)),
        (false, true, Closing::Lingers, None),
        (false, false, Closing::Lingers, None),
    ] {
        let mut session = session();
        if get_waits {
            session.on_get();
        }
        assert_eq!(session.close(ms(1), Ending::Orderly, queue_is_empty), first);
        assert_eq!(session.answer_get(queue_is_empty), then);
    }
}

#[test]
fn a_session_that_ends_at_once_is_not_kept() {
    for (how, queue_is_empty, answer) in [
        (Ending::Immediate, true, GetAnswer::Close),
        (Ending::Immediate, false, GetAnswer::Packets),
        (Ending::Peer, true, GetAnswer::Noop),
    ] {
        let mut session = session();
        session.on_get();
        assert_eq!(session.close(ms(1), how, queue_is_empty), Closing::Over(Some(answer)));
        assert_eq!(session.on_get(), Admission::Unknown);
    }
    // A lingering session cannot either, if its client breaks it or closes it too.
    for how in [Ending::Immediate, Ending::Peer] {
        let mut session = session();
        session.close(ms(1), Ending::Orderly, true);
        assert_eq!(session.close(ms(2), how, true), Closing::Over(None));
    }
}

#[test]
fn a_session_that_is_closing_takes_no_message_but_its_clients_close() {
    let mut session = session();
    session.close(ms(1), Ending::Orderly, false);
    assert_eq!(session.on_post(false), Admission::Accept);
    assert_eq!(session.on_packet(&Packet::Message("late"), || ms(2)), Received::Nothing);
    assert_eq!(session.on_packet(&Packet::Ping(""), || ms(2)), Received::Nothing);
    assert_eq!(session.on_packet(&Packet::Close, || ms(2)), Received::Close(Ending::Peer));
}

#[test]
fn only_the_pinging_end_of_a_version_may_ping() {
    for (version, ping, pong) in [
        (Version::V4, Received::Close(Ending::Immediate), Received::Nothing),
        (Version::V3, Received::Answer, Received::Close(Ending::Immediate)),
    ] {
        let mut session = ServerSession::polling(ms(0), version, INTERVAL, TIMEOUT);
        assert_eq!(session.version(), version);
        assert_eq!(session.on_packet(&Packet::Ping(""), || ms(1)), ping);
        assert_eq!(session.on_packet(&Packet::Pong(""), || ms(1)), pong);
    }
}

#[test]
fn while_a_pong_is_awaited_the_first_other_packet_moves_the_deadline_once() {
    for packet in [Packet::Message("4"), Packet::Binary(b"4"[..].into()), Packet::Noop] {
        let mut session = session();
        session.on_packet(&packet, || ms(1));
        assert_eq!(session.poll(ms(25_000)), Some(ServerAction::SendPing));
        assert_eq!(session.deadline(), Some(ms(45_000)));
        session.on_packet(&packet, || ms(30_000));
        session.on_packet(&packet, || ms(40_000));
        assert_eq!(session.deadline(), Some(ms(50_000)));
        assert_eq!(session.poll(ms(50_000)), Some(ServerAction::PingTimedOut));
    }
}

#[test]
fn an_upgrade_while_a_pong_is_awaited_keeps_its_deadline() {
    let mut session = session();
    session.start_probe(ms(24_000), ms(10_000)).unwrap();
    assert_eq!(session.on_probe_packet(&Packet::Ping("probe"), ms(24_500)), ProbeStep::SendPong);
    assert_eq!(session.poll(ms(25_000)), Some(ServerAction::SendPing));
    assert_eq!(session.on_probe_packet(&Packet::Upgrade, ms(25_500)), ProbeStep::Swap);
    assert_eq!(session.deadline(), Some(ms(45_000)));
    assert_eq!(session.poll(ms(44_999)), None);
    assert_eq!(session.poll(ms(45_000)), Some(ServerAction::PingTimedOut));
}

#[test]
fn time_is_asked_for_only_while_a_pong_is_awaited() {
    let mut session = session();
    let message = Packet::Message("");
    assert_eq!(session.on_packet(&message, || panic!("nobody waits")), Received::Deliver);
}

#[test]
fn a_session_that_does_not_read_pings_on_and_looks_for_its_peer() {
    let mut session = session();
    session.pause();
    assert_eq!(session.poll(ms(25_000)), Some(ServerAction::SendPing));
    for round in [45_000, 65_000] {
        assert_eq!(session.poll(ms(round)), Some(ServerAction::CheckPeer));
        assert_eq!(session.poll(ms(round)), Some(ServerAction::SendPing));
        assert_eq!(session.poll(ms(round)), None);
    }
}

#[test]
fn a_swap_ends_a_session_that_was_closing() {
    let mut session = session();
    session.start_probe(ms(0), ms(10_000)).unwrap();
    session.close(ms(1), Ending::Orderly, false);
    assert_eq!(session.on_probe_packet(&Packet::Ping("probe"), ms(2)), ProbeStep::SendPong);
    assert_eq!(session.on_probe_packet(&Packet::Upgrade, ms(3)), ProbeStep::Swap);
    assert!(session.is_over() && !session.is_polling());
}

#[test]
fn a_probe_that_is_late_leaves_the_session_where_it_is() {
    let mut session = session();
    session.start_probe(ms(0), ms(10_000)).unwrap();
    session.on_probe_packet(&Packet::Ping("probe"), ms(2));
    assert_eq!(session.poll(ms(2)), None, "no GET waits");
    session.on_get();
    assert_eq!(session.poll(ms(102)), Some(ServerAction::ReleaseGet));
    assert_eq!(session.release_get(true), Some(GetAnswer::Noop));
    assert_eq!(session.release_get(true), None);
    assert_eq!(session.poll(ms(10_000)), Some(ServerAction::ProbeTimedOut));
    assert!(session.is_open() && session.is_polling());
    assert_eq!(session.start_probe(ms(10_001), ms(10_000)), Ok(()));
}
