//! Files below a path: the bundles of the official client.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, ETAG, ORIGIN, VARY};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, Uri};
use sha1::{Digest, Sha1};

use super::compress;
use super::cors::Origins;
use super::etag::is_fresh;
use super::mount::{Decision, Mount, RequestHead};
use super::{Answer, answer, plain};

/// A file served below the path of an endpoint, such as the client's bundle `socket.io.js`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientFile {
    /// Its name below the path.
    pub name: &'static str,
    /// The `Content-Type`. Default: JavaScript, or JSON for the name of a source map (`.map`).
    pub content_type: &'static str,
    /// The `ETag`, quotes included. Default: made of the content. A compressed form has one of its own, which
    /// is made of this one.
    pub etag: HeaderValue,
    /// The content.
    pub body: Bytes,
    /// The content compressed by Brotli, for clients that accept it.
    pub brotli: Option<Bytes>,
    /// The content compressed by gzip, for clients that accept it.
    pub gzip: Option<Bytes>,
}

impl ClientFile {
    /// A file without compressed forms.
    pub fn new(name: &'static str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let is_map = Path::new(name).extension().is_some_and(|extension| extension == "map");
        let content_type = if is_map { "application/json" } else { "text/javascript; charset=utf-8" };
        let mut tag = String::from("\"");
        for byte in Sha1::digest(&body) {
            // A write to a string does not fail.
            let _ = write!(tag, "{byte:02x}");
        }
        tag.push('"');
        let etag = HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("\"\""));
        Self { name, content_type, etag, body, brotli: None, gzip: None }
    }

    /// The form that a request likes best: its coding, its content and its tag.
    fn form(&self, request: &Parts) -> (Option<&'static str>, &Bytes, HeaderValue) {
        let forms = [("br", &self.brotli), ("gzip", &self.gzip)];
        let forms = forms.into_iter().filter_map(|(coding, body)| Some((coding, body.as_ref()?)));
        match compress::liked(&request.headers, forms) {
            None => (None, &self.body, self.etag.clone()),
            Some((coding, body)) => (Some(coding), body, tag_of_form(&self.etag, coding)),
        }
    }

    fn has_forms(&self) -> bool {
        self.brotli.is_some() || self.gzip.is_some()
    }
}

/// The tag of a compressed form: `"tag-br"` for `"tag"`.
fn tag_of_form(etag: &HeaderValue, coding: &str) -> HeaderValue {
    let Some(tag) = etag.as_bytes().strip_suffix(b"\"") else { return etag.clone() };
    HeaderValue::from_bytes(&[tag, b"-", coding.as_bytes(), b"\""].concat()).unwrap_or(etag.clone())
}

/// The bundles of the official client, under the names that Node's server has for them since 4.8.4. Requests
/// for any other name go to the application.
#[derive(Debug, Clone)]
pub struct ClientFiles(Vec<ClientFile>);

impl ClientFiles {
    /// The names.
    pub const NAMES: [&'static str; 8] = [
        "socket.io.js",
        "socket.io.js.map",
        "socket.io.min.js",
        "socket.io.min.js.map",
        "socket.io.esm.min.js",
        "socket.io.esm.min.js.map",
        "socket.io.msgpack.min.js",
        "socket.io.msgpack.min.js.map",
    ];

    /// Takes the files that `get` has. It is asked for each of the [names](Self::NAMES), and for their
    /// compressed forms: the names with `.br` and `.gz` behind them.
    pub fn new(mut get: impl FnMut(&str) -> Option<Bytes>) -> Self {
        let files = Self::NAMES.into_iter().filter_map(|name| {
            let mut file = ClientFile::new(name, get(name)?);
            file.brotli = get(&format!("{name}.br"));
            file.gzip = get(&format!("{name}.gz"));
            Some(file)
        });
        Self(files.collect())
    }

    /// Reads the files in a folder, such as `node_modules/socket.io-client/dist`, now and not again. Those
    /// without a form by gzip beside them (`socket.io.js.gz`) are compressed here. A form by Brotli
    /// (`socket.io.js.br`) is served if it is there.
    ///
    /// ```no_run
    /// use switchboard::{ClientFiles, Switchboard};
    ///
    /// let files = ClientFiles::read("node_modules/socket.io-client/dist")?;
    /// let io = Switchboard::builder().client_files(files).build()?;
    /// # Ok::<_, std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// The errors of reading. [`NotFound`](io::ErrorKind::NotFound) if none of the files is there.
    pub fn read(folder: impl AsRef<Path>) -> io::Result<Self> {
        let (folder, mut failed) = (folder.as_ref(), None);
        let mut files = Self::new(|name| match fs::read(folder.join(name)) {
            Ok(content) => Some(content.into()),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    failed = Some(error);
                }
                None
            }
        });
        if let Some(error) = failed {
            return Err(error);
        }
        if files.0.is_empty() {
            let message = format!("no bundle of Socket.IO's client in {}", folder.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        for file in files.0.iter_mut().filter(|file| file.gzip.is_none()) {
            let encoder = GzEncoder::new(Vec::new(), Compression::best());
            file.gzip = Some(compress::write(encoder, &file.body, GzEncoder::finish)?.into());
        }
        Ok(files)
    }
}

impl IntoIterator for ClientFiles {
    type Item = ClientFile;
    type IntoIter = std::vec::IntoIter<ClientFile>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// The files below one path. Pages of listed origins may read them (CORS), as the answers of the endpoint
/// there.
pub(crate) struct Files {
    pub(crate) files: Arc<[ClientFile]>,
    pub(crate) origins: Origins,
}

impl Mount for Files {
    fn takes(&self, rest: &str, _target: &Uri) -> bool {
        self.files.iter().any(|file| file.name == rest)
    }

    fn decide(self: Arc<Self>, head: &RequestHead<'_>) -> Decision {
        let Some(file) = self.files.iter().find(|file| file.name == head.rest) else { return Decision::Pass };
        let mut answer = serve(file, &self.origins, head.parts);
        self.origins.add_headers(head.parts.headers.get(ORIGIN), answer.headers_mut());
        Decision::Answer(answer)
    }
}

fn serve(file: &ClientFile, origins: &Origins, parts: &Parts) -> Answer {
    if parts.method == Method::OPTIONS && parts.headers.contains_key(ORIGIN) {
        return origins.preflight(&parts.headers);
    }
    if parts.method != Method::GET && parts.method != Method::HEAD {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
    }
    let (coding, body, etag) = file.form(parts);
    let mut answer = if is_fresh(&parts.headers, &etag) {
        let mut answer = Response::new(super::Body::default());
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        answer
    } else {
        let mut answer = answer(StatusCode::OK, file.content_type, body.clone());
        let coding = coding.map(|coding| (CONTENT_ENCODING, HeaderValue::from_static(coding)));
        answer.headers_mut().extend(coding);
        answer
    };
    answer.headers_mut().insert(ETAG, etag);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=0"));
    if file.has_forms() {
        answer.headers_mut().append(VARY, ACCEPT_ENCODING.into());
    }
    answer
}
