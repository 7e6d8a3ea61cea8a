//! Owns TLS: certificates read and checked once, chosen by the name that a client asks for.
//!
//! Refuses to know HTTP and files that change: a reload reads all anew. Keys of session tickets are
//! kept across reloads, unless clients show certificates, and change every six hours. Bound: what
//! the configuration names.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};

use crate::route::spec::Fault;

/// One certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateSpec {
    /// PEM file of the certificate and those that lead to its root.
    pub chain: PathBuf,
    /// PEM file of its private key.
    pub key: PathBuf,
    /// DER file of an OCSP answer that is stapled.
    pub ocsp: Option<PathBuf>,
}

/// How TLS is spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSpec {
    /// Certificates; the first is for names that no other has.
    pub certificates: Vec<CertificateSpec>,
    /// Whether TLS 1.2 is refused.
    pub only_13: bool,
    /// Whether sessions are resumed by tickets.
    pub tickets: bool,
    /// PEM file of the authorities of clients, which are then asked for a certificate of theirs.
    pub client_ca: Option<PathBuf>,
    /// Whether clients without one are spoken to all the same; routes may still need it.
    pub is_client_optional: bool,
}

/// What seals session tickets.
pub(crate) type Tickets = Arc<dyn ProducesTickets>;

/// New keys for session tickets.
pub(crate) fn tickets() -> Result<Tickets, String> {
    ring::Ticketer::new().map_err(|error| error.to_string())
}

/// The compiled configuration; files are read here.
pub(crate) fn compile(
    spec: &TlsSpec,
    tickets: Option<&Tickets>,
    faults: &mut Vec<Fault>,
) -> Option<Arc<ServerConfig>> {
    let provider = Arc::new(ring::default_provider());
    let mut resolver = ByName::default();
    for (index, certificate) in spec.certificates.iter().enumerate() {
        match load(certificate, &provider) {
            Ok((key, names)) => resolver.add(Arc::new(key), names),
            Err(message) => {
                faults.push(Fault::new(format!("gateway.certificates[{index}]"), message));
            }
        }
    }
    if spec.certificates.is_empty() {
        faults.push(Fault::new("gateway.certificates", "TLS needs at least one certificate"));
    }
    let verifier = spec.client_ca.as_deref();
    let verifier = match verifier.map(|file| authorities(file, spec.is_client_optional, &provider))
    {
        None => WebPkiClientVerifier::no_client_auth(),
        Some(Ok(verifier)) => verifier,
        Some(Err(message)) => {
            faults.push(Fault::new("gateway.tls_client_ca", message));
            return None;
        }
    };
    let versions: &[_] = if spec.only_13 { &[&TLS13] } else { &[&TLS13, &TLS12] };
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions);
    let builder = match builder {
        Ok(builder) => builder,
        Err(error) => {
            faults.push(Fault::new("gateway.tls_min", error.to_string()));
            return None;
        }
    };
    let mut config =
        builder.with_client_cert_verifier(verifier).with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    if !spec.tickets {
        // rustls sends four that refer to its own memory otherwise.
        config.send_tls13_tickets = 0;
    } else if spec.client_ca.is_some() {
        // A resumed session shows no certificate: a ticket must not outlive the authorities that it
        // was given under.
        match self::tickets() {
            Ok(own) => config.ticketer = own,
            Err(message) => {
                faults.push(Fault::new("gateway.tls_tickets", message));
                return None;
            }
        }
        config.send_tls13_tickets = 2;
    } else if let Some(tickets) = tickets {
        config.ticketer = tickets.clone();
        config.send_tls13_tickets = 2;
    }
    Some(Arc::new(config))
}

type Loaded = (CertifiedKey, Vec<String>);

fn load(spec: &CertificateSpec, provider: &CryptoProvider) -> Result<Loaded, String> {
    let chain = certificates(&spec.chain)?;
    let path = spec.key.display();
    let key = PrivateKeyDer::from_pem_file(&spec.key)
        .map_err(|error| format!("{path} holds no private key: {error}"))?;
    let mut certified = CertifiedKey::from_der(chain, key, provider)
        .map_err(|error| format!("{} and {path}: {error}", spec.chain.display()))?;
    let end = certified.end_entity_cert().map_err(|error| error.to_string())?;
    let end = webpki::EndEntityCert::try_from(end)
        .map_err(|error| format!("{}: {error}", spec.chain.display()))?;
    let names = end.valid_dns_names().map(str::to_ascii_lowercase).collect();
    if let Some(file) = &spec.ocsp {
        let answer = std::fs::read(file);
        certified.ocsp = Some(answer.map_err(|error| format!("{}: {error}", file.display()))?);
    }
    Ok((certified, names))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |error| format!("{} holds no certificates: {error}", file.display());
    let found: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error: rustls::pki_types::pem::Error| wrong(error.to_string()))?;
    if found.is_empty() {
        return Err(wrong("it has none".to_owned()));
    }
    Ok(found)
}

fn authorities(
    file: &Path,
    is_optional: bool,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let builder = if is_optional { builder.allow_unauthenticated() } else { builder };
    builder.build().map_err(|error| format!("{}: {error}", file.display()))
}

/// Certificates by the names that they hold.
#[derive(Debug, Default)]
struct ByName {
    names: HashMap<String, Arc<CertifiedKey>>,
    first: Option<Arc<CertifiedKey>>,
}

impl ByName {
    /// An earlier certificate keeps its names.
    fn add(&mut self, key: Arc<CertifiedKey>, names: Vec<String>) {
        self.first.get_or_insert_with(|| key.clone());
        for name in names {
            self.names.entry(name).or_insert_with(|| key.clone());
        }
    }

    fn find(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        let exact = self.names.get(&name);
        let wild = || self.names.get(&format!("*.{}", name.split_once('.')?.1));
        exact.or_else(wild).cloned()
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| self.find(name));
        named.or_else(|| self.first.clone())
    }
}
