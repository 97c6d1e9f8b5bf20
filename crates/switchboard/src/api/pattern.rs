//! Names that a parent namespace stands for.

use std::fmt;

use regex_lite::Regex;
use thiserror::Error as ThisError;

/// The names of namespaces that clients may make by connecting: see
/// [`Switchboard::of_pattern`](crate::Switchboard::of_pattern).
#[derive(Debug, Clone)]
pub struct NamespacePattern(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Prefix(Box<str>),
    Regex(Regex),
}

/// A text that is no regular expression.
#[derive(Debug, ThisError)]
#[error("not a regular expression: {0}")]
pub struct InvalidPattern(String);

impl NamespacePattern {
    /// Names that begin with this, and have something behind it. A missing leading slash is added.
    pub fn prefix(prefix: &str) -> Self {
        let slash = if prefix.starts_with('/') { "" } else { "/" };
        Self(Kind::Prefix([slash, prefix].concat().into()))
    }

    /// Names in which the regular expression is found, as in Node: `^` and `$` bind it to the whole name. The
    /// syntax is that of the crate [`regex-lite`](https://docs.rs/regex-lite/latest/regex_lite/#syntax);
    /// `\d`, `\w` and `\s` stand for ASCII characters, as in JavaScript. The time to match is bounded by the
    /// lengths of both.
    ///
    /// # Errors
    /// [`InvalidPattern`].
    pub fn regex(expression: &str) -> Result<Self, InvalidPattern> {
        let regex = Regex::new(expression).map_err(|error| InvalidPattern(error.to_string()))?;
        Ok(Self(Kind::Regex(regex)))
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        match &self.0 {
            Kind::Prefix(prefix) => name.strip_prefix(&**prefix).is_some_and(|rest| !rest.is_empty()),
            Kind::Regex(regex) => regex.is_match(name),
        }
    }
}

/// As it was given.
impl fmt::Display for NamespacePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Prefix(prefix) => write!(f, "{prefix}*"),
            Kind::Regex(regex) => f.write_str(regex.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_stands_for_the_names_that_it_matches() {
        let regex = |text| NamespacePattern::regex(text).expect("a regular expression");
        for (pattern, yes, no) in [
            (NamespacePattern::prefix("/room-"), "/room-1", "/room-"),
            (NamespacePattern::prefix("room-"), "/room-x", "/other/room-x"),
            (regex(r"^/dynamic-\d+$"), "/dynamic-101", "/dynamic-١"),
            (regex(r"^/dynamic-\d+$"), "/dynamic-0", "/dynamic-1\n"),
            (regex("chat"), "/my/chat/1", "/cha"),
        ] {
            assert!(pattern.matches(yes), "{pattern} {yes}");
            assert!(!pattern.matches(no), "{pattern} {no}");
        }
        let error = NamespacePattern::regex("(").expect_err("it is open");
        assert!(error.to_string().starts_with("not a regular expression: "), "{error}");
    }
}
