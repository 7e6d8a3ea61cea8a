//! Owns who the client is where proxies stand before us, and what an upstream server is told of it:
//! `X-Real-IP`, `X-Forwarded-For`, `-Proto`, `-Host` and `Forwarded` (RFC 7239).
//!
//! Refuses to believe a header of a peer that is not trusted: its own are replaced, those of a
//! trusted proxy are continued. Bound: what a head may hold.

use std::fmt::Write;
use std::net::IpAddr;

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName, HeaderValue};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Where a trusted proxy says whom it speaks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RealIp {
    /// `X-Forwarded-For`: the last address that is not a trusted proxy's.
    #[default]
    XForwardedFor,
    /// `X-Real-IP`.
    XRealIp,
    /// `Forwarded`: the last address that is not a trusted proxy's.
    Forwarded,
}

/// Addresses and networks.
#[derive(Debug, Default)]
pub(crate) struct Networks(Vec<(IpAddr, u8)>);

impl Networks {
    pub(crate) fn parse(texts: &[String]) -> Result<Self, String> {
        let parsed = texts.iter().map(|text| {
            let (address, length) = match text.split_once('/') {
                Some((address, length)) => (address, Some(length)),
                None => (text.as_str(), None),
            };
            let address = address.parse::<IpAddr>().ok().map(|address| address.to_canonical());
            let most = if matches!(address, Some(IpAddr::V4(_))) { 32 } else { 128 };
            let length = match length {
                Some(text) => text.parse().ok().filter(|length| *length <= most),
                None => Some(most),
            };
            match (address, length) {
                (Some(address), Some(length)) => Ok((address, length)),
                _ => {
                    Err(format!("`{text}` is neither an address nor a network such as 10.0.0.0/8"))
                }
            }
        });
        parsed.collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|&(network, length)| match (network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differ = u32::from(network) ^ u32::from(address);
                differ.leading_zeros() >= u32::from(length)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differ = u128::from(network) ^ u128::from(address);
                differ.leading_zeros() >= u32::from(length)
            }
            _ => false,
        })
    }
}

/// The client of a request that came from `peer`.
pub(crate) fn client(
    headers: &HeaderMap,
    peer: IpAddr,
    trusted: &Networks,
    source: RealIp,
) -> IpAddr {
    let peer = peer.to_canonical();
    if !trusted.contains(peer) {
        return peer;
    }
    let name = match source {
        RealIp::XForwardedFor => X_FORWARDED_FOR,
        RealIp::XRealIp => X_REAL_IP,
        RealIp::Forwarded => FORWARDED,
    };
    let mut client = peer;
    for value in headers.get_all(name).iter().rev() {
        for entry in value.to_str().unwrap_or_default().rsplit(',') {
            let text = match source {
                RealIp::Forwarded => for_of(entry),
                RealIp::XForwardedFor | RealIp::XRealIp => Some(entry),
            };
            // What cannot be read hides all before it.
            let Some(address) = text.and_then(address) else { return client };
            client = address;
            if !trusted.contains(client) {
                return client;
            }
        }
    }
    client
}

/// The value of `for` in one element of `Forwarded`.
fn for_of(element: &str) -> Option<&str> {
    // A quote that is open here means that the list was split inside a text.
    if element.contains('\\') || element.matches('"').count() % 2 == 1 {
        return None;
    }
    let pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
    let mut found = pairs.filter(|(name, _)| name.eq_ignore_ascii_case("for"));
    let (_, value) = found.next()?;
    found.next().is_none().then(|| value.trim_matches('"'))
}

/// An address with or without port and brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    if let Some(bracketed) = text.strip_prefix('[') {
        return bracketed.split(']').next()?.parse().ok();
    }
    let (address, port) = text.rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    address.parse().ok()
}

/// What an upstream server is told.
pub(crate) struct Origin<'a> {
    pub(crate) peer: IpAddr,
    pub(crate) client: IpAddr,
    /// Whether the peer's own words are passed on.
    pub(crate) is_trusted: bool,
    pub(crate) scheme: &'static str,
    /// The `Host` of the client.
    pub(crate) host: &'a HeaderValue,
}

/// What is told, given the `headers` of the request.
pub(crate) fn told(headers: &HeaderMap, origin: &Origin<'_>) -> [(HeaderName, HeaderValue); 5] {
    let peer = origin.peer.to_canonical();
    let earlier = |name: &HeaderName| {
        let values = headers.get_all(name).iter().filter(|_| origin.is_trusted);
        let texts: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
        texts.join(", ")
    };
    let mut chain = earlier(&X_FORWARDED_FOR);
    let mut elements = earlier(&FORWARDED);
    for list in [&mut chain, &mut elements] {
        if !list.is_empty() {
            list.push_str(", ");
        }
    }
    // Writing to a `String` cannot fail.
    let _ = write!(chain, "{peer}");
    let _ = match peer {
        IpAddr::V4(address) => write!(elements, "for={address}"),
        IpAddr::V6(address) => write!(elements, "for=\"[{address}]\""),
    };
    let host = origin.host.to_str().unwrap_or_default();
    let is_plain = !host.is_empty() && !host.contains(['"', '\\', ',', ';']);
    if is_plain {
        let _ = write!(elements, ";host=\"{host}\"");
    }
    let _ = write!(elements, ";proto={}", origin.scheme);
    // Made of what headers held already.
    let value = |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
    let kept = |name: &HeaderName| headers.get(name).filter(|_| origin.is_trusted).cloned();
    let scheme = kept(&X_FORWARDED_PROTO).unwrap_or(HeaderValue::from_static(origin.scheme));
    let host = kept(&X_FORWARDED_HOST).unwrap_or_else(|| origin.host.clone());
    [
        (X_FORWARDED_FOR, value(chain)),
        (FORWARDED, value(elements)),
        (X_REAL_IP, value(origin.client.to_string())),
        (X_FORWARDED_PROTO, scheme),
        (X_FORWARDED_HOST, host),
    ]
}

