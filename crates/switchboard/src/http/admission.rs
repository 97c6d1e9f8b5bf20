//! A user's own check of each conversation before it begins (`allow_request`): at once or in time, with a
//! refusal of any status, or with values for the session.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use http::header::IntoHeaderName;
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderValue, StatusCode};

use super::{Answer, plain};
use crate::Peer;

/// Decides whether a conversation may begin: [`new`](Self::new) at once, [`from_async`](Self::from_async) in
/// time.
///
/// It is asked once for each session of Engine.IO, by its first request, and for each raw WebSocket. A
/// WebSocket over HTTP/2 is asked for with `CONNECT` rather than `GET`; `Host` and `Cookie` are there as over
/// HTTP/1.1. A check that panics is a 500 for that request.
///
/// ```
/// use switchboard::{AllowRequest, Allowed, Refusal};
///
/// #[derive(Clone)]
/// struct User(String);
///
/// let by_token = AllowRequest::new(|head: &http::request::Parts, _peer| {
///     let token = head.headers.get("authorization").and_then(|token| token.to_str().ok());
///     match token.and_then(|token| token.strip_prefix("Bearer ")) {
///         Some(name) => Ok(Allowed::with(User(name.to_owned()))), // `Extension<User>` in handlers
///         None => Err(Refusal::new(http::StatusCode::UNAUTHORIZED, "a token is needed")),
///     }
/// });
/// # let _ = by_token;
/// ```
#[derive(Clone)]
pub struct AllowRequest(Check);

#[derive(Clone)]
enum Check {
    Now(Arc<CheckNow>),
    Later(Arc<CheckLater>),
}

type CheckNow = dyn Fn(&Parts, Peer) -> Result<Allowed, Refusal> + Send + Sync;
type CheckLater = dyn Fn(Parts, Peer) -> LaterAllowed + Send + Sync;

/// The answer of a check that takes time.
type LaterAllowed = Pin<Box<dyn Future<Output = Result<Allowed, Refusal>> + Send>>;

/// What a check has said.
pub(crate) enum Asked {
    Now(Result<Allowed, Refusal>),
    Later(LaterAllowed),
}

impl AllowRequest {
    /// A check that decides at once. It returns `Ok(())` or [`Allowed`] values for the session; its error is
    /// a [`Refusal`], or the message of one with a 403.
    pub fn new<R: IntoAllowed>(check: impl Fn(&Parts, Peer) -> R + Send + Sync + 'static) -> Self {
        Self(Check::Now(Arc::new(move |head, peer| check(head, peer).into_allowed())))
    }

    /// A check that takes time: to fetch a key, or to look a session up. The request waits for it, up to
    /// [`decision_timeout`](crate::ListenerOptions::decision_timeout). The future is dropped where the client
    /// leaves.
    pub fn from_async<R, F>(check: impl Fn(Parts, Peer) -> F + Send + Sync + 'static) -> Self
    where
        R: IntoAllowed,
        F: Future<Output = R> + Send + 'static,
    {
        let check = move |head, peer| -> LaterAllowed {
            let checking = check(head, peer);
            Box::pin(async move { checking.await.into_allowed() })
        };
        Self(Check::Later(Arc::new(check)))
    }

    pub(crate) fn ask(&self, head: &Parts, peer: Peer) -> Asked {
        match &self.0 {
            Check::Now(check) => Asked::Now(check(head, peer)),
            Check::Later(check) => Asked::Later(check(head.clone(), peer)),
        }
    }
}

impl fmt::Debug for AllowRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AllowRequest").finish_non_exhaustive()
    }
}

/// Leave to begin a conversation, with values that its sockets see: as [`Extension`](crate::Extension) in
/// handlers, and by [`Handshake::extension`](crate::Handshake::extension).
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    values: Extensions,
}

impl Allowed {
    /// Leave with a value; one of each type.
    pub fn with<T: Clone + Send + Sync + 'static>(value: T) -> Self {
        Self::default().and(value)
    }

    /// The same with a further value.
    #[must_use]
    pub fn and<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.values.insert(value);
        self
    }

    pub(crate) fn into_values(self) -> Extensions {
        self.values
    }
}

impl From<()> for Allowed {
    fn from((): ()) -> Self {
        Self::default()
    }
}

/// The refusal of a conversation: the status, headers and message of the answer. A message alone is one with
/// a 403.
#[derive(Debug, Clone)]
pub struct Refusal {
    status: StatusCode,
    headers: HeaderMap,
    message: String,
}

impl Refusal {
    /// A refusal with a status, such as 401 or 429, and a message that the client reads.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, headers: HeaderMap::new(), message: message.into() }
    }

    /// The same with a header, such as `Retry-After` or `WWW-Authenticate`.
    #[must_use]
    pub fn header(mut self, name: impl IntoHeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Makes an answer this refusal's, but for its body.
    pub(crate) fn apply(self, mut answer: Answer) -> Answer {
        *answer.status_mut() = self.status;
        answer.headers_mut().extend(self.headers);
        answer
    }

    /// The answer in plain words.
    pub(crate) fn answer(self) -> Answer {
        let words = self.message.clone();
        self.apply(plain(StatusCode::FORBIDDEN, words))
    }
}

impl From<String> for Refusal {
    fn from(message: String) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }
}

impl From<&str> for Refusal {
    fn from(message: &str) -> Self {
        message.to_owned().into()
    }
}

/// What a check of a request may return: nothing, [`Allowed`], or a `Result` of one of them whose error is a
/// [`Refusal`] or its message.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no answer of `allow_request`",
    note = "return `Result<(), String>`, or `Result<Allowed, Refusal>` for values and other answers than a 403"
)]
pub trait IntoAllowed {
    /// As a result.
    ///
    /// # Errors
    /// The check's own.
    fn into_allowed(self) -> Result<Allowed, Refusal>;
}

impl IntoAllowed for () {
    fn into_allowed(self) -> Result<Allowed, Refusal> {
        Ok(Allowed::default())
    }
}

impl IntoAllowed for Allowed {
    fn into_allowed(self) -> Result<Allowed, Refusal> {
        Ok(self)
    }
}

impl<A: Into<Allowed>, E: Into<Refusal>> IntoAllowed for Result<A, E> {
    fn into_allowed(self) -> Result<Allowed, Refusal> {
        self.map(Into::into).map_err(Into::into)
    }
}
