//! Properties of any session, whatever its ends do. Both machines run against each other in virtual time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests are tests too")]

mod calls;
mod server;
mod world;

use proptest::collection::vec;
use proptest::prelude::*;
use switchboard_protocol::engineio::{Ending, Version};

use world::{Step, World};

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V4), Just(Version::V3)]
}

/// Steps that do not harm a session.
fn harmless() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..400_u16).prop_map(Step::Wait),
        1 => any::<u16>().prop_map(Step::Wait),
        3 => (0..4_u8).prop_map(Step::ServerSends),
        3 => (0..4_u8).prop_map(Step::ClientSends),
        1 => Just(Step::ServerPauses),
        1 => Just(Step::ServerResumes),
        1 => Just(Step::ClientProbes),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => harmless(),
        2 => (0..4_u8).prop_map(Step::ServerSendsAndCloses),
        1 => Just(Step::ServerBreaks),
        1 => Just(Step::ClientCloses),
        1 => Just(Step::ProbeLost),
        1 => Just(Step::Silence),
    ]
}

fn delays() -> impl Strategy<Value = Vec<u16>> {
    vec(0..300_u16, 1..20)
}

fn run(version: Version, delays: Vec<u16>, steps: &[Step]) -> World {
    let mut world = World::new(version, delays);
    for step in steps {
        world.take(*step);
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn a_session_that_nobody_closes_loses_nothing_and_goes_on(
        version in version(), delays in delays(), steps in vec(harmless(), 0..40),
    ) {
        let mut world = run(version, delays, &steps);
        world.finish();
        prop_assert!(world.torn || world.are_open());
        if !world.torn {
            prop_assert_eq!(world.at_client.received, world.at_server.sent);
            prop_assert_eq!(world.at_server.received, world.at_client.sent);
        }
    }

    #[test]
    fn packets_sent_before_an_orderly_close_arrive(
        version in version(), delays in delays(), steps in vec(harmless(), 0..30), last in 0..100_u8,
    ) {
        let mut world = run(version, delays, &steps);
        let was_open = world.are_open();
        world.take(Step::ServerSendsAndCloses(last));
        world.finish();
        prop_assert!(world.are_over());
        if was_open && !world.torn {
            prop_assert_eq!(world.at_client.received, world.at_server.sent);
            prop_assert_eq!(world.at_server.end, Some(Ending::Orderly));
        }
    }

    #[test]
    fn packets_of_a_client_before_its_close_arrive(
        version in version(), delays in delays(), steps in vec(harmless(), 0..30), last in 0..100_u8,
    ) {
        let mut world = run(version, delays, &steps);
        let was_open = world.are_open();
        world.take(Step::ClientSends(last));
        world.take(Step::ClientCloses);
        world.finish();
        prop_assert!(world.are_over());
        if was_open && !world.torn {
            prop_assert_eq!(world.at_server.received, world.at_client.sent);
        }
    }

    #[test]
    fn both_ends_end_when_one_does_or_nothing_arrives(
        version in version(), delays in delays(), steps in vec(any_step(), 0..60),
    ) {
        let mut world = run(version, delays, &steps);
        world.finish();
        let ended = world.at_server.end.is_some() || world.at_client.end.is_some() || world.is_silent();
        prop_assert_eq!(world.are_over(), ended);
    }
}

proptest! {
    #[test]
    fn any_calls_in_any_order_keep_the_servers_rules(bytes in vec(any::<u8>(), 0..400)) {
        calls::run(&bytes);
    }
}

#[test]
fn an_upgrade_succeeds_amid_messages_either_way() {
    for version in [Version::V3, Version::V4] {
        let mut world = World::new(version, vec![7, 120, 45, 3]);
        world.take(Step::ClientProbes);
        for _ in 0..100 {
            world.take(Step::ServerSends(3));
            world.take(Step::ClientSends(2));
            world.take(Step::Wait(11));
        }
        world.finish();
        assert!(world.is_upgraded() && world.are_open());
        assert_eq!((world.at_client.received, world.at_server.received), (300, 200));
    }
}
