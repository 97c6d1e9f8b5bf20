//! The times of sessions of Socket.IO 0.9 and 0.6, in virtual time.

use std::time::Duration;

use proptest::prelude::*;
use switchboard_protocol::socketio09::{Action, Lost, Rules, Times, Transport};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

const TIMES: Times = Times {
    handshake_timeout: secs(30),
    poll_duration: secs(20),
    close_timeout: secs(60),
    heartbeat_interval: secs(25),
    heartbeat_timeout: secs(50),
};

/// Expects that nothing is due before `at`, and `action` then.
fn next(rules: &mut Rules, at: u64, action: Action) {
    assert_eq!(rules.deadline(), Some(secs(at)));
    assert_eq!(rules.poll(secs(at).saturating_sub(Duration::from_nanos(1))), None);
    assert_eq!(rules.poll(secs(at)), Some(action));
}

#[test]
fn an_unused_handshake_dies_after_its_time() {
    let mut rules = Rules::new(secs(1), TIMES);
    next(&mut rules, 31, Action::Close(Lost::Unused));
    rules.close(secs(31), false);
    assert_eq!((rules.deadline(), rules.poll(secs(99)), rules.is_open()), (None, None, false));
}

#[test]
fn a_poll_ends_after_its_time_and_the_next_has_the_close_timeout() {
    let mut rules = Rules::new(secs(0), TIMES);
    rules.on_transport(secs(5), Transport::Polling);
    next(&mut rules, 25, Action::EndPoll);
    rules.on_poll_end(secs(25));
    rules.on_transport(secs(80), Transport::Polling);
    // A new poll has its whole time, also where it takes another's place.
    rules.on_transport(secs(90), Transport::Polling);
    next(&mut rules, 110, Action::EndPoll);
    rules.on_poll_end(secs(110));
    next(&mut rules, 170, Action::Close(Lost::NoPoll));
}

#[test]
fn a_heartbeat_goes_out_after_the_last_answer_and_has_to_be_answered() {
    let mut rules = Rules::new(secs(0), TIMES);
    rules.on_transport(secs(0), Transport::Streaming);
    next(&mut rules, 25, Action::SendHeartbeat);
    rules.on_heartbeat(secs(30));
    next(&mut rules, 55, Action::SendHeartbeat);
    // One that nobody awaits changes nothing.
    rules.on_heartbeat(secs(60));
    rules.on_heartbeat(secs(70));
    next(&mut rules, 85, Action::SendHeartbeat);
    // The server did not read the client for a while.
    rules.excuse(secs(100));
    next(&mut rules, 150, Action::Close(Lost::Heartbeat));
}

#[test]
fn a_closed_session_waits_for_the_poll_that_fetches_what_waits() {
    let mut rules = Rules::new(secs(0), TIMES);
    rules.on_transport(secs(0), Transport::Polling);
    rules.on_poll_end(secs(1));
    rules.close(secs(2), true);
    assert!(rules.lingers() && !rules.is_open());
    rules.on_transport(secs(3), Transport::Polling);
    next(&mut rules, 62, Action::GiveUp);
}

proptest! {
    /// What comes when: nothing makes a session wait for ever, or asks for the same thing without end.
    #[test]
    fn whatever_comes_something_is_due_until_the_end(
        steps in proptest::collection::vec((0_u64..70, 0_u8..7), 0..60),
    ) {
        let mut rules = Rules::new(secs(0), TIMES);
        let mut now = secs(0);
        for (wait, step) in steps {
            now += secs(wait);
            match step {
                0 => rules.on_transport(now, Transport::Polling),
                1 => rules.on_transport(now, Transport::Streaming),
                2 => rules.on_poll_end(now),
                3 => rules.on_heartbeat(now),
                4 => rules.excuse(now),
                5 => rules.close(now, true),
                _ => {}
            }
            let mut asked = 0;
            while let Some(action) = rules.poll(now) {
                match action {
                    Action::SendHeartbeat => {}
                    Action::EndPoll => rules.on_poll_end(now),
                    Action::Close(_) | Action::GiveUp => rules.close(now, false),
                }
                asked += 1;
                prop_assert!(asked < 4);
            }
            prop_assert_eq!(rules.deadline().is_none(), !rules.is_open() && !rules.lingers());
            prop_assert!(rules.deadline().is_none_or(|deadline| deadline > now && deadline <= now + secs(60)));
        }
    }
}
