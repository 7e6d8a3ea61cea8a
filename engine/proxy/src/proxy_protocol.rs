//! Owns the PROXY protocol, versions 1 and 2: the line or the block of bytes with which a proxy
//! says for whom it opened a connection.
//!
//! Refuses what is not exactly one of them, and to read a byte more. Bound: [`V1_BYTES_MAX`] and
//! [`V2_BYTES_MAX`].

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest line, its end included.
const V1_BYTES_MAX: usize = 107;
/// Most bytes after the fixed part.
const V2_BYTES_MAX: usize = 2_048;

const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const V1_START: &[u8] = b"PROXY ";

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no header of the PROXY protocol")
}

/// Reads the header; `None` where the proxy speaks for itself or does not say for whom.
///
/// # Errors
/// What is no header, and what ends before one.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let mut start = [0; V2_SIGNATURE.len()];
    stream.read_exact(&mut start).await?;
    if start == *V2_SIGNATURE {
        return read_v2(stream).await;
    }
    if !start.starts_with(V1_START) {
        return Err(malformed());
    }
    // A byte at a time: what follows the line is not ours.
    let mut line = start.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() >= V1_BYTES_MAX {
            return Err(malformed());
        }
        line.push(stream.read_u8().await?);
    }
    let text = std::str::from_utf8(&line[..line.len() - 2]).map_err(|_| malformed())?;
    parse_v1(text).ok_or_else(malformed)
}

/// `PROXY TCP4 192.0.2.1 192.0.2.2 56324 443`
fn parse_v1(text: &str) -> Option<Option<SocketAddr>> {
    let words: Vec<&str> = text.split(' ').collect();
    if words.get(1) == Some(&"UNKNOWN") {
        return Some(None);
    }
    let ["PROXY", family, source, target, from, to] = words.as_slice() else { return None };
    let (source, target): (IpAddr, IpAddr) = (source.parse().ok()?, target.parse().ok()?);
    let port = |text: &str| {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
        let is_short = text == "0" || !text.starts_with('0');
        text.parse::<u16>().ok().filter(|_| is_plain && is_short)
    };
    port(to)?;
    let fits = match *family {
        "TCP4" => source.is_ipv4() && target.is_ipv4(),
        "TCP6" => source.is_ipv6() && target.is_ipv6(),
        _ => false,
    };
    Some(Some(SocketAddr::new(source, port(from)?))).filter(|_| fits)
}

async fn read_v2(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let mut fixed = [0; 4];
    stream.read_exact(&mut fixed).await?;
    let [command, family, high, low] = fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > V2_BYTES_MAX {
        return Err(malformed());
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    match command {
        // LOCAL: a check of the proxy's own.
        0x20 => Ok(None),
        0x21 => parse_v2(family, &rest).ok_or_else(malformed),
        _ => Err(malformed()),
    }
}

/// The source in what follows the fixed part.
fn parse_v2(family: u8, rest: &[u8]) -> Option<Option<SocketAddr>> {
    match family {
        // TCP over IPv4, then over IPv6.
        0x11 => {
            let (source, ports) = (rest.get(..4)?, rest.get(8..12)?);
            let address = Ipv4Addr::from(<[u8; 4]>::try_from(source).ok()?);
            Some(Some((address, u16::from_be_bytes([ports[0], ports[1]])).into()))
        }
        0x21 => {
            let (source, ports) = (rest.get(..16)?, rest.get(32..36)?);
            let address = Ipv6Addr::from(<[u8; 16]>::try_from(source).ok()?);
            Some(Some((address, u16::from_be_bytes([ports[0], ports[1]])).into()))
        }
        // UNSPEC, and sockets of other kinds.
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => Some(None),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a stream that ends after `bytes` is read as, and what is left of it.
    fn read_of(bytes: &[u8]) -> (Result<Option<String>, ()>, usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut rest = bytes;
        let read = runtime.block_on(read(&mut rest));
        (read.map(|source| source.map(|source| source.to_string())).map_err(|_| ()), rest.len())
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = (rest.len() as u16).to_be_bytes();
        [V2_SIGNATURE.as_slice(), &[command, family], &length, rest].concat()
    }

    #[test]
    fn lines_are_read_to_their_end() {
        let source = |text: &str| Ok(Some(text.to_owned()));
        for (line, expected) in [
            ("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n", source("192.0.2.1:56324")),
            ("PROXY TCP6 2001:db8::1 ::1 1 2\r\n", source("[2001:db8::1]:1")),
            ("PROXY UNKNOWN\r\n", Ok(None)),
            ("PROXY UNKNOWN ff:: ee:: 1 2\r\n", Ok(None)),
            ("PROXY TCP4 2001:db8::1 ::1 1 2\r\n", Err(())),
            ("PROXY TCP4 1.1.1.1 2.2.2.2 65536 2\r\n", Err(())),
            ("PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n", Err(())),
            ("PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n", Err(())),
            ("PROXY TCP4  1.1.1.1 2.2.2.2 1 2\r\n", Err(())),
            ("PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n", Err(())),
            ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n", Err(())),
            ("PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n", Err(())),
        ] {
            let (read, left) = read_of(format!("{line}GET /").as_bytes());
            assert_eq!((read, left), (expected, 5), "{line:?}");
        }
        for bad in ["GET / HTTP/1.1\r\n\r\n", "PROXY TCP4 1.1.1.1 2.2.2.2 1 2", "", "PROXY \r\n"] {
            assert_eq!(read_of(bad.as_bytes()).0, Err(()), "{bad:?}");
        }
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
        assert_eq!(read_of(long.as_bytes()).0, Err(()));
    }

    #[test]
    fn blocks_are_read_to_their_end() {
        let v4 = [1, 2, 3, 4, 5, 6, 7, 8, 0, 80, 1, 187];
        let mut v6 = [0; 36];
        (v6[15], v6[33]) = (1, 9);
        let with_more = [v4.as_slice(), &[4, 0, 1, 0]].concat();
        let source = |text: &str| Ok(Some(text.to_owned()));
        for (block, expected) in [
            (v2(0x21, 0x11, &v4), source("1.2.3.4:80")),
            (v2(0x21, 0x21, &v6), source("[::1]:9")),
            (v2(0x21, 0x11, &with_more), source("1.2.3.4:80")),
            (v2(0x20, 0x00, &[]), Ok(None)),
            (v2(0x21, 0x00, &[1, 2]), Ok(None)),
            (v2(0x21, 0x11, &v4[..11]), Err(())),
            (v2(0x21, 0x21, &v4), Err(())),
            (v2(0x22, 0x11, &v4), Err(())),
            (v2(0x11, 0x11, &v4), Err(())),
            (v2(0x21, 0x41, &v4), Err(())),
        ] {
            let (read, left) = read_of(&[block.as_slice(), b"GET /"].concat());
            assert_eq!((read, left), (expected, 5), "{block:?}");
        }
        let block = v2(0x21, 0x11, &v4);
        for end in 0..block.len() {
            assert_eq!(read_of(&block[..end]).0, Err(()), "{end}");
        }
        assert_eq!(read_of(&v2(0x20, 0, &[0; V2_BYTES_MAX + 1])).0, Err(()));
    }
}
