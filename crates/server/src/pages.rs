//! The pages, embedded from `web/dist`, and the bundles of the client.

use std::borrow::Cow;

use axum::Router;
use axum::extract::Request;
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use bytes::Bytes;
use rust_embed::{EmbeddedFile, RustEmbed};
use switchboard::ClientFiles;

use crate::hex::hex;

/// The content security policy: it allows only the features that the pages were tested to need.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
);

/// The folder in which Vite puts files whose names change with their content.
const HASHED: &str = "assets/";

/// The folder in which Vite puts the client's bundles.
const BUNDLES: &str = "socket.io/";

#[derive(RustEmbed)]
#[folder = "../../web/dist"]
struct Dist;

/// Serves the chat page on `/`, its files, and `/healthz`.
pub fn routes() -> Router {
    Router::new()
        .route("/healthz", get("ok\n"))
        .fallback(any(page))
        .layer(axum::middleware::map_response(guard))
}

/// The bundles of the official client, for [`Builder::client_files`](switchboard::Builder::client_files).
pub fn client_files() -> ClientFiles {
    ClientFiles::new(|name| Dist::get(&format!("{BUNDLES}{name}")).map(body))
}

async fn page(request: Request) -> Response {
    let path = match request.uri().path().trim_start_matches('/') {
        "" => "index.html",
        path => path,
    };
    // The library serves the bundles, under its own path.
    let Some(file) = Dist::get(path).filter(|_| !path.starts_with(BUNDLES)) else {
        return (StatusCode::NOT_FOUND, "not found\n").into_response();
    };
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "GET, HEAD")], "GET or HEAD only\n")
            .into_response();
    }
    let etag = etag(&file);
    let caching = if path.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers = [(ETAG, etag.clone()), (CACHE_CONTROL, HeaderValue::from_static(caching))];
    if is_fresh(request.headers(), &etag) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, [(CONTENT_TYPE, content_type(path))], body(file)).into_response()
}

/// Adds the headers that every answer has.
async fn guard(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// Whether a cache has this version of the file. [RFC 9110,
/// 13.1.2](https://www.rfc-editor.org/rfc/rfc9110#section-13.1.2): a weak tag matches too.
fn is_fresh(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let tags = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = tags.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).as_bytes() == etag.as_bytes())
}

/// An entity tag computed from the content.
fn etag(file: &EmbeddedFile) -> HeaderValue {
    let hash = file.metadata.sha256_hash();
    let tag = format!("\"{}\"", hex(hash.get(..16).unwrap_or(&hash)));
    HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("\"\""))
}

fn body(file: EmbeddedFile) -> Bytes {
    match file.data {
        Cow::Borrowed(data) => Bytes::from_static(data),
        Cow::Owned(data) => data.into(),
    }
}

/// The media type of a file that Vite writes.
fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("map" | "json") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("webp") => "image/webp",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use tower_service::Service;

    use super::*;

    async fn ask(method: &str, path: &str, tag: Option<&HeaderValue>) -> Response {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(tag) = tag {
            request = request.header(IF_NONE_MATCH, tag);
        }
        let request = request.body(Body::empty()).expect("a request");
        routes().call(request).await.expect("infallible")
    }

    fn header(response: &Response, name: impl axum::http::header::AsHeaderName) -> &str {
        response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    fn hashed() -> String {
        let path = Dist::iter().find(|path| path.starts_with(HASHED)).expect("Vite lays out assets");
        format!("/{path}")
    }

    #[tokio::test]
    async fn the_page_is_asked_for_anew_each_time_and_its_files_are_kept_for_ever() {
        for (path, kind, caching) in [
            ("/", "text/html; charset=utf-8", "no-cache"),
            ("/index.html", "text/html; charset=utf-8", "no-cache"),
            ("/favicon.svg", "image/svg+xml", "no-cache"),
            (&hashed(), "text/", "public, max-age=31536000, immutable"),
        ] {
            let page = ask("GET", path, None).await;
            assert_eq!((page.status(), header(&page, CACHE_CONTROL)), (StatusCode::OK, caching), "{path}");
            assert!(header(&page, CONTENT_TYPE).starts_with(kind), "{path}");
        }
    }

    #[tokio::test]
    async fn a_file_that_a_cache_has_is_not_sent_again() {
        let tag = ask("GET", "/", None).await.headers().get(ETAG).expect("a tag").clone();
        let text = tag.to_str().expect("text");
        for fresh in [text, &format!("W/{text}"), &format!("\"other\", {text}"), "*"] {
            let answer = ask("GET", "/", Some(&fresh.parse().expect("a value"))).await;
            assert_eq!(
                (answer.status(), answer.headers().get(ETAG)),
                (StatusCode::NOT_MODIFIED, Some(&tag)),
                "{fresh}"
            );
        }
        for stale in ["\"other\"", "W/\"\"", ""] {
            let answer = ask("GET", "/", Some(&stale.parse().expect("a value"))).await;
            assert_eq!(answer.status(), StatusCode::OK, "{stale}");
        }
    }

    #[tokio::test]
    async fn every_answer_has_the_rules_for_its_page() {
        for (method, path, status) in [
            ("GET", "/", StatusCode::OK),
            ("HEAD", "/", StatusCode::OK),
            ("GET", "/healthz", StatusCode::OK),
            ("POST", "/", StatusCode::METHOD_NOT_ALLOWED),
            ("GET", "/nowhere", StatusCode::NOT_FOUND),
            ("GET", "/../Cargo.toml", StatusCode::NOT_FOUND),
            ("GET", "/socket.io/socket.io.js", StatusCode::NOT_FOUND),
        ] {
            let answer = ask(method, path, None).await;
            assert_eq!(answer.status(), status, "{method} {path}");
            assert_eq!(answer.headers().get(CONTENT_SECURITY_POLICY), Some(&POLICY), "{method} {path}");
            assert_eq!(header(&answer, X_CONTENT_TYPE_OPTIONS), "nosniff", "{method} {path}");
        }
    }

    #[test]
    fn the_client_is_there_whole_and_minified_with_its_source_maps_and_compressed() {
        let files: Vec<_> = client_files().into_iter().collect();
        assert_eq!(files.iter().map(|file| file.name).collect::<Vec<_>>(), ClientFiles::NAMES);
        for file in files {
            let length = |form: Option<Bytes>| form.map_or(usize::MAX, |form| form.len());
            let (whole, brotli, gzip) = (file.body.len(), length(file.brotli), length(file.gzip));
            assert!(0 < brotli && brotli < gzip && gzip < whole / 2, "{}", file.name);
        }
    }
}
