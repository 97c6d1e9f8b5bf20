//! Serving one request that came by way of HTTP, be it our own listener's, hyper's or an outer server's.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Version};
use http_body::Body;

use super::exchange::Asked;
use super::upgrade::upgrade;
use super::{decide, decide_found, resolve};
use crate::Peer;
use crate::http::mount::{Decision, Found, Upgrade};
use crate::http::{Answer, http2};
use crate::server::Server;

/// What became of a request. Heads are boxed, as they go through many hands.
pub(crate) enum Served<B> {
    /// It is not ours: here it is again.
    Pass(Box<Parts>, B),
    /// Its answer.
    Answer(Box<Answer>),
    /// Its answer is a stream.
    Stream(Box<Parts>, Box<Upgrade>),
}

/// Serves a request, or gives it back.
///
/// It is decided upon before this returns. A client that leaves while its answer is awaited closes the
/// session that the request was for, as in Node: dropping the future, polled or not, is that. (hyper drops it
/// unpolled where the end of the stream came with the request.)
pub(crate) fn serve<B>(
    server: &Arc<Server>,
    request: Request<B>,
    peer: Peer,
) -> impl Future<Output = Served<B>> + Send + use<B>
where
    B: Body<Data = Bytes> + Send + 'static,
{
    let (parts, body) = request.into_parts();
    let mut parts = Box::new(parts);
    if parts.version >= Version::HTTP_2 {
        http2::level(&mut parts);
    }
    let decision = decide(server, &parts, peer);
    serve_decided(server, parts, body, decision)
}

/// As [`serve`], of a request of HTTP/1 in its parts, whose protocol is found.
pub(crate) fn serve_found<B>(
    server: &Arc<Server>,
    found: Found,
    parts: Box<Parts>,
    body: B,
    peer: Peer,
) -> impl Future<Output = Served<B>> + Send + use<B>
where
    B: Body<Data = Bytes> + Send + 'static,
{
    let decision = decide_found(server, found, &parts, peer);
    serve_decided(server, parts, body, decision)
}

/// Carries out what was decided on a request.
pub(crate) fn serve_decided<B>(
    server: &Arc<Server>,
    parts: Box<Parts>,
    body: B,
    decision: Decision,
) -> impl Future<Output = Served<B>> + Send + use<B>
where
    B: Body<Data = Bytes> + Send + 'static,
{
    let way = match decision {
        // An answer may be waited for long: nothing of the request is kept meanwhile.
        Decision::Exchange(exchange) => Way::Exchange(Asked::new(server, exchange, &parts, body)),
        Decision::Pass => Way::Over(Served::Pass(parts, body)),
        Decision::Answer(answer) => Way::Over(Served::Answer(Box::new(answer))),
        Decision::Upgrade(asked) if asked.streaming.is_some() => {
            Way::Over(Served::Stream(parts, Box::new(asked)))
        }
        Decision::Upgrade(_) | Decision::Later(_) => {
            Way::Other(Box::pin(carry_out(Arc::clone(server), parts, body, decision)))
        }
    };
    async move {
        match way {
            Way::Exchange(asked) => Served::Answer(asked.answer().await),
            Way::Over(served) => served,
            Way::Other(carrying_out) => carrying_out.await,
        }
    }
}

/// The way to the answer of a request. Each is small: an exchange, which is the most frequent by far, is not
/// moved about at the size of the others.
enum Way<B> {
    Exchange(Box<Asked<B>>),
    Over(Served<B>),
    Other(Pin<Box<dyn Future<Output = Served<B>> + Send>>),
}

async fn carry_out<B>(server: Arc<Server>, parts: Box<Parts>, body: B, decision: Decision) -> Served<B>
where
    B: Body<Data = Bytes> + Send,
{
    let decision = match decision {
        Decision::Later(later) => resolve(&server, later).await,
        decision => decision,
    };
    match decision {
        Decision::Pass | Decision::Later(_) => Served::Pass(parts, body),
        Decision::Answer(answer) => Served::Answer(Box::new(answer)),
        Decision::Upgrade(asked) if asked.streaming.is_some() => Served::Stream(parts, Box::new(asked)),
        Decision::Upgrade(asked) => Served::Answer(Box::new(upgrade(server, parts, asked).await)),
        Decision::Exchange(exchange) => {
            let asked = Asked::new(&server, exchange, &parts, body);
            drop(parts);
            Served::Answer(asked.answer().await)
        }
    }
}
