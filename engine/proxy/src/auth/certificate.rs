//! Owns whom a client certificate stands for: the names in it, held against those that are known.
//!
//! Refuses to judge the certificate; TLS has, by the authorities of clients. A name that is not
//! listed stands for nobody. Bound: one reading for each connection.

use std::sync::Arc;

use truststram_base::{Credential, Identity, Role, Scopes, UserId};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Somebody who comes by a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HolderSpec {
    /// The common name, or an alternative one (DNS, address of mail, URI), that the certificate
    /// has.
    pub name: String,
    /// Whom it stands for.
    pub user: UserId,
    /// What the holder may do on the public side.
    pub scopes: Scopes,
    /// What on the operators' side.
    pub role: Option<Role>,
}

/// The names in a certificate: common ones, then alternative ones.
pub(crate) fn names(der: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return Vec::new() };
    let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    let mut found: Vec<String> = common.map(str::to_owned).collect();
    if let Ok(Some(others)) = certificate.subject_alternative_name() {
        found.extend(others.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
                Some((*name).to_owned())
            }
            _ => None,
        }));
    }
    found
}

/// Who `holders` say that a certificate with these names is of; the first of them.
pub(crate) fn identify(holders: &[HolderSpec], names: &[String]) -> Option<Arc<Identity>> {
    let holder = holders.iter().find(|holder| names.contains(&holder.name))?;
    Some(Arc::new(Identity {
        user: holder.user.clone(),
        key: None,
        scopes: holder.scopes,
        role: holder.role,
        by: Credential::Certificate,
    }))
}
