//! Owns the choice of a coding from `Accept-Encoding` (RFC 9110, section 12.5.3).
//!
//! Refuses to fail: where nothing fits, an answer is sent as it is. Bound: one pass over the
//! header.

use http::{HeaderMap, header};

use super::options::Encoding;

/// What a client thinks of a coding, in thousandths; `None` where it does not say.
#[derive(Clone, Copy, Debug, Default)]
struct Wishes {
    gzip: Option<u16>,
    brotli: Option<u16>,
    zstd: Option<u16>,
    identity: Option<u16>,
    any: Option<u16>,
}

/// The coding that a client wants most of those that `offered` has; of several that it wants
/// equally, the first one.
pub(super) fn choose(headers: &HeaderMap, offered: &[(Encoding, u32)]) -> Option<(Encoding, u32)> {
    let wishes = Wishes::of(headers);
    let mut best: Option<((Encoding, u32), u16)> = None;
    for &one in offered {
        let wish = match one.0 {
            Encoding::Gzip => wishes.gzip,
            Encoding::Brotli => wishes.brotli,
            Encoding::Zstd => wishes.zstd,
        };
        let weight = wish.or(wishes.any).unwrap_or(0);
        if weight > best.map_or(0, |(_, weight)| weight) {
            best = Some((one, weight));
        }
    }
    let (one, weight) = best?;
    // What is not named is acceptable, but not wanted.
    (weight >= wishes.identity.unwrap_or(0)).then_some(one)
}

impl Wishes {
    fn of(headers: &HeaderMap) -> Self {
        let mut wishes = Self::default();
        let lines = headers.get_all(header::ACCEPT_ENCODING).iter();
        for entry in lines.flat_map(|line| line.to_str().unwrap_or_default().split(',')) {
            let (name, parameters) = entry.split_once(';').unwrap_or((entry, ""));
            let name = name.trim();
            let Some(weight) = weight(parameters) else { continue };
            let wish = match Encoding::of_name(name) {
                Some(Encoding::Gzip) => &mut wishes.gzip,
                Some(Encoding::Brotli) => &mut wishes.brotli,
                Some(Encoding::Zstd) => &mut wishes.zstd,
                None if name == "*" => &mut wishes.any,
                None if name.eq_ignore_ascii_case("identity") => &mut wishes.identity,
                None => continue,
            };
            *wish = Some(weight);
        }
        wishes
    }
}

/// The weight in `q=0.5`, in thousandths; `None` for what is none.
fn weight(parameters: &str) -> Option<u16> {
    let parameters = parameters.trim();
    if parameters.is_empty() {
        return Some(1_000);
    }
    let (name, value) = parameters.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let (whole, part) = value.trim().split_once('.').unwrap_or((value.trim(), ""));
    let is_short = part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit());
    let part = format!("{part:0<3}").parse::<u16>().ok().filter(|_| is_short)?;
    match whole {
        "0" => Some(part),
        "1" if part == 0 => Some(1_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_weighs_and_the_order_decides_between_equals() {
        let offered = [(Encoding::Zstd, 3), (Encoding::Brotli, 5), (Encoding::Gzip, 6)];
        let check = |lines: &[&str], expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::ACCEPT_ENCODING, line.parse().unwrap());
            }
            let chosen = choose(&headers, &offered).map(|(encoding, _)| encoding.name());
            assert_eq!(chosen, expected, "{lines:?}");
        };
        check(&[], None);
        check(&[""], None);
        check(&["gzip"], Some("gzip"));
        check(&["X-GZIP"], Some("gzip"));
        check(&["gzip, deflate, br, zstd"], Some("zstd"));
        check(&["gzip", "br"], Some("br"));
        check(&["gzip;q=1.0, br;q=0.9, zstd;q=0"], Some("gzip"));
        check(&["gzip;q=0.001"], Some("gzip"));
        check(&["gzip;q=0"], None);
        check(&["*"], Some("zstd"));
        check(&["*, zstd;q=0"], Some("br"));
        check(&["*;q=0"], None);
        check(&["identity"], None);
        check(&["identity;q=0"], None);
        check(&["identity;q=0, gzip;q=0.1"], Some("gzip"));
        check(&["identity, gzip;q=0.5"], None);
        check(&["identity;q=0.5, gzip;q=0.5"], Some("gzip"));
        check(&["gzip;q=2, br;q=x, zstd;q=0.1234, *;r=1"], None);
        check(&["gzip ; Q = 0.5 , br ;q=0.4"], Some("gzip"));
    }
}
