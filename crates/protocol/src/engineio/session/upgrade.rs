//! The upgrade of a session to another transport, at the server's end. Protocol 4, section "Upgrade".
//!
//! The client keeps the old transport, opens the new one, and sends `2probe` there. When the server has
//! answered `3probe`, the client lets its last poll return and then sends `5`. Until then the session stays
//! on the old transport. A failed probe changes nothing.

use std::time::Duration;

use super::super::packet::Packet;
use super::nanos;

/// How often a pending poll is released during a probe.
const FLUSH_INTERVAL: Duration = Duration::from_millis(100);

/// A time that never comes.
const NEVER: u64 = u64::MAX;

/// The upgrade of one session.
///
/// Times count from a moment that the caller chooses, the same for every call. After [`start`](Self::start),
/// pass every packet of the new transport to [`on_packet`](Self::on_packet), and call [`poll`](Self::poll) at
/// [`deadline`](Self::deadline). If the new transport closes, call [`fail`](Self::fail).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Upgrade(State);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Idle,
    Probing {
        /// The time when the probe fails, in nanoseconds.
        end: u64,
        /// The time when the next poll is released, in nanoseconds. [`NEVER`] until the probe's ping.
        flush: u64,
    },
    Upgraded,
}

/// The reason why a transport may not probe. Node closes the transport; the session goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UpgradeRefused {
    /// Another transport is probing.
    #[error("another transport is probing")]
    Probing,
    /// The session has been upgraded.
    #[error("the session has been upgraded")]
    Upgraded,
    /// The session is closed.
    #[error("the session is closed")]
    Closed,
}

/// The next step for the new transport after one of its packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UpgradeStep {
    /// Answer [`Packet::Pong`] with `probe` there. Then call [`Upgrade::poll`].
    SendPong,
    /// The session moves to the new transport, with its whole queue. The old transport is no longer used.
    Swap,
    /// The probe has failed: close the new transport. The session stays on the old one.
    Fail,
}

/// The action that [`Upgrade::poll`] asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UpgradeAction {
    /// Do nothing before [`Upgrade::deadline`].
    None,
    /// Send [`Packet::Noop`] by the old transport if it is polling and a poll is pending.
    FlushPolling,
    /// The client's upgrade took too long: close the new transport. The session stays on the old one.
    TimedOut,
}

impl Upgrade {
    /// The machine of a session on polling, which may be upgraded.
    pub(super) const fn new() -> Self {
        Self(State::Idle)
    }

    /// The machine of a session on a transport that cannot be upgraded.
    pub(super) const fn done() -> Self {
        Self(State::Upgraded)
    }

    /// A new transport asks for the session. Its upgrade may take `timeout` (Node: 10 s).
    ///
    /// # Errors
    /// [`UpgradeRefused`] if another transport probes or has been upgraded to.
    pub(super) fn start(&mut self, now: Duration, timeout: Duration) -> Result<(), UpgradeRefused> {
        match self.0 {
            State::Idle => {
                self.0 = State::Probing { end: nanos(now.saturating_add(timeout)), flush: NEVER };
                Ok(())
            }
            State::Probing { .. } => Err(UpgradeRefused::Probing),
            State::Upgraded => Err(UpgradeRefused::Upgraded),
        }
    }

    /// A packet came by the new transport. If no probe is going on, the answer is `Fail`.
    ///
    /// Like Node, this accepts an upgrade without an earlier ping.
    pub(super) fn on_packet(&mut self, packet: &Packet<'_>, now: Duration) -> UpgradeStep {
        match (&mut self.0, packet) {
            (State::Probing { flush, .. }, Packet::Ping("probe")) => {
                *flush = nanos(now);
                UpgradeStep::SendPong
            }
            (State::Probing { .. }, Packet::Upgrade) => {
                self.0 = State::Upgraded;
                UpgradeStep::Swap
            }
            _ => {
                self.fail();
                UpgradeStep::Fail
            }
        }
    }

    /// The new transport is lost, or it sent bytes that are not a packet. The probe has failed, and another
    /// may start. Without a probe this does nothing.
    pub(super) fn fail(&mut self) {
        if self.is_probing() {
            self.0 = State::Idle;
        }
    }

    /// The next action.
    ///
    /// The first release of the poll is due at once after the ping, because the client lets its poll return
    /// before it upgrades. The next ones are due every [`FLUSH_INTERVAL`], because the client may have polled
    /// again before it saw the pong.
    pub(super) fn poll(&mut self, now: Duration) -> UpgradeAction {
        let State::Probing { end, flush } = &mut self.0 else {
            return UpgradeAction::None;
        };
        if nanos(now) >= *end {
            self.0 = State::Idle;
            return UpgradeAction::TimedOut;
        }
        if nanos(now) < *flush {
            return UpgradeAction::None;
        }
        *flush = nanos(now.saturating_add(FLUSH_INTERVAL));
        UpgradeAction::FlushPolling
    }

