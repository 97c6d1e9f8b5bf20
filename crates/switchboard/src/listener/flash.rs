//! The policy that Flash players ask for before they open a socket (Adobe's "socket policy file"): first on
//! port 843, then on the port itself. One that gets none does not connect.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use switchboard_hub::{Command, WorkerId};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::first::FLASH_POLICY_REQUEST;
use crate::server::Server;
use crate::server::flash_policy::FlashPolicy;
use crate::transport::connection_limit::Permit;

/// How long a player may take to read its policy; and how much more it may send.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 4096;

/// The pause after accepting failed.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers a request for the policy, and closes the connection.
pub(super) async fn answer(policy: &FlashPolicy, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    metrics::counter!("switchboard_flash_policies_total").increment(1);
    let write = async {
        stream.write_all(&policy.answer()).await?;
        stream.shutdown().await?;
        // Closing with bytes unread would make the kernel answer with a reset, which may overtake the policy.
        tokio::io::copy(&mut stream.take(LINGER_BYTES), &mut tokio::io::sink()).await
    };
    if let Ok(Err(error)) = tokio::time::timeout(LINGER, write).await {
        tracing::debug!(%error, "a socket policy was not written");
    }
}

/// Binds a port that answers requests for the policy, and nothing else; on the first worker. Returns its
/// address.
pub(crate) async fn start(server: &Arc<Server>, address: SocketAddr) -> io::Result<SocketAddr> {
    let socket = std::net::TcpListener::bind(address)?;
    socket.set_nonblocking(true)?;
    let address = socket.local_addr()?;
    let server_there = Arc::clone(server);
    let start = Command::run(move |_worker| match TcpListener::from_std(socket) {
        Ok(listener) => drop(tokio::task::spawn_local(run(server_there, listener))),
        Err(error) => tracing::error!(%error, "cannot listen for requests of Flash's policy"),
    });
    server.hub.send_when_room(WorkerId(0), start).await.map_err(io::Error::other)?;
    Ok(address)
}

async fn run(server: Arc<Server>, listener: TcpListener) {
    let mut closed = server.idle_end.subscribe();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = closed.wait_for(|closed| *closed) => return,
        };
        match accepted {
            Ok((stream, address)) => match admit(&server, address) {
                Ok(permit) => drop(tokio::task::spawn_local(serve(Arc::clone(&server), stream, permit))),
                Err(refusal) => refusal.count(),
            },
            Err(error) => {
                metrics::counter!("switchboard_accept_errors_total", "reason" => "flash policy").increment(1);
                tracing::debug!(%error, "cannot accept");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// These connections count as any other.
fn admit(
    server: &Server,
    address: SocketAddr,
) -> Result<Permit, crate::transport::connection_limit::Refusal> {
    let mut permit = server.connections.enter()?;
    permit.count_for(address.ip())?;
    Ok(permit)
}

async fn serve(server: Arc<Server>, mut stream: TcpStream, _permit: Permit) {
    let mut request = [0; FLASH_POLICY_REQUEST.len()];
    let mut closed = server.idle_end.subscribe();
    let read = tokio::select! {
        read = tokio::time::timeout(server.listener.head_timeout, stream.read_exact(&mut request)) => read,
        _ = closed.wait_for(|closed| *closed) => return,
    };
    match read {
        Ok(Ok(_)) if request == FLASH_POLICY_REQUEST => answer(&server.listener.flash_policy, stream).await,
        Ok(_) => tracing::debug!("not a request for a socket policy"),
        Err(_late) => metrics::counter!("switchboard_head_timeouts_total").increment(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_is_the_document_that_players_know() {
        assert_eq!(
            String::from_utf8(FlashPolicy::default().answer()).unwrap(),
            "<?xml version=\"1.0\"?><!DOCTYPE cross-domain-policy SYSTEM \
             \"http://www.macromedia.com/xml/dtds/cross-domain-policy.dtd\"><cross-domain-policy>\
             <allow-access-from domain=\"*\" to-ports=\"*\"/></cross-domain-policy>\0"
        );
    }

    #[test]
    fn each_domain_is_allowed_and_nothing_breaks_out_of_its_quotes() {
        let domains = vec!["example.org".to_owned(), "\"/><x a=\"&".to_owned()];
        let policy = FlashPolicy { domains, ports: "80,443".to_owned() };
        let xml = String::from_utf8(policy.answer()).unwrap();
        assert!(xml.contains("<allow-access-from domain=\"example.org\" to-ports=\"80,443\"/>"));
        assert!(xml.contains("domain=\"&quot;/&gt;&lt;x a=&quot;&amp;\""));
        assert_eq!(xml.matches("<allow-access-from").count(), 2);
    }
}
