//! fastwebsockets: echo on its hyper upgrade and its `FragmentCollector`, the set-up its own documentation
//! shows. It has no permessage-deflate, and writes each frame when it is told to: it has no way to write
//! several at once.

use bytes::Bytes;
use fastwebsockets::upgrade::{UpgradeFut, upgrade};
use fastwebsockets::{FragmentCollector, OpCode, WebSocketError};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use peers::{Connection, Echo};
use tokio::task::unconstrained;

struct FastWebSockets;

fn main() -> std::io::Result<()> {
    peers::serve::<FastWebSockets>()
}

impl Echo for FastWebSockets {
    async fn serve(stream: impl Connection) {
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(accept));
        let _ = connection.with_upgrades().await;
    }
}

async fn accept(mut request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    let (response, upgraded) = upgrade(&mut request)?;
    tokio::spawn(unconstrained(echo(upgraded)));
    Ok(response)
}

async fn echo(upgraded: UpgradeFut) -> Result<(), WebSocketError> {
    let mut socket = FragmentCollector::new(upgraded.await?);
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            _ => {}
        }
    }
}
