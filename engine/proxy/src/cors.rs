//! Owns what pages of other origins may read (the CORS protocol of the Fetch standard): preflights
//! are answered here, answers say who may see them.
//!
//! Refuses to know paths. What an upstream server says of it is replaced. Bound: the origins of the
//! configuration.

use axum::body::Body;
use http::header::{self, ORIGIN, VARY};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use pingora_http::RequestHeader;

use crate::route::edit::Headers;
use crate::route::spec::Fault;

/// Which pages may read answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CorsSpec {
    /// Origins such as `https://app.example.com`, or `*` for all; none for none at all.
    pub origins: Vec<String>,
    /// Methods that pages may use.
    pub methods: Vec<String>,
    /// Headers that pages may send.
    pub headers: Vec<String>,
    /// Whether pages may send cookies and client certificates.
    pub credentials: bool,
    /// Seconds for which a browser keeps the answer to a preflight.
    pub max_age_s: u32,
}

/// Headers of answers that pages may read beside those that they always may.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("x-request-id, retry-after, ratelimit, ratelimit-policy, link");

/// The compiled form.
#[derive(Debug)]
pub(crate) struct Cors {
    /// `None` for all.
    origins: Option<Vec<HeaderValue>>,
    methods: HeaderValue,
    headers: HeaderValue,
    credentials: bool,
    max_age: HeaderValue,
}

impl Cors {
    pub(crate) fn compile(spec: &CorsSpec, faults: &mut Vec<Fault>) -> Option<Self> {
        if spec.origins.is_empty() {
            return None;
        }
        let mut fault = |message: String| faults.push(Fault::new("gateway.cors", message));
        let is_any = spec.origins.iter().any(|origin| origin == "*");
        if is_any && spec.origins.len() > 1 {
            fault("origins: `*` stands for all; leave the others out".to_owned());
        }
        if is_any && spec.credentials {
            let why = "credentials cannot go with the origin `*`: every page could act as whoever \
                       looks at it; name the origins";
            fault(why.to_owned());
        }
        for origin in spec.origins.iter().filter(|origin| *origin != "*" && !is_origin(origin)) {
            let form = "is no origin such as https://app.example.com, without a path";
            fault(format!("origins: `{origin}` {form}"));
        }
        let is_method = |name: &&String| Method::from_bytes(name.as_bytes()).is_ok();
        if let Some(bad) = spec.methods.iter().find(|name| !is_method(name)) {
            fault(format!("methods: `{bad}` is no method"));
        }
        let is_name = |name: &&String| http::HeaderName::from_bytes(name.as_bytes()).is_ok();
        if let Some(bad) = spec.headers.iter().find(|name| !is_name(name)) {
            fault(format!("headers: `{bad}` is no header"));
        }
        let list = |names: &[String]| HeaderValue::try_from(names.join(", ")).ok();
        let origins = spec.origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
        Some(Self {
            origins: (!is_any).then(|| origins.collect()),
            methods: list(&spec.methods)?,
            headers: list(&spec.headers)?,
            credentials: spec.credentials,
            max_age: HeaderValue::from(spec.max_age_s),
        })
    }

    /// The answer to a preflight, unless the request is none.
    pub(crate) fn preflight(&self, request: &RequestHeader) -> Option<Response<Body>> {
        let asks = request.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if request.method != Method::OPTIONS || !asks || !request.headers.contains_key(ORIGIN) {
            return None;
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        if self.allowed(&request.headers).is_some() {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, self.headers.clone());
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        }
        Some(response)
    }

