//! Any steps of both ends of an Engine.IO session, and any calls of the server's end alone. The rules must
//! hold, and every session must come to an end.
#![no_main]

#[path = "../../crates/protocol/tests/engineio_session/calls.rs"]
mod calls;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../../crates/protocol/tests/engineio_session/world.rs"]
mod world;

use libfuzzer_sys::fuzz_target;
use switchboard_protocol::engineio::Version;
use world::{Step, World};

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    if first & 1 == 0 {
        return calls::run(rest);
    }
    let version = if first & 2 == 0 { Version::V4 } else { Version::V3 };
    let (delays, steps) = rest.split_at(rest.len().min(usize::from(first >> 4)));
    let mut world = World::new(version, delays.iter().map(|delay| u16::from(*delay)).collect());
    // A whole life of a session takes some steps. Many more only take time.
    for step in steps.chunks_exact(2).take(100) {
        world.take(read(step[0], step[1]));
    }
    world.finish();
    let ended = world.at_server.end.is_some() || world.at_client.end.is_some() || world.is_silent();
    assert_eq!(world.are_over(), ended);
});

fn read(kind: u8, how: u8) -> Step {
    match kind % 16 {
        0..=3 => Step::Wait(how.into()),
        4 => Step::Wait(u16::from(how) * 256),
        5 | 6 => Step::ServerSends(how % 4),
        7 | 8 => Step::ClientSends(how % 4),
        9 => Step::ServerPauses,
        10 => Step::ServerResumes,
        11 => Step::ClientProbes,
        12 => Step::ProbeLost,
        13 => Step::ServerSendsAndCloses(how % 4),
        14 => Step::ClientCloses,
        _ if how == 0 => Step::Silence,
        _ if how == 1 => Step::ServerBreaks,
        _ => Step::ClientProbes,
    }
}
