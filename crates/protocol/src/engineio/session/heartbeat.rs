//! Heartbeats: each end detects with them that the other end is gone. Protocol 4, section "Heartbeat".

use std::time::Duration;

use super::nanos;

/// The heartbeat of one session, at either end.
///
/// Times count from a moment that the caller chooses, the same for every call. Call [`poll`](Self::poll) at
/// [`deadline`](Self::deadline) or a little later. A worker's timer wheel may be coarse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heartbeat {
    /// The time of the next action, in nanoseconds.
    deadline: u64,
    /// In milliseconds, like `timeout`.
    interval: u32,
    timeout: u32,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The next ping is due at the deadline.
    Resting,
    /// A pong is due by the deadline.
    Awaiting,
    /// Like `Awaiting`, after another packet has moved the deadline.
    Extended,
    /// The other end sends pings, the next one by the deadline.
    Listening,
    /// The deadline has passed, and the other end was silent.
    Dead,
}

/// The action that [`Heartbeat::poll`] asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeartbeatAction {
    /// Do nothing before [`Heartbeat::deadline`].
    None,
    /// Send a ping, without data.
    SendPing,
    /// The other end is gone: close the session with `ping timeout`.
    TimedOut,
}

impl Heartbeat {
    /// The end that sends pings: the server of protocol 4. The first ping is due after `interval`, and each
    /// further one `interval` after a pong. A pong is due within `timeout` after its ping.
    ///
    /// Both times are kept in whole milliseconds, at least one and at most 49 days.
    pub(super) fn pinging(now: Duration, interval: Duration, timeout: Duration) -> Self {
        let mut heartbeat = Self::new(interval, timeout, Phase::Resting);
        heartbeat.deadline = after(now, heartbeat.interval);
        heartbeat
    }

    /// The end that receives pings: the client of protocol 4, the server of protocol 3. A ping is due within
    /// the sum of `interval` and `timeout`.
    pub(super) fn listening(now: Duration, interval: Duration, timeout: Duration) -> Self {
        let mut heartbeat = Self::new(interval, timeout, Phase::Listening);
        heartbeat.on_ping(now);
        heartbeat
    }

    fn new(interval: Duration, timeout: Duration, phase: Phase) -> Self {
        Self { deadline: 0, interval: millis(interval), timeout: millis(timeout), phase }
    }

    /// The time for the next call of [`poll`](Self::poll). Every `on_…` method may change it.
    pub(super) fn deadline(&self) -> Duration {
        Duration::from_nanos(self.deadline)
    }

    /// The next action. After `TimedOut` the answer stays `TimedOut`.
    pub(super) fn poll(&mut self, now: Duration) -> HeartbeatAction {
        if nanos(now) < self.deadline {
            return HeartbeatAction::None;
        }
        if self.phase == Phase::Resting {
            self.phase = Phase::Awaiting;
            self.deadline = after(now, self.timeout);
            return HeartbeatAction::SendPing;
        }
        self.phase = Phase::Dead;
        HeartbeatAction::TimedOut
    }

    /// Whether a ping was sent and no packet has come since. If so, call [`on_packet`](Self::on_packet) for
    /// the next packet.
    #[inline]
    pub(super) fn awaits_packet(&self) -> bool {
        self.phase == Phase::Awaiting
    }

    /// Whether the other end has been silent for too long at `now`. [`poll`](Self::poll) would then return
    /// `TimedOut`.
    pub(super) fn is_overdue(&self, now: Duration) -> bool {
        self.phase != Phase::Resting && nanos(now) >= self.deadline
    }

    /// Excuses a silence that this end caused, because it did not read. The end that sends pings sends the
    /// next one at the next [`poll`](Self::poll), because the other end waits for pings too.
    pub(super) fn excuse(&mut self, now: Duration) {
        match self.phase {
            Phase::Awaiting | Phase::Extended => {
                self.phase = Phase::Resting;
                self.deadline = nanos(now);
            }
            Phase::Listening => self.on_ping(now),
            Phase::Resting | Phase::Dead => {}
        }
    }

    /// This end reads again after a pause. An awaited pong has its whole time from now on.
    pub(super) fn resume(&mut self, now: Duration) {
        match self.phase {
            Phase::Awaiting => {
                self.phase = Phase::Extended;
                self.deadline = after(now, self.timeout);
            }
            Phase::Extended | Phase::Listening => self.excuse(now),
            Phase::Resting | Phase::Dead => {}
        }
    }

    /// A pong came. A pong without a ping changes nothing.
    ///
    /// The next ping is due `interval` after it, but not later than `interval` and half of `timeout` after
    /// the answered ping. The other end gives up `interval` and `timeout` after a ping, and a slow pong must
    /// not use up that time.
    pub(super) fn on_pong(&mut self, now: Duration) {
        let (interval, timeout) = (millis_to_nanos(self.interval), millis_to_nanos(self.timeout));
        let latest = match self.phase {
            Phase::Awaiting => self.deadline.saturating_sub(timeout / 2).saturating_add(interval),
            // The ping was sent at most twice the time-out before the deadline.
            Phase::Extended => self.deadline.saturating_sub(timeout + timeout / 2).saturating_add(interval),
            Phase::Resting | Phase::Listening | Phase::Dead => return,
        };
        self.phase = Phase::Resting;
        self.deadline = after(now, self.interval).min(latest).max(nanos(now));
    }

    /// A ping came. At the end that sends pings this is the client's error, and changes nothing here.
    pub(super) fn on_ping(&mut self, now: Duration) {
        if self.phase == Phase::Listening {
            self.deadline = after(now, self.interval.saturating_add(self.timeout));
        }
    }