    /// Says in an answer to `request` whether its page may read it.
    pub(crate) fn write(&self, request: &HeaderMap, headers: &mut impl Headers) {
        for name in [
            header::ACCESS_CONTROL_ALLOW_ORIGIN,
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
        ] {
            headers.remove(&name);
        }
        if self.origins.is_some() {
            headers.add(&VARY, HeaderValue::from_static("Origin"));
        }
        let Some(origin) = self.allowed(request) else { return };
        headers.set(&header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.set(&header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        if self.credentials {
            let yes = HeaderValue::from_static("true");
            headers.set(&header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        }
    }

    /// What the origin of the request is told, if it may read.
    fn allowed(&self, request: &HeaderMap) -> Option<HeaderValue> {
        let origin = request.get(ORIGIN)?;
        match &self.origins {
            None => Some(HeaderValue::from_static("*")),
            Some(origins) => origins.contains(origin).then(|| origin.clone()),
        }
    }
}

/// A scheme and an authority as browsers write them.
fn is_origin(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let is_plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-:[]_+".contains(&byte);
    let is_word = |text: &str| !text.is_empty() && text.bytes().all(is_plain);
    is_word(scheme) && is_word(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(origins: &[&str]) -> CorsSpec {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        CorsSpec {
            origins: texts(origins),
            methods: texts(&["GET", "POST"]),
            headers: texts(&["authorization"]),
            credentials: false,
            max_age_s: 600,
        }
    }

    fn faults(spec: &CorsSpec) -> Vec<String> {
        let mut faults = Vec::new();
        Cors::compile(spec, &mut faults);
        faults.into_iter().map(|fault| fault.message).collect()
    }

    #[test]
    fn a_page_is_told_of_its_own_origin_alone() {
        let cors = Cors::compile(
            &CorsSpec { credentials: true, ..spec(&["https://a.test", "http://localhost:3000"]) },
            &mut Vec::new(),
        )
        .unwrap();
        let check = |origin: &str, expected: Option<&str>| {
            let mut request = HeaderMap::new();
            request.insert(ORIGIN, origin.parse().unwrap());
            let mut answer = HeaderMap::new();
            answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            cors.write(&request, &mut answer);
            let told = answer.get(header::ACCESS_CONTROL_ALLOW_ORIGIN);
            assert_eq!(told.map(|told| told.to_str().unwrap()), expected, "{origin}");
            let credentials = answer.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
            assert_eq!(credentials, expected.is_some());
            assert_eq!(answer[VARY], "Origin");
        };
        check("https://a.test", Some("https://a.test"));
        check("http://localhost:3000", Some("http://localhost:3000"));
        for other in ["http://a.test", "https://a.test.evil", "https://a.test:444", "null"] {
            check(other, None);
        }
    }

    #[test]
    fn preflights_are_answered_and_other_requests_are_not() {
        let cors = Cors::compile(&spec(&["*"]), &mut Vec::new()).unwrap();
        let ask = |method: &str, headers: &[(&'static str, &str)]| {
            let mut request = RequestHeader::build(method, b"/", None).unwrap();
            for (name, value) in headers {
                request.insert_header(*name, *value).unwrap();
            }
            cors.preflight(&request)
        };
        let method = ("access-control-request-method", "POST");
        let answer = ask("OPTIONS", &[("origin", "https://any.test"), method]).unwrap();
        assert_eq!(answer.status(), 204);
        assert_eq!(answer.headers()["access-control-allow-methods"], "GET, POST");
        assert_eq!(answer.headers()["access-control-allow-headers"], "authorization");
        assert_eq!(answer.headers()["access-control-max-age"], "600");
        assert!(ask("OPTIONS", &[method]).is_none());
        assert!(ask("OPTIONS", &[("origin", "https://any.test")]).is_none());
        assert!(ask("POST", &[("origin", "https://any.test"), method]).is_none());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert_eq!(faults(&spec(&["https://a.test", "http://[::1]:80"])), [""; 0]);
        assert_eq!(faults(&spec(&[])), [""; 0]);
        let both = faults(&CorsSpec { credentials: true, ..spec(&["*"]) });
        assert!(both[0].starts_with("credentials cannot go with the origin `*`"), "{both:?}");
        for wrong in ["a.test", "https://a.test/", "https://A.test", "https://", "null"] {
            assert!(faults(&spec(&[wrong]))[0].contains("is no origin"), "{wrong}");
        }
        let methods = vec!["GE T".to_owned()];
        assert!(faults(&CorsSpec { methods, ..spec(&["*"]) })[0].contains("is no method"));
        let headers = vec!["a b".to_owned()];
        assert!(faults(&CorsSpec { headers, ..spec(&["*"]) })[0].contains("is no header"));
    }
}
