//! Redirects (RFC 9110 §15.4). RFC 6455 §4.1 leaves it to the client to follow them.

use http::{
    HeaderMap, StatusCode,
    header::{AUTHORIZATION, COOKIE, LOCATION, PROXY_AUTHORIZATION},
};

use super::{ConnectError, RedirectError, rejection::Rejection, url::Target};
use crate::{Error, handshake::client::ClientError};

/// The redirects that are followed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Redirects {
    /// How many, one after another. Default none.
    pub(super) limit: usize,
    /// Whether a redirect may lead from `wss` to `ws`.
    pub(super) downgrade: bool,
}

impl Redirects {
    /// The target of an answer to a request for `from`, after `followed` redirects. It is an error if
    /// redirects are not enabled, and if the answer is no redirect.
    pub(super) fn follow(
        self,
        from: &Target,
        followed: usize,
        answer: Box<Rejection>,
    ) -> Result<Target, Error> {
        if self.limit == 0 || !is_redirect(answer.status()) {
            return Err(Error::Rejected(answer));
        }
        let checked = location(from, &answer).and_then(|to| match () {
            () if followed >= self.limit => Err(RedirectError::TooMany { limit: self.limit }),
            () if from.secure && !to.secure && !self.downgrade => Err(RedirectError::Downgrade),
            () => Ok(to),
        });
        checked.map_err(|why| ConnectError::Redirect { why, answer }.into())
    }
}

/// Whether a redirect keeps the method GET.
fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn location(from: &Target, answer: &Rejection) -> Result<Target, RedirectError> {
    let mut locations = answer.headers().get_all(LOCATION).iter();
    let location = match (locations.next(), locations.next()) {
        (Some(location), None) => std::str::from_utf8(location.as_bytes()),
        (None, _) => return Err(RedirectError::Location { what: "is missing" }),
        _ => return Err(RedirectError::Location { what: "is there twice" }),
    };
    let location = location.map_err(|_| RedirectError::Location { what: "is not UTF-8" })?;
    from.join(location).map_err(|error| match error {
        ClientError::Url { what } => RedirectError::Location { what },
        _ => RedirectError::Location { what: "is malformed" },
    })
}

/// Removes the headers that were for another origin only.
pub(super) fn forget_secrets(headers: &mut HeaderMap) {
    for name in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION] {
        headers.remove(name);
    }
}
