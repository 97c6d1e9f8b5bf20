//! The options of the server: flags, each with an environment variable.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use switchboard::{
    Builder, InvalidNetwork, ListenerOptions, OriginError, OriginPattern, Origins, Switchboard,
    TrustedProxies,
};

use crate::{Admin, Compression, Sockets};

/// A realtime server: WebSocket, Engine.IO and Socket.IO on one port, and a chat to try them with.
///
/// Sockets that systemd passes in (socket activation) replace the address and port. The server tells systemd
/// when it is ready (`Type=notify`).
///
/// Each option may also be set by an environment variable; the flag wins.
#[derive(Debug, Clone, Parser)]
#[command(name = "switchboard", version)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the command line")]
pub struct Config {
    /// Address to listen on; `::` includes IPv6.
    #[arg(long, env = "SWITCHBOARD_ADDRESS", default_value = "0.0.0.0")]
    pub address: IpAddr,

    /// Port to listen on; 0 takes any free port.
    #[arg(short, long, env = "SWITCHBOARD_PORT", default_value_t = 3000)]
    pub port: u16,

    /// TLS, and sockets other than a TCP port.
    #[command(flatten, next_help_heading = "TLS and sockets")]
    pub sockets: Sockets,

    /// What is compressed.
    #[command(flatten, next_help_heading = "Compression")]
    pub compression: Compression,

    /// Socket.IO's admin page.
    #[command(flatten, next_help_heading = "Admin page")]
    pub admin: Admin,

    /// Worker threads, 1 to 256 [default: the number of cores].
    #[arg(long, env = "SWITCHBOARD_WORKERS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,

    /// How often clients are pinged, in milliseconds.
    #[arg(long, env = "SWITCHBOARD_PING_INTERVAL", value_name = "MS", default_value_t = 25_000, value_parser = positive())]
    pub ping_interval: u64,

    /// How long a client has to answer a ping, in milliseconds.
    #[arg(long, env = "SWITCHBOARD_PING_TIMEOUT", value_name = "MS", default_value_t = 20_000, value_parser = positive())]
    pub ping_timeout: u64,

    /// The most bytes of one message, over any transport; a client that sends more is disconnected.
    #[arg(long, env = "SWITCHBOARD_MAX_PAYLOAD", value_name = "BYTES", default_value_t = 1_000_000, value_parser = positive())]
    pub max_payload: u64,

    /// Origins whose pages may connect, such as `https://example.org`, `https://*.example.org` or
    /// `http://localhost:*`, separated by commas; `*` allows every origin. The server's own pages may always
    /// connect [default: no others].
    #[arg(long, env = "SWITCHBOARD_ORIGINS", value_name = "ORIGIN", value_delimiter = ',', value_parser = origin)]
    pub origins: Vec<String>,

    /// Let pages of the origins in --origins send cookies with their requests (`withCredentials`). It does
    /// not work with `*`, because any page could then act as its visitor.
    #[arg(long, env = "SWITCHBOARD_CREDENTIALS", requires = "origins")]
    pub credentials: bool,

    /// Proxies that are trusted to send X-Forwarded-For, -Proto and -Host, separated by commas: addresses,
    /// networks (10.0.0.0/8), `loopback` for this machine, `private` for this machine and all private
    /// networks, `unix` for connections to a Unix-domain socket [default: none].
    #[arg(long, env = "SWITCHBOARD_TRUSTED_PROXIES", value_name = "NETWORK", value_delimiter = ',', value_parser = proxies)]
    pub trusted_proxies: Vec<TrustedProxies>,

    /// Expect a PROXY protocol header (version 1 or 2) at the start of each connection.
    #[arg(long, env = "SWITCHBOARD_PROXY_PROTOCOL")]
    pub proxy_protocol: bool,

    /// Accept WebSockets of browsers older than the standard (hybi-07 to -12, hixie-75, hixie-76), and answer
    /// Flash players that ask for the socket policy.
    #[arg(long, env = "SWITCHBOARD_DRAFTS", value_name = "BOOLEAN", default_value_t = true, action = clap::ArgAction::Set)]
    pub drafts: bool,

