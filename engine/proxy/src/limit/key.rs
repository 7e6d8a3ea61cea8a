//! Owns what requests are counted by: the client's address or network, the API key or user that it
//! proved, a header, the host, the path, or nothing, or several of these together.
//!
//! Refuses to know zones. Bound: a key of at most [`KEY_BYTES_MAX`]; a longer one is replaced by
//! its SHA-256.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::{HeaderMap, HeaderName, header};
use sha2::{Digest, Sha256};
use truststram_base::Identity;

/// Longest key that is kept as it is.
const KEY_BYTES_MAX: usize = 256;
/// Most parts of one key.
const PARTS_MAX: usize = 4;

/// What a request is counted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Constant,
    /// The network of the client's address, as bits of IPv4 and of IPv6.
    Ip(u8, u8),
    Header(HeaderName),
    Host,
    Path,
    ApiKey,
    User,
}

/// A request as keys see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) client: Option<IpAddr>,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    /// Who it is from, where that was asked.
    pub(crate) identity: Option<&'a Identity>,
}

/// The text names nothing that requests can be counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not one to {PARTS_MAX} of ip, ip/24/64 (bits of IPv4 and IPv6), api-key, user, host, path, \
     constant and header:NAME, separated by spaces"
)]
pub struct NotAKey;

impl FromStr for Key {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let parts: Vec<Part> =
            text.split_ascii_whitespace().map(part_of).collect::<Result<_, _>>()?;
        if (1..=PARTS_MAX).contains(&parts.len()) { Ok(Self(parts)) } else { Err(NotAKey) }
    }
}

impl fmt::Display for Key {
    /// As the configuration writes it; addresses always with their bits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.0.iter().enumerate() {
            f.write_str(if index > 0 { " " } else { "" })?;
            match part {
                Part::Constant => f.write_str("constant")?,
                Part::Ip(v4, v6) => write!(f, "ip/{v4}/{v6}")?,
                Part::Header(name) => write!(f, "header:{name}")?,
                Part::Host => f.write_str("host")?,
                Part::Path => f.write_str("path")?,
                Part::ApiKey => f.write_str("api-key")?,
                Part::User => f.write_str("user")?,
            }
        }
        Ok(())
    }
}

fn part_of(text: &str) -> Result<Part, NotAKey> {
    let bits = |text: &str, most: u8| match text.parse::<u8>() {
        Ok(bits) if bits <= most => Ok(bits),
        _ => Err(NotAKey),
    };
    match text {
        "constant" => Ok(Part::Constant),
        "ip" => Ok(Part::Ip(32, 128)),
        "host" => Ok(Part::Host),
        "path" => Ok(Part::Path),
        "api-key" => Ok(Part::ApiKey),
        "user" => Ok(Part::User),
        _ => {
            if let Some(name) = text.strip_prefix("header:") {
                let name = name.parse::<HeaderName>().map_err(|_| NotAKey)?;
                return Ok(if name == header::HOST { Part::Host } else { Part::Header(name) });
            }
            let (v4, v6) =
                text.strip_prefix("ip/").and_then(|rest| rest.split_once('/')).ok_or(NotAKey)?;
            Ok(Part::Ip(bits(v4, 32)?, bits(v6, 128)?))
        }
    }
}

impl Key {
    /// Whether it counts by who a request is from.
    pub fn is_of_identity(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::ApiKey | Part::User))
    }

    /// Whether it counts by a field.
    pub(crate) fn reads_headers(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Header(_)))
    }

    /// Writes the key of `subject`; empty where it has none, which is not limited.
    pub(crate) fn write(&self, subject: &Subject<'_>, key: &mut Vec<u8>) {
        key.clear();
        let mut has_any = false;
        for (index, part) in self.0.iter().enumerate() {
            if index > 0 {
                // Header values, hosts and paths hold no zero byte; addresses know their length.
                key.push(0);
            }
            let before = key.len();
            part.write(subject, key);
            has_any |= key.len() > before;
        }
        if !has_any {
            key.clear();
        } else if key.len() > KEY_BYTES_MAX {
            let digest = Sha256::digest(&key);
            key.clear();
            key.extend_from_slice(&digest);
        }
    }
}

