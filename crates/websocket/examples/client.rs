//! A WebSocket client for the terminal. It sends each line that is typed, and prints each message that comes.
//! With `--send TEXT` it sends that, prints one answer, and closes.
//!
//! ```text
//! cargo run -p switchboard-websocket --example client -- wss://example.org/chat --protocol chat --header 'Cookie: a=b'
//! ```
//!
//! To trust a server whose certificate the system does not trust, name the certificate of its authority in
//! `SSL_CERT_FILE`.

use std::{error::Error, io::Write, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, ValueEnum};
use switchboard_websocket::{CloseCode, OwnedMessage, client::Client, deflate::DeflateOptions};
use tokio::sync::mpsc;

#[derive(Parser)]
struct Args {
    /// The URL to connect to: ws:// or wss://.
    url: String,
    /// Send this, print one answer, and close.
    #[arg(long)]
    send: Option<String>,
    /// Send the bytes of each line as a binary message.
    #[arg(long)]
    binary: bool,
    /// A subprotocol to offer; may be given several times.
    #[arg(long)]
    protocol: Vec<String>,
    /// Offer to compress messages, each by itself or with the context of the messages before it.
    #[arg(long, value_enum)]
    deflate: Option<Deflate>,
    /// A header of the request, as `Name: value`; may be given several times.
    #[arg(long)]
    header: Vec<String>,
    /// Connect through a proxy: http://, https://, socks5:// or socks5h://, with a user where it needs one.
    #[arg(long)]
    proxy: Option<String>,
    /// Connect through the proxy that the environment names, as in `https_proxy`.
    #[arg(long, conflicts_with = "proxy")]
    env_proxy: bool,
    /// Follow at most so many redirects.
    #[arg(long, default_value_t = 0)]
    redirects: usize,
    /// Connect to this Unix-domain socket instead of the host of the URL.
    #[cfg(unix)]
    #[arg(long)]
    unix: Option<PathBuf>,
    /// Stop connecting after so many seconds.
    #[arg(long, default_value_t = 30)]
    timeout: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Deflate {
    Takeover,
    NoTakeover,
}

impl Args {
    fn client(&self) -> Client {
        let mut client =
            Client::new(&self.url).redirects(self.redirects).timeout(Duration::from_secs(self.timeout));
        for name in &self.protocol {
            client = client.subprotocol(name);
        }
        for header in &self.header {
            let (name, value) = header.split_once(':').unwrap_or((header, ""));
            client = client.header(name.trim(), value.trim());
        }
        if let Some(deflate) = self.deflate {
            let takeover = deflate == Deflate::Takeover;
            client = client.deflate(DeflateOptions::default().context_takeover(takeover));
        }
        if let Some(proxy) = &self.proxy {
            client = client.proxy(proxy.as_str());
        }
        if self.env_proxy {
            client = client.proxy_from_environment();
        }
        #[cfg(unix)]
        if let Some(path) = &self.unix {
            client = client.unix_socket(path);
        }
        client
    }

    fn message(&self, text: String) -> OwnedMessage {
        if self.binary { text.into_bytes().into() } else { text.into() }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    if let Err(error) = run(Args::parse()).await {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

async fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let mut socket = args.client().connect().await?;
    if let Some(protocol) = socket.protocol() {
        eprintln!("the server speaks {protocol}");
    }
    if let Some(parameters) = socket.deflate() {
        let takeover = if parameters.client_no_context_takeover { "without" } else { "with" };
        eprintln!("messages are compressed {takeover} context takeover");
    }
    if let Some(text) = args.send.clone() {
        socket.send(args.message(text)).await?;
        while let Some(message) = socket.recv().await? {
            if print(&message)? {
                break;
            }
        }
        socket.close(CloseCode::Normal, "").await?;
        return Ok(());
    }

    let (mut reader, mut writer) = socket.split();
    let printing = tokio::spawn(async move {
        while let Some(message) = reader.recv().await? {
            print(&message)?;
        }
        Ok::<_, switchboard_websocket::Error>(())
    });
    let mut lines = lines();
    loop {
        tokio::select! {
            line = lines.recv() => match line {
                Some(line) => writer.send(args.message(line)).await?,
                None => break writer.close(CloseCode::Normal, "").await?,
            },
            answered = writer.answer() => break answered?,
        }
    }
    printing.await??;
    Ok(())
}

/// The lines that are typed. A thread reads them, so that the program can end when the server ends the
/// connection.
fn lines() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    });
    lines
}

/// Prints a message. Returns whether it was a text or binary message.
fn print(message: &OwnedMessage) -> Result<bool, std::io::Error> {
    match message {
        OwnedMessage::Text(_) | OwnedMessage::Binary(_) => {
            let mut out = std::io::stdout().lock();
            out.write_all(message.as_bytes())?;
            out.write_all(b"\n")?;
        }
        OwnedMessage::Close(Some(frame)) => eprintln!("closed with {} {}", frame.code, frame.reason),
        _ => {}
    }
    Ok(message.is_data())
}