/// Whether it is a header that tells it.
pub(crate) fn tells(name: &str) -> bool {
    let told = [&X_FORWARDED_FOR, &FORWARDED, &X_REAL_IP, &X_FORWARDED_PROTO, &X_FORWARDED_HOST];
    told.into_iter().any(|one| name.eq_ignore_ascii_case(one.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Networks {
        let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
        Networks::parse(&texts).unwrap()
    }

    #[test]
    fn networks_contain_addresses() {
        let some = networks(&["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::1"]);
        let check = |address: &str, expected| {
            assert_eq!(some.contains(address.parse().unwrap()), expected, "{address}");
        };
        check("10.255.0.1", true);
        check("11.0.0.1", false);
        check("192.0.2.7", true);
        check("192.0.2.8", false);
        check("::ffff:10.1.1.1", true);
        check("2001:db8:1::", true);
        check("2001:db9::", false);
        check("::1", true);
        assert!(networks(&["0.0.0.0/0"]).contains("8.8.8.8".parse().unwrap()));
        for bad in ["10.0.0.0/33", "10.0.0.0/128", "x", "10.0.0.0/", "::1/129"] {
            assert!(Networks::parse(&[bad.to_owned()]).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_client_is_the_last_that_is_not_trusted() {
        let trusted = networks(&["10.0.0.0/8"]);
        let check = |source, name: HeaderName, values: &[&str], peer: &str, expected: &str| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(&name, HeaderValue::from_str(value).unwrap());
            }
            let found = client(&headers, peer.parse().unwrap(), &trusted, source);
            assert_eq!(found.to_string(), expected, "{values:?} from {peer}");
        };
        let xff = |values: &[&str], peer: &str, expected: &str| {
            check(RealIp::XForwardedFor, X_FORWARDED_FOR, values, peer, expected);
        };
        xff(&["1.1.1.1"], "8.8.8.8", "8.8.8.8");
        xff(&["1.1.1.1"], "10.0.0.1", "1.1.1.1");
        xff(&["6.6.6.6, 1.1.1.1, 10.0.0.2"], "10.0.0.1", "1.1.1.1");
        xff(&["6.6.6.6", "1.1.1.1:99"], "10.0.0.1", "1.1.1.1");
        xff(&["6.6.6.6, unknown, 10.0.0.3"], "10.0.0.1", "10.0.0.3");
        xff(&[], "10.0.0.1", "10.0.0.1");
        xff(&["[2001:db8::1]:5"], "10.0.0.1", "2001:db8::1");
        check(RealIp::XRealIp, X_REAL_IP, &["1.1.1.1"], "10.0.0.1", "1.1.1.1");
        let forwarded = ["for=6.6.6.6, proto=http;for=\"[2001:db8::1]:80\";host=a, for=10.0.0.9"];
        check(RealIp::Forwarded, FORWARDED, &forwarded, "10.0.0.1", "2001:db8::1");
        // What a client put between quotes names nobody.
        for quoted in [
            "for=1.1.1.1;host=\"x,for=6.6.6.6;a=\";proto=http",
            "for=1.1.1.1;host=\"x;for=6.6.6.6\"",
            "host=\"a\\\";for=6.6.6.6;b=\";for=1.1.1.1",
        ] {
            check(RealIp::Forwarded, FORWARDED, &[quoted], "10.0.0.1", "10.0.0.1");
        }
    }

    #[test]
    fn a_host_that_is_no_host_is_not_passed_on_as_one() {
        let peer = "10.0.0.1".parse().unwrap();
        for host in ["x,for=6.6.6.6;a=", "x;for=6.6.6.6", "a\"b", ""] {
            let head = HeaderMap::new();
            let host = HeaderValue::from_str(host).unwrap();
            let scheme = "http";
            let origin = Origin { peer, client: peer, is_trusted: false, scheme, host: &host };
            let (name, value) = told(&head, &origin)[1].clone();
            assert_eq!((name, value.to_str().unwrap()), (FORWARDED, "for=10.0.0.1;proto=http"));
        }
    }

    #[test]
    fn a_server_is_told_of_the_client() {
        let host = HeaderValue::from_static("a.test");
        let told = |is_trusted| {
            let mut head = HeaderMap::new();
            head.insert(X_FORWARDED_FOR, HeaderValue::from_static("1.1.1.1"));
            head.insert(FORWARDED, HeaderValue::from_static("for=1.1.1.1"));
            head.insert(X_FORWARDED_PROTO, HeaderValue::from_static("https"));
            let peer = "10.0.0.1".parse().unwrap();
            let client = "1.1.1.1".parse().unwrap();
            let origin = Origin { peer, client, is_trusted, scheme: "http", host: &host };
            told(&head, &origin).map(|(name, value)| {
                assert!(tells(&name.as_str().to_uppercase()));
                value.to_str().unwrap().to_owned()
            })
        };
        let element = "for=10.0.0.1;host=\"a.test\";proto=http";
        assert_eq!(told(false), ["10.0.0.1", element, "1.1.1.1", "http", "a.test"]);
        let both = format!("for=1.1.1.1, {element}");
        assert_eq!(told(true), ["1.1.1.1, 10.0.0.1", &both, "1.1.1.1", "https", "a.test"]);
        assert!(!tells("x-forwarded"));
    }
}