    /// Serve clients of Socket.IO 1 and 2 (Engine.IO protocol 3), in the same rooms.
    #[arg(long, env = "SWITCHBOARD_OLD_CLIENTS", value_name = "BOOLEAN", default_value_t = true, action = clap::ArgAction::Set)]
    pub old_clients: bool,

    /// Serve long polling by scripts, for pages whose browsers cannot ask another origin otherwise.
    #[arg(long, env = "SWITCHBOARD_JSONP", value_name = "BOOLEAN", default_value_t = true, action = clap::ArgAction::Set)]
    pub jsonp: bool,

    /// Another port that answers only Flash players, which ask at port 843 first: 0.0.0.0:843 [default:
    /// none].
    #[arg(long, env = "SWITCHBOARD_FLASH_POLICY", value_name = "ADDRESS:PORT")]
    pub flash_policy: Option<SocketAddr>,

    /// Domains whose Flash content may connect, separated by commas.
    #[arg(
        long,
        env = "SWITCHBOARD_FLASH_DOMAINS",
        value_name = "DOMAIN",
        value_delimiter = ',',
        default_value = "*"
    )]
    pub flash_domains: Vec<String>,

    /// The most open connections; further ones are closed at once [default: no bound].
    #[arg(long, env = "SWITCHBOARD_MAX_CONNECTIONS", value_name = "NUMBER", value_parser = positive())]
    pub max_connections: Option<u64>,

    /// The most open connections from one address [default: no bound].
    #[arg(long, env = "SWITCHBOARD_MAX_CONNECTIONS_PER_ADDRESS", value_name = "NUMBER", value_parser = positive())]
    pub max_connections_per_address: Option<u64>,

    /// The most Socket.IO sessions at a time; further handshakes get a 503.
    #[arg(
        long,
        env = "SWITCHBOARD_MAX_SESSIONS",
        value_name = "NUMBER",
        default_value_t = 1_000_000,
        value_parser = positive()
    )]
    pub max_sessions: u64,

    /// The most Socket.IO sessions at a time from one address [default: no bound].
    #[arg(long, env = "SWITCHBOARD_MAX_SESSIONS_PER_ADDRESS", value_name = "NUMBER", value_parser = positive())]
    pub max_sessions_per_address: Option<u64>,

    /// Serve metrics in Prometheus's format at /metrics: on the server's own port, or on ADDRESS:PORT if it
    /// is given [default: off].
    #[arg(long, env = "SWITCHBOARD_METRICS", value_name = "ADDRESS:PORT", num_args = 0..=1, default_missing_value = "here")]
    pub metrics: Option<MetricsAt>,

    /// How long sessions may take to end when the server is told to stop (SIGTERM, SIGINT), in milliseconds.
    #[arg(long, env = "SWITCHBOARD_SHUTDOWN_TIMEOUT", value_name = "MS", default_value_t = 5_000)]
    pub shutdown_timeout: u64,

    /// The level of the log: error, warn, info, debug, trace, or a list such as `info,switchboard=debug`.
    #[arg(long, env = "SWITCHBOARD_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    pub log_level: String,

    /// The format of the log, which goes to standard error.
    #[arg(long, env = "SWITCHBOARD_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

/// The format of a line of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The place where metrics are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsAt {
    /// On the server's own port.
    Here,
    /// On a separate port, which need not be public.
    At(SocketAddr),
}

impl std::str::FromStr for MetricsAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "here" {
            return Ok(Self::Here);
        }
        text.parse()
            .map(Self::At)
            .map_err(|_| "neither `here` nor an address with a port, such as 127.0.0.1:9100".to_owned())
    }
}

fn positive() -> impl clap::builder::IntoResettable<clap::builder::ValueParser> {
    clap::value_parser!(u64).range(1..)
}

/// `*` for every origin, or one origin or pattern, written in its normal form.
fn origin(text: &str) -> Result<String, OriginError> {
    if text == "*" {
        Ok(text.to_owned())
    } else {
        text.parse().map(|origin: OriginPattern| origin.to_string())
    }
}

