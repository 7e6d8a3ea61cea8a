//! Owns the last look at an answer on its way to the client: its head says what its body will be.
//!
//! Refuses what [`Compiled::takes`] does not take. Bound: one answer.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use pingora_core::modules::http::{HttpModule, HttpModuleBuilder, Module};
use pingora_core::{ErrorType, OrErr, Result};
use pingora_http::{RequestHeader, ResponseHeader};

use super::accept::choose;
use super::encoder::Encoder;
use super::options::Compiled;

/// What a body's own bytes were said to be, which they no longer are.
const OF_THE_BYTES: [&str; 4] = ["content-md5", "digest", "content-digest", "repr-digest"];

/// Makes one for each request.
pub(crate) struct Builder;

impl HttpModuleBuilder for Builder {
    fn init(&self) -> Module {
        Box::new(Compression::default())
    }
}

/// The compression of one answer.
#[derive(Default)]
pub(crate) struct Compression {
    /// How answers are compressed, if they are.
    pub(crate) options: Option<Arc<Compiled>>,
    accepted: HeaderMap,
    is_head: bool,
    encoder: Option<Encoder>,
    is_flushed: bool,
}

impl Compression {
    /// Whether this answer is being compressed.
    pub(crate) fn is_at_work(&self) -> bool {
        self.encoder.is_some()
    }

    fn begin(&mut self, head: &mut ResponseHeader, is_empty: bool) -> Result<()> {
        let Some(options) = &self.options else { return Ok(()) };
        if !options.takes(head.status, &head.headers) {
            return Ok(());
        }
        vary(head)?;
        // A head alone says what the head of the whole answer would.
        if is_empty && !self.is_head {
            return Ok(());
        }
        let Some((encoding, level)) = choose(&self.accepted, &options.encodings) else {
            return Ok(());
        };
        self.is_flushed = !head.headers.contains_key(header::CONTENT_LENGTH);
        if !self.is_head {
            let encoder = Encoder::new(encoding, level);
            self.encoder = Some(encoder.or_err(ErrorType::InternalError, "no encoder")?);
        }
        head.insert_header(header::CONTENT_ENCODING, encoding.name())?;
        head.remove_header(&header::CONTENT_LENGTH);
        head.remove_header(&header::ACCEPT_RANGES);
        for name in OF_THE_BYTES {
            head.remove_header(name);
        }
        if !self.is_head {
            // Of HTTP/1.1; there is none in HTTP/2, and it is left out there.
            head.insert_header(header::TRANSFER_ENCODING, "chunked")?;
        }
        // The bytes are not the same, what they mean is.
        if let Some(strong) =
            head.headers.get(header::ETAG).filter(|tag| tag.as_bytes().first() == Some(&b'"'))
            && let Ok(weak) = HeaderValue::from_bytes(&[b"W/", strong.as_bytes()].concat())
        {
            head.insert_header(header::ETAG, weak)?;
        }
        Ok(())
    }
}

/// Says that the answer depends on what codings the client accepts.
fn vary(head: &mut ResponseHeader) -> Result<()> {
    let is_said = head.headers.get_all(header::VARY).iter().any(|line| {
        let mut names = line.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        names.any(|name| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding"))
    });
    if !is_said {
        head.append_header(header::VARY, "Accept-Encoding")?;
    }
    Ok(())
}

#[async_trait]
impl HttpModule for Compression {
    async fn request_header_filter(&mut self, request: &mut RequestHeader) -> Result<()> {
        self.is_head = request.method == Method::HEAD;
        if request.version < http::Version::HTTP_11 {
            // A body whose length is not known cannot be sent to it.
            return Ok(());
        }
        for value in request.headers.get_all(header::ACCEPT_ENCODING) {
            self.accepted.append(header::ACCEPT_ENCODING, value.clone());
        }
        Ok(())
    }

    async fn response_header_filter(
        &mut self,
        head: &mut ResponseHeader,
        end_of_stream: bool,
    ) -> Result<()> {
        self.begin(head, end_of_stream)
    }

    fn response_body_filter(
        &mut self,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
    ) -> Result<()> {
        let Some(encoder) = &mut self.encoder else { return Ok(()) };
        let piece = body.take().unwrap_or_default();
        let out = encoder.push(&piece, self.is_flushed, end_of_stream);
        let out = out.or_err(ErrorType::InternalError, "while an answer was compressed")?;
        if end_of_stream {
            self.encoder = None;
        }
        *body = Some(out).filter(|out| !out.is_empty() || end_of_stream);
        Ok(())
    }

    fn response_trailer_filter(
        &mut self,
        _trailers: &mut Option<Box<HeaderMap>>,
    ) -> Result<Option<Bytes>> {
        self.rest()
    }

    fn response_done_filter(&mut self) -> Result<Option<Bytes>> {
        self.rest()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

impl Compression {
    /// What is left where the last piece of a body did not say that it was the last.
    fn rest(&mut self) -> Result<Option<Bytes>> {
        let Some(mut encoder) = self.encoder.take() else { return Ok(None) };
        let rest = encoder.push(&[], false, true);
        rest.or_err(ErrorType::InternalError, "while an answer was compressed").map(Some)
    }
}
