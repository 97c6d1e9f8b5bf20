//! Serving one request that came by way of HTTP, be it our own listener's, hyper's or an outer server's.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Version};
use http_body::Body;

use super::exchange::{Caller, exchange};
use super::upgrade::upgrade;
use super::{decide, decide_found, resolve};
use crate::Peer;
use crate::http::mount::{Decision, Exchange, Found};
use crate::http::request_body::content_length;
use crate::http::{Answer, http2};
use crate::server::Server;

/// What became of a request.
pub(crate) enum Served<B> {
    /// It is not ours: here it is again.
    Pass(Request<B>),
    /// Its answer.
    Answer(Answer),
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
    B: Body<Data = Bytes> + Send,
{
    let (mut parts, body) = request.into_parts();
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
    parts: Parts,
    body: B,
    peer: Peer,
) -> impl Future<Output = Served<B>> + Send + use<B>
where
    B: Body<Data = Bytes> + Send,
{
    let decision = decide_found(server, found, &parts, peer);
    serve_decided(server, parts, body, decision)
}

/// Carries out what was decided on a request.
pub(crate) fn serve_decided<B>(
    server: &Arc<Server>,
    parts: Parts,
    body: B,
    mut decision: Decision,
) -> impl Future<Output = Served<B>> + Send + use<B>
where
    B: Body<Data = Bytes> + Send,
{
    let caller = Caller::of(server, &mut decision);
    // An answer may be waited for long: nothing of the request is kept meanwhile, and nothing is moved about for it.
    let asked = match decision {
        Decision::Exchange(exchange) => Asked::Exchange(exchange, content_length(&parts.headers)),
        decision => Asked::Other(Box::new((parts, decision))),
    };
    carry_out(Arc::clone(server), asked, body, caller)
}

/// A request on which it is decided.
enum Asked {
    /// A worker answers it. The length of its body, where its head has one.
    Exchange(Exchange, Option<usize>),
    /// Anything else. Boxed, so that an exchange is not moved about at its size.
    Other(Box<(Parts, Decision)>),
}

async fn carry_out<B>(server: Arc<Server>, asked: Asked, body: B, caller: Option<Caller>) -> Served<B>
where
    B: Body<Data = Bytes> + Send,
{
    match asked {
        Asked::Exchange(asked, length) => {
            Served::Answer(exchange(&server.hub, asked, length, body, caller).await)
        }
        Asked::Other(asked) => Box::pin(carry_out_other(server, *asked, body)).await,
    }
}

async fn carry_out_other<B>(
    server: Arc<Server>,
    (parts, mut decision): (Parts, Decision),
    body: B,
) -> Served<B>
where
    B: Body<Data = Bytes> + Send,
{
    if let Decision::Later(later) = decision {
        decision = resolve(&server, later).await;
    }
    let caller = Caller::of(&server, &mut decision);
    match decision {
        Decision::Pass | Decision::Later(_) => Served::Pass(Request::from_parts(parts, body)),
        Decision::Answer(answer) => Served::Answer(answer),
        Decision::Upgrade(asked) => Served::Answer(upgrade(server, parts, asked).await),
        Decision::Exchange(asked) => {
            let length = content_length(&parts.headers);
            drop(parts);
            Served::Answer(exchange(&server.hub, asked, length, body, caller).await)
        }
    }
}