impl Part {
    fn write(&self, subject: &Subject<'_>, key: &mut Vec<u8>) {
        match self {
            Self::Constant => key.push(b'*'),
            Self::Ip(v4, v6) => match subject.client.map(|client| client.to_canonical()) {
                Some(IpAddr::V4(address)) => {
                    let mask = u32::MAX.checked_shl(32 - u32::from(*v4)).unwrap_or(0);
                    key.extend_from_slice(&(address.to_bits() & mask).to_be_bytes());
                }
                Some(IpAddr::V6(address)) => {
                    let mask = u128::MAX.checked_shl(128 - u32::from(*v6)).unwrap_or(0);
                    key.extend_from_slice(&(address.to_bits() & mask).to_be_bytes());
                }
                None => {}
            },
            Self::Header(name) => {
                for value in subject.headers.get_all(name) {
                    key.extend_from_slice(value.as_bytes());
                }
            }
            Self::Host => key.extend(subject.host.bytes().map(|byte| byte.to_ascii_lowercase())),
            Self::Path => key.extend_from_slice(subject.path.as_bytes()),
            Self::ApiKey => {
                let id = subject.identity.and_then(|identity| identity.key.as_deref());
                key.extend_from_slice(id.unwrap_or_default().as_bytes());
            }
            Self::User => {
                let user = subject.identity.map(|identity| identity.user.as_str());
                key.extend_from_slice(user.unwrap_or_default().as_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use truststram_base::{Credential, Scopes, UserId};

    use super::*;

    fn key_of(text: &str, client: &str, api_key: &str) -> Vec<u8> {
        let mut headers = HeaderMap::new();
        if !api_key.is_empty() {
            headers.insert("x-api-key", api_key.parse().unwrap());
        }
        let (client, host, path) = (client.parse().ok(), "A.example", "/p");
        let identity = Identity {
            user: UserId::new("ada").unwrap(),
            key: Some("0123".into()),
            scopes: Scopes::NONE,
            role: None,
            by: Credential::Key,
        };
        let identity = Some(&identity).filter(|_| !api_key.is_empty());
        let subject = Subject { client, headers: &headers, host, path, identity };
        let mut key = Vec::new();
        text.parse::<Key>().unwrap().write(&subject, &mut key);
        key
    }

    #[test]
    fn keys_are_exact() {
        assert_eq!(key_of("ip", "10.1.2.3", ""), [10, 1, 2, 3]);
        assert_eq!(key_of("ip", "::ffff:10.1.2.3", ""), [10, 1, 2, 3]);
        assert_eq!(key_of("ip/24/64", "10.1.2.3", ""), [10, 1, 2, 0]);
        assert_eq!(key_of("ip/0/0", "10.1.2.3", ""), [0, 0, 0, 0]);
        let network = key_of("ip/24/64", "2001:db8:1:2:3:4:5:6", "");
        assert_eq!(network, key_of("ip", "2001:db8:1:2::", ""));
        assert_eq!(key_of("header:X-API-Key", "10.1.2.3", "k"), b"k");
        assert_eq!(key_of("host", "10.1.2.3", ""), b"a.example");
        assert_eq!(key_of("path header:x-api-key", "10.1.2.3", "k"), b"/p\0k");
        assert_eq!(key_of("constant", "", ""), b"*");
        assert_eq!(key_of("api-key", "", "k"), b"0123");
        assert_eq!(key_of("user path", "", "k"), b"ada\0/p");
        assert_ne!(key_of("header:x-api-key", "", &"a".repeat(300)), b"");
    }

    #[test]
    fn a_key_is_written_as_it_is_read() {
        for text in ["ip/32/128 host", "header:x-a path", "api-key", "user constant"] {
            assert_eq!(text.parse::<Key>().unwrap().to_string(), text);
        }
        assert_eq!("ip".parse::<Key>().unwrap().to_string(), "ip/32/128");
    }

    #[test]
    fn a_request_without_the_key_has_none() {
        assert_eq!(key_of("header:x-api-key", "10.1.2.3", ""), b"");
        assert_eq!(key_of("ip header:x-api-key", "", ""), b"");
        assert_eq!(key_of("api-key user", "10.1.2.3", ""), b"");
    }

    #[test]
    fn wrong_keys_are_refused() {
        for wrong in ["", "ip/24", "ip/33/64", "ip/24/129", "cookie", "header:", "ip ip ip ip ip"] {
            assert_eq!(wrong.parse::<Key>(), Err(NotAKey), "{wrong}");
        }
    }
}