fn proxies(text: &str) -> Result<TrustedProxies, InvalidNetwork> {
    match text {
        "loopback" => Ok(TrustedProxies::loopback()),
        "private" => Ok(TrustedProxies::private()),
        "unix" => Ok(TrustedProxies::unix()),
        network => TrustedProxies::list([network]),
    }
}

impl Config {
    /// The addresses to listen on.
    pub fn socket_address(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }

    /// How long sessions may take to end.
    pub fn shutdown_timeout(&self) -> Duration {
        Duration::from_millis(self.shutdown_timeout)
    }

    /// A server with these options, not yet built.
    pub fn builder(&self) -> Builder {
        let bound = |bound: Option<u64>| {
            bound.map_or(usize::MAX, |bound| usize::try_from(bound).unwrap_or(usize::MAX))
        };
        let mut listener = ListenerOptions::default();
        listener.max_connections = bound(self.max_connections);
        listener.max_connections_per_address = bound(self.max_connections_per_address);
        listener.proxy_protocol = self.proxy_protocol;
        listener.flash_policy.domains.clone_from(&self.flash_domains);
        let mut builder = Switchboard::builder()
            .ping_interval(Duration::from_millis(self.ping_interval))
            .ping_timeout(Duration::from_millis(self.ping_timeout))
            .drafts(self.drafts)
            .old_clients(self.old_clients)
            .jsonp(self.jsonp)
            .max_sessions(bound(Some(self.max_sessions)))
            .max_sessions_per_address(bound(self.max_sessions_per_address))
            .max_payload(usize::try_from(self.max_payload).unwrap_or(usize::MAX))
            .origins(self.allowed_origins())
            .trusted_proxies(
                self.trusted_proxies.iter().cloned().fold(TrustedProxies::none(), TrustedProxies::and),
            )
            .listener(listener);
        if let Some(workers) = self.workers {
            builder = builder.workers(usize::from(workers));
        }
        self.compression.apply(builder)
    }

    #[expect(clippy::expect_used, reason = "each was parsed as an option")]
    fn allowed_origins(&self) -> Origins {
        match self.origins.as_slice() {
            [] => Origins::same(),
            _ if self.allows_any_origin() => Origins::any(),
            origins => Origins::list(origins).expect("each is in its form").credentials(self.credentials),
        }
    }

    fn allows_any_origin(&self) -> bool {
        self.origins.iter().any(|origin| origin == "*")
    }

