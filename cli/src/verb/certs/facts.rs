//! What a certificate says.

use std::net::IpAddr;
use std::time::SystemTime;

use prost_types::Timestamp;
use serde::Serialize;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;

/// What one certificate says, as far as people ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Facts {
    /// The common name of whom it is for.
    pub(crate) subject: String,
    /// `CA`, `service`, `server`, `client`, or `any` where it names no purpose.
    pub(crate) purpose: &'static str,
    /// The host names and addresses that it is for.
    pub(crate) names: Vec<String>,
    /// The common name of the CA that signed it.
    pub(crate) issuer: String,
    /// When it begins, as RFC 3339 writes it.
    pub(crate) valid_from: String,
    /// When it ends, as RFC 3339 writes it.
    pub(crate) valid_until: String,
    /// How many whole days are left; below 0 it has expired.
    pub(crate) days_left: i64,
}

impl Facts {
    /// The day on which it ends.
    pub(crate) fn last_day(&self) -> &str {
        self.valid_until.split('T').next().unwrap_or_default()
    }
}

/// The facts of all certificates in a PEM file, in its order.
pub(crate) fn of_pem(pem: &[u8], now: SystemTime) -> Result<Vec<Facts>, String> {
    let mut all = Vec::new();
    for section in Pem::iter_from_buffer(pem) {
        let section = section.map_err(|error| error.to_string())?;
        if section.label == "CERTIFICATE" {
            let certificate = section.parse_x509().map_err(|error| error.to_string())?;
            all.push(facts(&certificate, Timestamp::from(now).seconds));
        }
    }
    if all.is_empty() { Err("it holds no certificate".to_owned()) } else { Ok(all) }
}

fn facts(certificate: &X509Certificate<'_>, now: i64) -> Facts {
    const DAY: i64 = 24 * 60 * 60;
    let common = |name: &x509_parser::x509::X509Name<'_>| {
        let first = name.iter_common_name().next().and_then(|name| name.as_str().ok());
        first.map_or_else(|| name.to_string(), str::to_owned)
    };
    let at = |seconds| Timestamp { seconds, nanos: 0 }.to_string();
    let validity = certificate.validity();
    let until = validity.not_after.timestamp();
    Facts {
        subject: common(certificate.subject()),
        purpose: purpose(certificate),
        names: names(certificate),
        issuer: common(certificate.issuer()),
        valid_from: at(validity.not_before.timestamp()),
        valid_until: at(until),
        days_left: (until - now).div_euclid(DAY),
    }
}

fn purpose(certificate: &X509Certificate<'_>) -> &'static str {
    if certificate.is_ca() {
        return "CA";
    }
    match certificate.extended_key_usage() {
        Ok(Some(usage)) => match (usage.value.server_auth, usage.value.client_auth) {
            _ if usage.value.any => "any",
            (true, true) => "service",
            (true, false) => "server",
            (false, true) => "client",
            (false, false) => "other",
        },
        _ => "any",
    }
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let readable = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    };
    names.value.general_names.iter().filter_map(readable).collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}
