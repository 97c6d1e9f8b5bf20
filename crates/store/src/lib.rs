//! A store on disk for Switchboard's histories: with it, clients are recovered after the server was started again,
//! also if it was killed at any moment.
//!
//! It is an embedded database ([fjall](https://docs.rs/fjall), a log-structured merge tree) in a folder that one
//! process uses at a time.
//!
//! ```no_run
//! use std::sync::Arc;
//! use switchboard::{RecoveryOptions, Switchboard};
//! use switchboard_store::DiskStore;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Arc::new(DiskStore::open("/var/lib/chat")?);
//! let io = Switchboard::builder().recovery(RecoveryOptions::default().store(store)).build()?;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use fjall::{Batch, Keyspace, PartitionCreateOptions, PartitionHandle, PersistMode};
use switchboard_hub::{Change, Kept, MemberId, Position, Store, StoreError};

/// How safe a written change is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// It outlives the process: the system has it. A machine that loses its power may lose the last changes.
    #[default]
    Process,
    /// It outlives the machine's power too: the disk has it. Each write waits for the disk (`fsync`). Changes that
    /// come meanwhile are written together.
    Machine,
}

/// A store in a folder. Its methods wait for the disk; the hub calls them on a thread of their own, but for
/// [`load`](Store::load).
pub struct DiskStore {
    keyspace: Keyspace,
    /// Events, by scope and position.
    events: PartitionHandle,
    /// Sessions, by scope and member.
    sessions: PartitionHandle,
    /// What is known of a scope as a whole, by scope and kind.
    scopes: PartitionHandle,
    durability: Durability,
    /// Locked while the store is open.
    _lock: File,
}

impl fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskStore").field("durability", &self.durability).finish_non_exhaustive()
    }
}

/// The error of the database, as the hub knows it.
fn failed(error: fjall::Error) -> StoreError {
    StoreError(Box::new(error))
}

impl DiskStore {
    /// Opens the store in a folder, which is made if it is not there.
    ///
    /// # Errors
    /// The folder is not to be read or written, or another process has it, or it holds something else.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(folder, Durability::default())
    }

    /// As [`open`](Self::open), with another durability.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(folder: impl AsRef<Path>, durability: Durability) -> Result<Self, StoreError> {
        let lock = lock(folder.as_ref()).map_err(|error| StoreError(error.into()))?;
        let keyspace = fjall::Config::new(folder).open().map_err(failed)?;
        let partition =
            |name| keyspace.open_partition(name, PartitionCreateOptions::default()).map_err(failed);
        let (events, sessions, scopes) = (partition("events")?, partition("sessions")?, partition("scopes")?);
        Ok(Self { events, sessions, scopes, keyspace, durability, _lock: lock })
    }

    fn add(&self, batch: &mut Batch, scope: &str, change: &Change) -> Result<(), StoreError> {
        match change {
            Change::Epoch(epoch) => batch.insert(&self.scopes, key(scope, b"epoch"), epoch.to_be_bytes()),
            Change::Event { position, bytes } => {
                batch.insert(&self.events, key(scope, &position_key(*position)), bytes.as_slice());
            }
            Change::Forget { through, time } => {
                let forgotten = [&position_key(*through)[..], &time.to_be_bytes()].concat();
                batch.insert(&self.scopes, key(scope, b"forgotten"), forgotten);
                let until = key(scope, &position_key(*through));
                for event in self.events.range(key(scope, b"")..=until) {
                    batch.remove(&self.events, event.map_err(failed)?.0);
                }
            }
            Change::Session { id, bytes } => {
                batch.insert(&self.sessions, key(scope, id.as_str().as_bytes()), bytes.as_slice());
            }
            Change::End(id) => batch.remove(&self.sessions, key(scope, id.as_str().as_bytes())),
            _ => {}
        }
        Ok(())
    }
}

impl Store for DiskStore {
    fn load(&self, scope: &str) -> Result<Kept, StoreError> {
        let mut kept = Kept::default();
        if let Some(epoch) = self.scopes.get(key(scope, b"epoch")).map_err(failed)? {
            kept.epoch = number(&epoch)?;
        }
        if let Some(forgotten) = self.scopes.get(key(scope, b"forgotten")).map_err(failed)? {
            let (position, time) = forgotten.split_at_checked(16).ok_or_else(malformed)?;
            kept.forgotten = (read_position(position)?, number(time)?);
        }
        let prefix = key(scope, b"");
        for event in self.events.prefix(&prefix) {
            let (place, bytes) = event.map_err(failed)?;
            let position = read_position(place.get(prefix.len()..).unwrap_or_default())?;
            kept.events.push((position, bytes.to_vec()));
        }
        for session in self.sessions.prefix(&prefix) {
            let (place, bytes) = session.map_err(failed)?;
            let id = place.get(prefix.len()..).and_then(|id| MemberId::new(id.try_into().ok()?));
            kept.sessions.push((id.ok_or_else(malformed)?, bytes.to_vec()));
        }
        Ok(kept)
    }

    fn write(&self, changes: &[(Arc<str>, Change)]) -> Result<(), StoreError> {
        let mode = match self.durability {
            Durability::Process => PersistMode::Buffer,
            Durability::Machine => PersistMode::SyncData,
        };
        // A batch holds what comes before a `Forget` and the `Forget` itself apart, since it reads what is there.
        let mut batch = self.keyspace.batch();
        for (scope, change) in changes {
            if matches!(change, Change::Forget { .. }) {
                std::mem::replace(&mut batch, self.keyspace.batch()).commit().map_err(failed)?;
            }
            self.add(&mut batch, scope, change)?;
        }
        batch.durability(Some(mode)).commit().map_err(failed)
    }
}

/// Takes the folder for this process. The lock ends with the process, however it ends.
fn lock(folder: &Path) -> std::io::Result<File> {
    std::fs::create_dir_all(folder)?;
    let file = File::create(folder.join("lock"))?;
    #[cfg(unix)]
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

/// The key of something in a scope: the length of the scope's name, the name, and the rest.
fn key(scope: &str, rest: &[u8]) -> Vec<u8> {
    let length = u32::try_from(scope.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&length, scope.as_bytes(), rest].concat()
}

/// A position so that keys are in the order of positions.
fn position_key(position: Position) -> [u8; 16] {
    (u128::from(position.epoch) << 64 | u128::from(position.number)).to_be_bytes()
}

fn malformed() -> StoreError {
    StoreError("the folder holds something else".into())
}

fn number(bytes: &[u8]) -> Result<u64, StoreError> {
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| malformed())
}

fn read_position(bytes: &[u8]) -> Result<Position, StoreError> {
    let both = bytes.try_into().map(u128::from_be_bytes).map_err(|_| malformed())?;
    Ok(Position { epoch: (both >> 64) as u64, number: both as u64 })
}
