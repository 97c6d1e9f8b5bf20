//! The cookie that names a session, for balancers that keep a client's requests on one server.

use std::fmt::Write as _;
use std::time::Duration;

use http::HeaderValue;

/// `SameSite` of a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// `Strict`: sent by pages of the same site only.
    Strict,
    /// `Lax`: also when a user follows a link from another site.
    Lax,
    /// `None`: sent by pages of any site. Browsers ask for [`secure`](SessionCookie::secure) with it.
    None,
}

/// The cookie that the first answer on polling sets. It holds the session's id, so that a balancer can keep a
/// session's requests on one server. The server itself does not read it. The defaults are Node's: `io=<id>;
/// Path=/; HttpOnly; SameSite=Lax`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionCookie {
    name: String,
    path: Option<String>,
    domain: Option<String>,
    max_age: Option<Duration>,
    http_only: bool,
    secure: bool,
    same_site: Option<SameSite>,
}

impl Default for SessionCookie {
    fn default() -> Self {
        Self::new("io")
    }
}

impl SessionCookie {
    /// A cookie of this name, else with the defaults.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            path: Some("/".to_owned()),
            domain: None,
            max_age: None,
            http_only: true,
            secure: false,
            same_site: Some(SameSite::Lax),
        }
    }

    /// `Path`. Default `/`; `None` leaves it out, which makes it the path of the request.
    #[must_use]
    pub fn path(mut self, path: Option<&str>) -> Self {
        self.path = path.map(str::to_owned);
        self
    }

    /// `Domain`. Default: none, which makes it the host of the request alone.
    #[must_use]
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// `Max-Age`, in whole seconds. Default: none, which makes it a cookie of the browser's session.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// `HttpOnly`: scripts of the page cannot read it. Default: on.
    #[must_use]
    pub fn http_only(mut self, http_only: bool) -> Self {
        self.http_only = http_only;
        self
    }

    /// `Secure`: browsers send it over TLS only. Default: off.
    #[must_use]
    pub fn secure(mut self, secure: bool) -> Self {
        self.secure = secure;
        self
    }

    /// `SameSite`. Default [`Lax`](SameSite::Lax); `None` leaves it out.
    #[must_use]
    pub fn same_site(mut self, same_site: Option<SameSite>) -> Self {
        self.same_site = same_site;
        self
    }

    /// Fails, with the reason, where browsers would not take it.
    pub(crate) fn check(&self) -> Result<(), String> {
        // RFC 6265, 4.1.1: a token, and values without `;` and control characters.
        let is_token = |byte: u8| byte.is_ascii_graphic() && !br#"()<>@,;:\"/[]?={}"#.contains(&byte);
        if self.name.is_empty() || !self.name.bytes().all(is_token) {
            return Err(format!("`cookie`: {:?} is no name of a cookie", self.name));
        }
        for value in [&self.path, &self.domain].into_iter().flatten() {
            if !value.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b';') {
                return Err(format!("`cookie`: {value:?} cannot stand in a cookie"));
            }
        }
        Ok(())
    }

    /// The `Set-Cookie` for a session. `None`: it is not one that passes [`check`](Self::check).
    pub(crate) fn header(&self, sid: &str) -> Option<HeaderValue> {
        self.check().ok()?;
        let mut cookie = format!("{}={sid}", self.name);
        if let Some(age) = self.max_age {
            // Writing to a string does not fail.
            let _ = write!(cookie, "; Max-Age={}", age.as_secs());
        }
        for (attribute, value) in [("Domain", &self.domain), ("Path", &self.path)] {
            if let Some(value) = value {
                let _ = write!(cookie, "; {attribute}={value}");
            }
        }
        for (attribute, is_on) in [("; HttpOnly", self.http_only), ("; Secure", self.secure)] {
            cookie.push_str(if is_on { attribute } else { "" });
        }
        cookie.push_str(match self.same_site {
            Some(SameSite::Strict) => "; SameSite=Strict",
            Some(SameSite::Lax) => "; SameSite=Lax",
            Some(SameSite::None) => "; SameSite=None",
            None => "",
        });
        HeaderValue::try_from(cookie).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_written_as_node_writes_it() {
        let all = SessionCookie::new("lb")
            .path(Some("/socket.io"))
            .domain("example.org")
            .max_age(Duration::from_millis(86_400_999))
            .http_only(false)
            .secure(true)
            .same_site(Some(SameSite::None));
        let least = SessionCookie::new("x").path(None).http_only(false).same_site(None);
        for (cookie, text) in [
            (SessionCookie::default(), "io=ID; Path=/; HttpOnly; SameSite=Lax"),
            (all, "lb=ID; Max-Age=86400; Domain=example.org; Path=/socket.io; Secure; SameSite=None"),
            (least, "x=ID"),
        ] {
            assert_eq!(cookie.header("ID").unwrap(), text);
        }
    }

    #[test]
    fn a_text_that_cannot_be_a_cookie_is_an_error() {
        for cookie in [
            SessionCookie::new(""),
            SessionCookie::new("a b"),
            SessionCookie::new("a=b"),
            SessionCookie::default().path(Some("/; Secure")),
            SessionCookie::default().domain("a\r\nb"),
        ] {
            assert!(cookie.check().is_err() && cookie.header("ID").is_none(), "{cookie:?}");
        }
    }
}
