//! Happy eyeballs (RFC 8305). Where a name has several addresses, they are tried one after another, IPv4 and
//! IPv6 in turn, without waiting for each to fail. The first connection wins.
//!
//! The system's resolver is asked once, and returns both families in the order of RFC 6724. So there is no
//! resolution delay (§3).

use std::{future::Future, io, net::SocketAddr, pin::pin, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::{Instant, sleep_until};

/// The time before the next attempt starts (§5, "Connection Attempt Delay").
const STAGGER: Duration = Duration::from_millis(250);

/// An address, and the reason why there is no connection to it.
pub(super) type Failure = (SocketAddr, io::Error);

/// Makes one connection: over TCP, or over a network of a test.
pub(super) trait Dial {
    type Io;

    fn dial(&self, address: SocketAddr) -> impl Future<Output = io::Result<Self::Io>> + Send;
}

/// The first connection, or the failure of each address. The other attempts are dropped. The next address is
/// tried when the one before has failed, or after [`STAGGER`].
pub(super) async fn race<D: Dial>(
    dial: &D,
    addresses: Vec<SocketAddr>,
    deadline: Instant,
) -> Result<D::Io, Vec<Failure>> {
    let mut waiting = interleave(addresses).into_iter().peekable();
    let mut attempts = FuturesUnordered::new();
    let mut underway = Vec::new();
    let mut failures = Vec::new();
    let mut turn = pin!(sleep_until(Instant::now()));
    let mut end = pin!(sleep_until(deadline));
    while waiting.peek().is_some() || !attempts.is_empty() {
        tokio::select! {
            biased;
            Some((address, result)) = attempts.next() => match result {
                Ok(io) => return Ok(io),
                Err(error) => {
                    underway.retain(|&other| other != address);
                    failures.push((address, error));
                    turn.as_mut().reset(Instant::now());
                }
            },
            () = &mut end => {
                failures.extend(underway.into_iter().chain(waiting).map(|address| (address, io::ErrorKind::TimedOut.into())));
                break;
            }
            () = &mut turn, if waiting.peek().is_some() => {
                if let Some(address) = waiting.next() {
                    underway.push(address);
                    attempts.push(async move { (address, dial.dial(address).await) });
                }
                turn.as_mut().reset(Instant::now() + STAGGER);
            }
        }
    }
    Err(failures)
}

/// The two families in turn, beginning with that of the first address. Each family keeps its order (§4).
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_ipv6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_ipv6);
    let mut sorted = Vec::with_capacity(first.len() + second.len());
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    loop {
        let pair = (first.next(), second.next());
        sorted.extend(pair.0.into_iter().chain(pair.1));
        if pair == (None, None) {
            return sorted;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, sync::Mutex};

    use tokio::time::sleep;

    use super::*;

    const SIX: [&str; 3] = ["[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::3]:1"];
    const FOUR: [&str; 2] = ["192.0.2.1:1", "192.0.2.2:1"];
    /// A time that no attempt in the tests takes.
    const NEVER: u64 = u64::MAX;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// A network. It has, for each address, the milliseconds until its answer, and whether the answer is a
    /// connection.
    struct Network {
        answers: HashMap<SocketAddr, (u64, bool)>,
        start: Instant,
        /// The time at which each address was tried.
        tried: Mutex<Vec<(u128, SocketAddr)>>,
    }

    impl Dial for Network {
        type Io = SocketAddr;

        async fn dial(&self, address: SocketAddr) -> io::Result<SocketAddr> {
            self.tried.lock().unwrap().push((self.start.elapsed().as_millis(), address));
            let (after, connects) = self.answers[&address];
            sleep(Duration::from_millis(after)).await;
            if connects { Ok(address) } else { Err(io::ErrorKind::ConnectionRefused.into()) }
        }
    }

    type Ran = (Result<SocketAddr, Vec<Failure>>, u128, Vec<(u128, SocketAddr)>);

    /// The winner, its time, and the time at which each address was tried.
    async fn run(answers: &[(&str, u64, bool)], limit: Duration) -> Ran {
        let start = Instant::now();
        let addresses = answers.iter().map(|(text, ..)| address(text)).collect();
        let answers =
            answers.iter().map(|&(text, after, connects)| (address(text), (after, connects))).collect();
        let network = Network { answers, start, tried: Mutex::default() };
        let result = race(&network, addresses, start + limit).await;
        (result, start.elapsed().as_millis(), network.tried.into_inner().unwrap())
    }

    #[test]
    fn the_families_take_turns_from_the_first_address_on() {
        let all = |texts: &[&str]| texts.iter().map(|text| address(text)).collect::<Vec<_>>();
        let resolved = all(&[SIX[0], SIX[1], SIX[2], FOUR[0], FOUR[1]]);
        assert_eq!(interleave(resolved), all(&[SIX[0], FOUR[0], SIX[1], FOUR[1], SIX[2]]));
        let resolved = all(&[FOUR[0], SIX[0], SIX[1]]);
        assert_eq!(interleave(resolved), all(&[FOUR[0], SIX[0], SIX[1]]));
        assert_eq!(interleave(all(&SIX)), all(&SIX));
        assert_eq!(interleave(Vec::new()), []);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_connects_in_time_is_the_only_one_tried() {
        let (result, at, tried) =
            run(&[(SIX[0], 249, true), (FOUR[0], 0, true)], Duration::from_secs(10)).await;
        assert_eq!((result.unwrap(), at), (address(SIX[0]), 249));
        assert_eq!(tried, [(0, address(SIX[0]))]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_hangs_is_overtaken_after_a_quarter_of_a_second() {
        let network =
            [(SIX[0], NEVER, true), (SIX[1], NEVER, true), (FOUR[0], 600, true), (FOUR[1], 0, true)];
        let (result, at, tried) = run(&network, Duration::from_secs(10)).await;
        assert_eq!((result.unwrap(), at), (address(FOUR[1]), 750));
        assert_eq!(
            tried,
            [(0, address(SIX[0])), (250, address(FOUR[0])), (500, address(SIX[1])), (750, address(FOUR[1]))]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_was_overtaken_may_still_win() {
        let (result, at, _) =
            run(&[(SIX[0], 300, true), (FOUR[0], 100, true)], Duration::from_secs(10)).await;
        assert_eq!((result.unwrap(), at), (address(SIX[0]), 300));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_fails_is_followed_at_once() {
        let network = [(SIX[0], 10, false), (FOUR[0], 20, false), (FOUR[1], 5, true)];
        let (result, at, tried) = run(&network, Duration::from_secs(10)).await;
        assert_eq!((result.unwrap(), at), (address(FOUR[1]), 35));
        assert_eq!(tried, [(0, address(SIX[0])), (10, address(FOUR[0])), (30, address(FOUR[1]))]);
    }

    #[tokio::test(start_paused = true)]
    async fn when_none_connects_each_is_told_of() {
        let network = [(SIX[0], NEVER, true), (FOUR[0], 10, false)];
        let (result, at, _) = run(&network, Duration::from_secs(3)).await;
        let failures = result.unwrap_err();
        let kinds: Vec<_> = failures.iter().map(|(address, error)| (*address, error.kind())).collect();
        let expected = [
            (address(FOUR[0]), io::ErrorKind::ConnectionRefused),
            (address(SIX[0]), io::ErrorKind::TimedOut),
        ];
        assert_eq!((kinds.as_slice(), at), (expected.as_slice(), 3000));
        let (result, at, _) = run(&[], Duration::from_secs(3)).await;
        assert!(result.unwrap_err().is_empty() && at == 0);
    }
}
