//! Owns whom a client of ours believes to be its server: certificates of authorities, from a file
//! or from the system.
//!
//! Refuses to switch the check off. Bound: one file of [`BYTES_MAX`].

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// Where Debian, Alpine and Arch keep the authorities that all programs believe.
const OF_SYSTEM: &str = "/etc/ssl/certs/ca-certificates.crt";
/// The longest file of authorities.
const BYTES_MAX: u64 = 16 << 20;

/// How the server at `url` is checked; nothing to check where its address is not HTTPS.
pub(super) fn of_server(url: &str, ca: Option<&Path>) -> anyhow::Result<Option<TlsConfig>> {
    let is_https = url.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://"));
    if !is_https {
        return match ca {
            Some(_) => Err(anyhow!("--ca is of use with an https:// address; {url} is none")),
            None => Ok(None),
        };
    }
    let certificates = authorities(ca.unwrap_or(Path::new(OF_SYSTEM)))
        .with_context(|| format!("{url} needs a file of authorities; name one by --ca"))?;
    let config = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&certificates))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
    Ok(Some(config.build()))
}

fn authorities(path: &Path) -> anyhow::Result<Vec<Certificate<'static>>> {
    let place = path.display();
    let bytes = std::fs::metadata(path).with_context(|| format!("cannot read {place}"))?.len();
    if bytes > BYTES_MAX {
        return Err(anyhow!("{place} has {bytes} bytes, more than the {BYTES_MAX} of authorities"));
    }
    let text = std::fs::read(path).with_context(|| format!("cannot read {place}"))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&text) {
        if let PemItem::Certificate(certificate) = item.with_context(|| format!("{place}"))? {
            certificates.push(certificate);
        }
    }
    match certificates.is_empty() {
        true => Err(anyhow!("{place} holds no certificate in PEM")),
        false => Ok(certificates),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_certificates_or_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let check = |url: &str, ca: Option<&Path>, expected: &str| {
            let error = format!("{:#}", of_server(url, ca).unwrap_err());
            assert!(error.contains(expected), "{error}");
        };
        check("https://a", Some(&file), "cannot read");
        std::fs::write(&file, "no certificate").unwrap();
        check("https://a", Some(&file), "holds no certificate");
        check("http://a", Some(&file), "--ca is of use");
        assert!(of_server("http://a", None).unwrap().is_none());
    }
}
