//! yawc: echo on its hyper upgrade, with the buffers and the batches of its own benchmark: 128 KiB to read,
//! 64 KiB before a write must wait, and up to 32 messages that are there already before a flush. Text is
//! checked, as by everybody else.
//!
//! `--deflate`: permessage-deflate as it is by default; context takeover is what the client asks for, and
//! state without it comes from a pool, as its documentation advises.

use bytes::Bytes;
use futures_util::{FutureExt, SinkExt};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use peers::{Connection, Echo};
use yawc::{DeflateOptions, DeflatePool, OpCode, Options, UpgradeFut, WebSocket, WebSocketError};

/// Messages that are there already are answered together, up to so many.
const BATCH: usize = 32;

struct Yawc;

fn main() -> std::io::Result<()> {
    peers::serve::<Yawc>()
}

thread_local! {
    static OPTIONS: Options = options();
}

fn options() -> Options {
    let options = Options::default()
        .with_limits(64 << 20, 64 << 20)
        .with_read_buffer_capacity(128 << 10)
        .with_backpressure_boundary(64 << 10)
        .with_utf8();
    if !peers::flag("--deflate") {
        return options.without_compression();
    }
    let deflate = DeflateOptions { pool: Some(DeflatePool::new(64)), ..DeflateOptions::default() };
    Options { compression: Some(deflate), ..options }
}

impl Echo for Yawc {
    async fn serve(stream: impl Connection) {
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(accept));
        let _ = connection.with_upgrades().await;
    }
}

async fn accept(mut request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    let (response, upgraded) = WebSocket::upgrade_with_options(&mut request, OPTIONS.with(Clone::clone))?;
    tokio::spawn(echo(upgraded));
    Ok(response)
}

async fn echo(upgraded: UpgradeFut) -> Result<(), WebSocketError> {
    let mut socket = upgraded.await?;
    loop {
        let mut next = Some(socket.next_frame().await?);
        let mut batched = 0;
        while let Some(frame) = next.take() {
            match frame.opcode() {
                OpCode::Text | OpCode::Binary => socket.feed(frame).await?,
                // The answer goes out when the next frame is asked for.
                OpCode::Close => return socket.next_frame().await.map(drop),
                _ => {}
            }
            batched += 1;
            if batched < BATCH {
                next = socket.next_frame().now_or_never().transpose()?;
            }
        }
        socket.flush().await?;
    }
}
