//! The store on disk keeps what the store in memory keeps, also if it is opened again after each write.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use proptest::prelude::*;
use switchboard_hub::{Change, Kept, MemberId, MemoryStore, Position, Store};
use switchboard_store::{DiskStore, Durability};

fn position() -> impl Strategy<Value = Position> {
    (1..3_u64, 0..20_u64).prop_map(|(epoch, number)| Position { epoch, number })
}

fn id() -> impl Strategy<Value = MemberId> {
    "[AB]{20}".prop_map(|id| MemberId::parse(&id).expect("an id"))
}

fn change() -> impl Strategy<Value = Change> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..20);
    prop_oneof![
        any::<u64>().prop_map(Change::Epoch),
        (position(), bytes()).prop_map(|(position, bytes)| Change::Event { position, bytes }),
        (position(), any::<u64>()).prop_map(|(through, time)| Change::Forget { through, time }),
        (id(), bytes()).prop_map(|(id, bytes)| Change::Session { id, bytes }),
        id().prop_map(Change::End),
    ]
}

/// Names of scopes that begin alike.
fn scope() -> impl Strategy<Value = Arc<str>> {
    prop_oneof![Just("/"), Just("/a"), Just("/ab"), Just("")].prop_map(Arc::from)
}

fn sorted(mut kept: Kept) -> Kept {
    kept.sessions.sort();
    kept
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_disk_keeps_what_memory_keeps(
        batches in prop::collection::vec(prop::collection::vec((scope(), change()), 0..30), 1..4),
        machine: bool,
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let durability = if machine { Durability::Machine } else { Durability::Process };
        let memory = MemoryStore::default();
        for changes in &batches {
            let disk = DiskStore::open_with(folder.path(), durability).expect("a store");
            memory.write(changes).expect("memory");
            disk.write(changes).expect("the disk");
            drop(disk);
            let disk = DiskStore::open(folder.path()).expect("a store");
            for scope in ["/", "/a", "/ab", "", "/other"] {
                let [disk, memory] = [disk.load(scope), memory.load(scope)].map(|kept| sorted(kept.expect("kept")));
                prop_assert_eq!(disk, memory, "{}", scope);
            }
        }
    }
}

#[test]
fn a_folder_that_another_store_has_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let _one = DiskStore::open(folder.path()).expect("a store");
    assert!(DiskStore::open(folder.path()).is_err());
}