    /// Checks the options that depend on each other.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for `--credentials` with `--origins '*'`.
    pub fn check(&self) -> io::Result<()> {
        if self.credentials && self.allows_any_origin() {
            let message =
                "--credentials needs origins by name: with --origins '*' any page could act as its visitor";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Config, String> {
        let arguments = std::iter::once("switchboard").chain(arguments.iter().copied());
        Config::try_parse_from(arguments).map_err(|error| error.to_string())
    }

    #[test]
    fn the_options_make_sense_to_clap() {
        Config::command().debug_assert();
    }

    #[test]
    fn each_option_has_an_environment_variable_of_its_name_and_a_help_text_with_its_default() {
        for option in Config::command().get_arguments().filter(|option| !option.is_positional()) {
            let Some(long) = option.get_long().filter(|long| !["help", "version"].contains(long)) else {
                continue;
            };
            let variable = format!("SWITCHBOARD_{}", long.replace('-', "_").to_uppercase());
            assert_eq!(option.get_env().and_then(|name| name.to_str()), Some(&*variable));
            let help = option.get_help().expect(long).to_string();
            let switch = matches!(option.get_action(), clap::ArgAction::SetTrue);
            assert!(
                switch || help.contains("[default: ") || !option.get_default_values().is_empty(),
                "{long}"
            );
        }
    }

    #[test]
    fn the_documentation_has_a_line_for_each_option_with_its_default() {
        let page = include_str!("../../../docs/server.md");
        for option in Config::command().get_arguments().filter(|option| !option.is_positional()) {
            let Some(long) = option.get_long().filter(|long| !["help", "version"].contains(long)) else {
                continue;
            };
            let is_of_it = |line: &&str| {
                line.strip_prefix(&format!("| `--{long}")).is_some_and(|rest| rest.starts_with(['`', ' ']))
            };
            let line = page.lines().find(is_of_it).unwrap_or_else(|| panic!("no line for --{long}"));
            let value = line.split(" | ").nth(1).unwrap_or_default();
            for default in option.get_default_values() {
                let is_switch = matches!(option.get_action(), clap::ArgAction::SetTrue);
                assert!(is_switch || default.to_str() == Some(value), "{line}");
            }
        }
    }

    #[test]
    fn an_option_without_effect_by_itself_is_refused() {
        for alone in
            [&["--tls-plain-too"][..], &["--unix-mode=660"], &["--deflate-takeover"], &["--deflate-level=1"]]
        {
            assert!(parse(alone).is_err(), "{alone:?}");
        }
        for good in [
            &["--tls-plain-too", "--tls-self-signed"][..],
            &["--tls-plain-too", "--tls-certificate=a", "--tls-key=b"],
            &["--unix=a", "--unix-mode=660"],
            &["--deflate", "--deflate-takeover", "--deflate-level=1"],
        ] {
            assert!(parse(good).is_ok(), "{good:?}");
        }
        assert!(parse(&["--tls-self-signed", "--tls-certificate=a", "--tls-key=b"]).is_err());
    }

    #[test]
    fn metrics_are_off_here_or_somewhere_else() {
        let at = |arguments: &[&str]| parse(arguments).expect("good").metrics;
        assert_eq!(at(&[]), None);
        assert_eq!(at(&["--metrics"]), Some(MetricsAt::Here));
        assert_eq!(at(&["--metrics", "127.0.0.1:9100"]), Some(MetricsAt::At(([127, 0, 0, 1], 9100).into())));
        assert!(parse(&["--metrics", "9100"]).is_err());
    }

    #[test]
    fn a_senseless_value_is_refused_with_its_option_named() {
        for (option, value) in [
            ("--port", "65536"),
            ("--address", "localhost"),
            ("--workers", "0"),
            ("--workers", "257"),
            ("--ping-interval", "0"),
            ("--max-payload", "-1"),
            ("--origins", "example.org"),
            ("--origins", "https://example.org/chat"),
            ("--origins", "wss://example.org"),
            ("--origins", "https://*"),
            ("--origins", "https://a*.example.org"),
            ("--origins", "*://example.org/*"),
            ("--max-connections", "0"),
            ("--max-sessions", "0"),
            ("--trusted-proxies", "10.0.0.0/8,proxy"),
            ("--drafts", "perhaps"),
            ("--old-clients", "perhaps"),
            ("--jsonp", "perhaps"),
            ("--flash-policy", "843"),
            ("--log-format", "xml"),
            ("--unix-mode", "888"),
            ("--unix-mode", "1777"),
            ("--tls-certificate", "certificate.pem"),
            ("--tls-key", "key.pem"),
            ("--deflate-level", "10"),
            ("--deflate-window-bits", "8"),
            ("--deflate-threshold", "1k"),
            ("--http-compression", "no"),
        ] {
            let error = parse(&[&format!("{option}={value}")]).expect_err(value);
            assert!(error.contains(option), "{error}");
        }
    }

    #[test]
    fn credentials_need_origins_by_name() {
        assert!(parse(&["--credentials"]).is_err());
        let check = |origins| parse(&["--credentials", origins]).expect("good").check();
        check("--origins=https://a.example").expect("it is named");
        let error = check("--origins=https://a.example,*").expect_err("any page");
        assert!(error.to_string().contains("--credentials"), "{error}");
    }

    #[test]
    fn origins_come_as_a_list() {
        let config = parse(&[
            "--origins",
            "https://Example.org:443/,https://*.Example.org,http://localhost:*,file://",
        ])
        .expect("good");
        assert_eq!(
            config.origins,
            ["https://example.org", "https://*.example.org", "http://localhost:*", "file://"]
        );
    }
}