    /// Another packet came. The first one while a pong is awaited restarts the time-out once, because the
    /// pong may be queued behind a large message. Node does so since engine.io 6.6.5.
    #[inline]
    pub(super) fn on_packet(&mut self, now: Duration) {
        if self.phase == Phase::Awaiting {
            self.phase = Phase::Extended;
            self.deadline = after(now, self.timeout);
        }
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX).max(1)
}

fn after(now: Duration, millis: u32) -> u64 {
    nanos(now).saturating_add(millis_to_nanos(millis))
}

fn millis_to_nanos(millis: u32) -> u64 {
    u64::from(millis) * 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn server() -> Heartbeat {
        Heartbeat::pinging(ms(1000), ms(25_000), ms(20_000))
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<Heartbeat>() <= 24);
    }

    #[test]
    fn a_ping_is_sent_each_interval_as_long_as_pongs_come() {
        let mut heartbeat = server();
        assert_eq!(heartbeat.deadline(), ms(26_000));
        assert_eq!(heartbeat.poll(ms(25_999)), HeartbeatAction::None);
        assert_eq!(heartbeat.poll(ms(26_000)), HeartbeatAction::SendPing);
        assert_eq!(heartbeat.poll(ms(26_000)), HeartbeatAction::None);
        heartbeat.on_pong(ms(26_100));
        assert_eq!(heartbeat.deadline(), ms(51_100));
        assert_eq!(heartbeat.poll(ms(51_105)), HeartbeatAction::SendPing);
        assert_eq!(heartbeat.deadline(), ms(71_105));
    }

    #[test]
    fn a_ping_without_pong_times_out_for_good() {
        let mut heartbeat = server();
        heartbeat.poll(ms(26_000));
        assert_eq!(heartbeat.poll(ms(45_999)), HeartbeatAction::None);
        assert_eq!(heartbeat.poll(ms(46_000)), HeartbeatAction::TimedOut);
        heartbeat.on_pong(ms(46_001));
        assert_eq!(heartbeat.poll(ms(46_002)), HeartbeatAction::TimedOut);
    }

    #[test]
    fn another_packet_puts_the_timeout_off_once_for_each_ping() {
        let mut heartbeat = server();
        heartbeat.on_packet(ms(2000));
        assert_eq!(heartbeat.deadline(), ms(26_000));
        heartbeat.poll(ms(26_000));
        heartbeat.on_packet(ms(30_000));
        assert_eq!(heartbeat.deadline(), ms(50_000));
        heartbeat.on_packet(ms(40_000));
        assert_eq!(heartbeat.deadline(), ms(50_000));
        heartbeat.on_pong(ms(41_000));
        heartbeat.poll(ms(66_000));
        heartbeat.on_packet(ms(70_000));
        assert_eq!(heartbeat.deadline(), ms(90_000));
    }

    #[test]
    fn a_slow_pong_does_not_put_the_next_ping_off_for_longer_than_the_client_waits() {
        let mut heartbeat = server();
        heartbeat.poll(ms(26_000));
        heartbeat.on_pong(ms(45_000));
        assert_eq!(heartbeat.deadline(), ms(61_000));
        heartbeat.poll(ms(61_000));
        heartbeat.on_packet(ms(80_000));
        heartbeat.on_pong(ms(99_000));
        assert_eq!(heartbeat.deadline(), ms(99_000));
    }

    #[test]
    fn a_silence_of_ones_own_doing_is_excused_by_another_ping() {
        let mut heartbeat = server();
        heartbeat.poll(ms(26_000));
        assert!(!heartbeat.is_overdue(ms(45_999)) && heartbeat.is_overdue(ms(46_000)));
        heartbeat.excuse(ms(46_000));
        assert_eq!(heartbeat.poll(ms(46_000)), HeartbeatAction::SendPing);
        heartbeat.resume(ms(60_000));
        assert_eq!(heartbeat.deadline(), ms(80_000));
        assert_eq!(heartbeat.poll(ms(80_000)), HeartbeatAction::TimedOut);
    }

    #[test]
    fn a_pong_that_nobody_asked_for_does_not_put_the_next_ping_off() {
        let mut heartbeat = server();
        heartbeat.on_pong(ms(10_000));
        assert_eq!(heartbeat.deadline(), ms(26_000));
    }

    #[test]
    fn the_listening_end_expects_a_ping_within_interval_and_timeout() {
        let mut heartbeat = Heartbeat::listening(ms(0), ms(25_000), ms(20_000));
        assert_eq!(heartbeat.deadline(), ms(45_000));
        heartbeat.on_ping(ms(25_000));
        heartbeat.on_packet(ms(26_000));
        heartbeat.on_pong(ms(26_000));
        assert_eq!(heartbeat.poll(ms(69_999)), HeartbeatAction::None);
        assert_eq!(heartbeat.poll(ms(70_000)), HeartbeatAction::TimedOut);
        heartbeat.on_ping(ms(70_001));
        assert_eq!(heartbeat.poll(ms(70_001)), HeartbeatAction::TimedOut);
    }

    #[test]
    fn a_zero_interval_does_not_spin() {
        let mut heartbeat = Heartbeat::pinging(ms(0), ms(0), ms(0));
        assert_eq!(heartbeat.poll(ms(0)), HeartbeatAction::None);
        assert_eq!(heartbeat.poll(Duration::MAX), HeartbeatAction::SendPing);
    }
}
