//! Who may use the admin page.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::{Error, Namespace, Socket};

/// How long a login lasts.
const SESSION_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Logins that are remembered. With more the oldest is forgotten.
const MAX_SESSIONS: usize = 1000;

/// Passwords that are compared at a time. Each takes a thread some 50 ms or more.
const COMPARED_AT_ONCE: usize = 2;

/// Attempts to log in that may be under way.
const MAX_ATTEMPTS: usize = 32;

/// The name and the password of the page's users, and who has logged in.
#[derive(Clone)]
pub(super) struct Login {
    username: String,
    password_hash: String,
    /// The ends of logins, by their ids.
    sessions: Arc<Mutex<HashMap<String, Instant>>>,
    compare: Arc<Semaphore>,
    attempts: Arc<Semaphore>,
}

/// The id of a login that the page does not know yet.
pub(super) struct NewSession(pub(super) String);

/// What the page says of itself: an id of a login, or a name and a password.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Credentials {
    session_id: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

/// Lets nobody but users who have logged in into the namespace.
pub(super) fn require(admin: &Namespace, login: &Arc<Login>) {
    let login = Arc::clone(login);
    admin.middleware(async move |socket: Socket| -> crate::Result {
        let given = socket.auth_as::<Credentials>().unwrap_or_default();
        if given.session_id.as_deref().is_some_and(|id| login.knows(id)) {
            return Ok(());
        }
        let (Some(username), Some(password)) = (given.username, given.password) else {
            return Err(invalid());
        };
        let id = login.log_in(&username, password).await?;
        socket.insert(NewSession(id));
        Ok(())
    });
}

/// The page knows this text.
fn invalid() -> Error {
    Error::new("invalid credentials")
}

impl Login {
    pub(super) fn new(username: String, password_hash: String) -> Self {
        Self {
            username,
            password_hash,
            sessions: Arc::default(),
            compare: Arc::new(Semaphore::new(COMPARED_AT_ONCE)),
            attempts: Arc::new(Semaphore::new(MAX_ATTEMPTS)),
        }
    }

    /// # Errors
    /// The hash is not one of bcrypt's.
    pub(super) fn check(&self) -> Result<(), String> {
        let parts = self.password_hash.parse::<bcrypt::HashParts>();
        parts.map(drop).map_err(|error| format!("the hash of the admin's password is not bcrypt's: {error}"))
    }

    fn knows(&self, id: &str) -> bool {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.get(id).is_some_and(|end| Instant::now() < *end)
    }

    /// Returns the id of the login. The password is compared whether or not the name is right, so that the
    /// time tells nothing of the name.
    async fn log_in(&self, username: &str, password: String) -> crate::Result<String> {
        let Ok(_attempt) = self.attempts.try_acquire() else {
            return Err(Error::new("too many attempts to log in"));
        };
        let _turn = self.compare.acquire().await.map_err(|_closed| invalid())?;
        let hash = self.password_hash.clone();
        let compared = tokio::task::spawn_blocking(move || bcrypt::verify(password, &hash)).await;
        if !matches!(compared, Ok(Ok(true))) || username != self.username {
            tracing::info!("a login of the admin page was refused");
            return Err(invalid());
        }
        self.new_session()
    }

    fn new_session(&self) -> crate::Result<String> {
        let mut random = [0_u8; 16];
        getrandom::fill(&mut random).map_err(|_no_randomness| Error::new("no randomness for a login"))?;
        let id = format!("{:032x}", u128::from_be_bytes(random));
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        sessions.retain(|_, end| now < *end);
        if sessions.len() >= MAX_SESSIONS
            && let Some(oldest) = sessions.iter().min_by_key(|(_, end)| **end).map(|(id, _)| id.clone())
        {
            sessions.remove(&oldest);
        }
        sessions.insert(id.clone(), now + SESSION_TIME);
        Ok(id)
    }
}
