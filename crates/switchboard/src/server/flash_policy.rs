//! The socket policy of Flash players: which pages may open sockets to this server.

use std::fmt::{self, Write};

/// Which pages' Flash may open sockets to this server, and to which of its ports. Default: those of every
/// domain, to every port.
///
/// It only says what a player lets its pages do: it is no check of the connections that come, which
/// [origins](crate::Origins) are.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlashPolicy {
    /// Domains (`example.org`, `*.example.org`, `*`), each allowed the same. Default `*`. None at all lets no
    /// page in.
    pub domains: Vec<String>,
    /// Ports: `*`, or a list of numbers and ranges, `80,443,3000-3010`. Default `*`.
    pub ports: String,
}

impl Default for FlashPolicy {
    fn default() -> Self {
        Self { domains: vec!["*".to_owned()], ports: "*".to_owned() }
    }
}

impl FlashPolicy {
    /// The answer to a request for it: XML and a NUL.
    pub(crate) fn answer(&self) -> Vec<u8> {
        let mut xml = String::from(
            "<?xml version=\"1.0\"?>\
             <!DOCTYPE cross-domain-policy SYSTEM \"http://www.macromedia.com/xml/dtds/cross-domain-policy.dtd\">\
             <cross-domain-policy>",
        );
        for domain in &self.domains {
            let (domain, ports) = (Attribute(domain), Attribute(&self.ports));
            // Writing to a string does not fail.
            let _ = write!(xml, "<allow-access-from domain=\"{domain}\" to-ports=\"{ports}\"/>");
        }
        xml.push_str("</cross-domain-policy>\0");
        xml.into_bytes()
    }
}

/// A value between the quotes of an attribute.
struct Attribute<'a>(&'a str);

impl fmt::Display for Attribute<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|char| match char {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            char => f.write_char(char),
        })
    }
}