    /// The time for the next call of [`poll`](Self::poll). `None` if no probe is going on.
    pub(super) fn deadline(&self) -> Option<Duration> {
        match self.0 {
            State::Probing { end, flush } => Some(Duration::from_nanos(flush.min(end))),
            State::Idle | State::Upgraded => None,
        }
    }

    /// Whether a transport is probing.
    pub(super) const fn is_probing(&self) -> bool {
        matches!(self.0, State::Probing { .. })
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn probing() -> Upgrade {
        let mut upgrade = Upgrade::new();
        upgrade.start(ms(0), ms(10_000)).unwrap();
        upgrade
    }

    #[test]
    fn a_probe_then_an_upgrade_swaps_the_transport() {
        let mut upgrade = probing();
        assert_eq!(upgrade.deadline(), Some(ms(10_000)));
        assert_eq!(upgrade.on_packet(&Packet::Ping("probe"), ms(50)), UpgradeStep::SendPong);
        assert_eq!(upgrade.on_packet(&Packet::Upgrade, ms(90)), UpgradeStep::Swap);
        assert_eq!(upgrade, Upgrade::done());
        assert_eq!(upgrade.deadline(), None);
    }

    #[test]
    fn polls_are_released_from_the_ping_on_every_100_ms() {
        let mut upgrade = probing();
        assert_eq!(upgrade.poll(ms(40)), UpgradeAction::None);
        upgrade.on_packet(&Packet::Ping("probe"), ms(50));
        assert_eq!(upgrade.poll(ms(50)), UpgradeAction::FlushPolling);
        assert_eq!(upgrade.poll(ms(50)), UpgradeAction::None);
        assert_eq!(upgrade.deadline(), Some(ms(150)));
        assert_eq!(upgrade.poll(ms(150)), UpgradeAction::FlushPolling);
        assert_eq!(upgrade.deadline(), Some(ms(250)));
    }

    #[test]
    fn a_second_transport_is_refused_while_one_probes_and_after() {
        let mut upgrade = probing();
        assert_eq!(upgrade.start(ms(1), ms(10_000)), Err(UpgradeRefused::Probing));
        upgrade.on_packet(&Packet::Upgrade, ms(2));
        assert_eq!(upgrade.start(ms(3), ms(10_000)), Err(UpgradeRefused::Upgraded));
        assert_eq!(Upgrade::done().start(ms(3), ms(10_000)), Err(UpgradeRefused::Upgraded));
    }

    #[test]
    fn anything_but_a_probe_or_an_upgrade_fails_and_leaves_room_for_another() {
        for packet in [
            Packet::Ping(""),
            Packet::Ping("probed"),
            Packet::Pong("probe"),
            Packet::Message("early"),
            Packet::Binary(Cow::Borrowed(b"early")),
            Packet::Open("{}"),
            Packet::Close,
            Packet::Noop,
        ] {
            let mut upgrade = probing();
            assert_eq!(upgrade.on_packet(&packet, ms(1)), UpgradeStep::Fail);
            assert_eq!(upgrade.deadline(), None);
            assert_eq!(upgrade.start(ms(2), ms(10_000)), Ok(()));
        }
    }

    #[test]
    fn an_upgrade_that_stalls_times_out_and_leaves_room_for_another() {
        let mut upgrade = probing();
        upgrade.on_packet(&Packet::Ping("probe"), ms(50));
        upgrade.poll(ms(9_999));
        assert_eq!(upgrade.deadline(), Some(ms(10_000)));
        assert_eq!(upgrade.poll(ms(10_000)), UpgradeAction::TimedOut);
        assert_eq!(upgrade.poll(ms(10_000)), UpgradeAction::None);
        assert_eq!(upgrade.start(ms(10_001), ms(10_000)), Ok(()));
    }

    #[test]
    fn a_transport_that_closes_late_does_not_undo_the_upgrade() {
        let mut upgrade = probing();
        upgrade.on_packet(&Packet::Upgrade, ms(1));
        upgrade.fail();
        assert_eq!(upgrade, Upgrade::done());
    }

    #[test]
    fn packets_without_a_probe_fail() {
        let mut upgrade = Upgrade::new();
        assert_eq!(upgrade.on_packet(&Packet::Upgrade, ms(0)), UpgradeStep::Fail);
        assert_ne!(upgrade, Upgrade::done());
    }
}
