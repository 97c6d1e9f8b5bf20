//! Heartbeats: how either end notices that the other is gone. Protocol 4, section "Heartbeat".

use std::time::Duration;

/// The heartbeat of one session, at either end.
///
/// Time is what has passed since a moment of the caller's choice, the same for every call. Call
/// [`poll`](Self::poll) at [`deadline`](Self::deadline), or a little later: a worker's timer wheel
/// may be coarse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// When there is something to do next, in nanoseconds.
    deadline: u64,
    /// In milliseconds, as is `timeout`.
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
    /// As `Awaiting`, and another packet has put the deadline off.
    Extended,
    /// The other end pings, by the deadline at the latest.
    Listening,
    /// The deadline has passed without a sign of life.
    Dead,
}

/// What [`Heartbeat::poll`] asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeartbeatAction {
    /// Nothing before [`Heartbeat::deadline`].
    None,
    /// Send a ping, without data.
    SendPing,
    /// The other end is gone: close the session with `ping timeout`.
    TimedOut,
}

impl Heartbeat {
    /// The end that pings: the server of protocol 4. The first ping is due after `interval`, each
    /// further one `interval` after a pong, and a pong within `timeout` of its ping.
    ///
    /// Both are kept in whole milliseconds, at least one and at most 49 days.
    pub fn pinging(now: Duration, interval: Duration, timeout: Duration) -> Self {
        let mut heartbeat = Self::new(interval, timeout, Phase::Resting);
        heartbeat.deadline = after(now, heartbeat.interval);
        heartbeat
    }

    /// The end that is pinged: the client of protocol 4, the server of protocol 3. A ping is due
    /// within `interval` and `timeout` together.
    pub fn listening(now: Duration, interval: Duration, timeout: Duration) -> Self {
        let mut heartbeat = Self::new(interval, timeout, Phase::Listening);
        heartbeat.on_ping(now);
        heartbeat
    }

    fn new(interval: Duration, timeout: Duration, phase: Phase) -> Self {
        Self { deadline: 0, interval: millis(interval), timeout: millis(timeout), phase }
    }

    /// When to call [`poll`](Self::poll). Every `on_…` method may change it.
    pub fn deadline(&self) -> Duration {
        Duration::from_nanos(self.deadline)
    }

    /// What there is to do now. After `TimedOut` the answer stays that.
    pub fn poll(&mut self, now: Duration) -> HeartbeatAction {
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

    /// A pong came. One nobody asked for counts as a sign of life too.
    pub fn on_pong(&mut self, now: Duration) {
        if matches!(self.phase, Phase::Resting | Phase::Awaiting | Phase::Extended) {
            self.phase = Phase::Resting;
            self.deadline = after(now, self.interval);
        }
    }

    /// A ping came. At the pinging end that is an error of the client's, and changes nothing here.
    pub fn on_ping(&mut self, now: Duration) {
        if self.phase == Phase::Listening {
            self.deadline = after(now, self.interval.saturating_add(self.timeout));
        }
    }

    /// Any other packet came. The first one while a pong is awaited starts its time-out anew: the
    /// pong may be queued behind a large message. Node does so since engine.io 6.6.5.
    #[inline]
    pub fn on_packet(&mut self, now: Duration) {
        if self.phase == Phase::Awaiting {
            self.phase = Phase::Extended;
            self.deadline = after(now, self.timeout);
        }
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX).max(1)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn after(now: Duration, millis: u32) -> u64 {
    nanos(now).saturating_add(u64::from(millis) * 1_000_000)
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
    fn a_pong_before_the_ping_puts_the_next_ping_off() {
        let mut heartbeat = server();
        heartbeat.on_pong(ms(10_000));
        assert_eq!(heartbeat.deadline(), ms(35_000));
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
