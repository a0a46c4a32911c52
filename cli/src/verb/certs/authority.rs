//! The CA for development: its key, its certificate, and what it signs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};

use super::files::{self, CA, CA_CERTIFICATE, CA_KEY};
use crate::failure::{Failure, OrFailure};

/// How much earlier than now a certificate begins, because the clocks of machines differ.
const EARLIER: Duration = Duration::from_secs(60 * 60);

/// One day.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The CA, ready to sign.
pub(super) struct Authority {
    /// Its certificate, as PEM.
    pub(super) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// What a certificate is asked for.
pub(super) struct Wish<'a> {
    /// The common name of its process.
    pub(super) name: &'a str,
    /// The hosts that a server is reached by; a client has none.
    pub(super) hosts: Vec<String>,
    /// Whether its process only calls.
    pub(super) is_client: bool,
    /// How many days it is valid from `now`.
    pub(super) days: u32,
    pub(super) now: SystemTime,
}

/// A certificate and its private key, as PEM.
pub(super) struct Issued {
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Authority {
    /// Makes a CA in a directory that has none. `false`: there is one, and it stays.
    pub(super) fn make(
        directory: &Path,
        name: &str,
        days: u32,
        now: SystemTime,
    ) -> OrFailure<bool> {
        let mut params = params(Vec::new(), name, days, now)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(defect)?;
        let pem = params.self_signed(&key).map_err(defect)?.pem();
        let ca = directory.join(CA);
        files::make_directory(&ca).map_err(unwritable)?;
        let of_key = ca.join(CA_KEY);
        if ca.join(CA_CERTIFICATE).exists()
            || !files::put_if_absent(&of_key, &key.serialize_pem(), files::PRIVATE)
                .map_err(unwritable)?
        {
            return Ok(false);
        }
        files::put(&ca.join(CA_CERTIFICATE), &pem, files::OPEN).map_err(unwritable)?;
        Ok(true)
    }

    /// Reads the CA of a directory. A key that others than its owner may read is refused.
    pub(super) fn load(directory: &Path) -> OrFailure<Self> {
        let (certificate, key) =
            (directory.join(CA).join(CA_CERTIFICATE), directory.join(CA).join(CA_KEY));
        let pem = read(&certificate)?;
        let private = read(&key)?;
        let mode = fs::metadata(&key)
            .map_err(|error| Failure::usage(format!("{}: {error}", key.display())))?
            .permissions()
            .mode()
            & 0o777;
        if mode & 0o077 != 0 {
            let text = format!("{}: mode {mode:04o} lets others use the CA's key", key.display());
            return Err(Failure::usage(text).help(format!(
                "chmod 600 {}; if another user may have read it, make a new CA",
                key.display()
            )));
        }
        let unusable = |path: &Path, error: rcgen::Error| {
            Failure::usage(format!("{}: {error}", path.display()))
                .help("restore the file, or make a new CA: mainspring certs init --dir DIR")
        };
        let private = KeyPair::from_pem(&private).map_err(|error| unusable(&key, error))?;
        let issuer = Issuer::from_ca_cert_pem(&pem, private)
            .map_err(|error| unusable(&certificate, error))?;
        Ok(Self { pem, issuer })
    }

    /// Signs a certificate with a key of its own.
    pub(super) fn issue(&self, wish: Wish<'_>) -> OrFailure<Issued> {
        let mut params = params(wish.hosts, wish.name, wish.days, wish.now)?;
        // Services call each other, so a service is a client, too.
        params.extended_key_usages = if wish.is_client {
            vec![ExtendedKeyUsagePurpose::ClientAuth]
        } else {
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth]
        };
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(defect)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(defect)?.pem();
        Ok(Issued { certificate, key: key.serialize_pem() })
    }
}

fn params(
    hosts: Vec<String>,
    name: &str,
    days: u32,
    now: SystemTime,
) -> OrFailure<CertificateParams> {
    let mut params = CertificateParams::new(hosts).map_err(|error| {
        Failure::usage(format!("a name of {name} cannot be in a certificate: {error}"))
    })?;
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    params.distinguished_name = names;
    params.not_before = (now - EARLIER).into();
    params.not_after = (now + DAY * days).into();
    Ok(params)
}

fn read(path: &Path) -> OrFailure<String> {
    fs::read_to_string(path).map_err(|error| {
        Failure::usage(format!("{}: {error}", path.display()))
            .help("mainspring certs init makes a CA; --dir DIR names where one is")
    })
}

fn defect(error: rcgen::Error) -> Failure {
    Failure::internal(format!("a certificate cannot be made: {error}"))
}

/// The failure for a file that cannot be written, which `error` names.
pub(super) fn unwritable(error: std::io::Error) -> Failure {
    Failure::usage(error.to_string()).help("name a directory that you may write into: --dir DIR")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::Permissions;

    use super::super::facts;
    use super::*;

    #[test]
    fn what_is_issued_says_what_was_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        // 2024-10-04.
        let now = SystemTime::UNIX_EPOCH + DAY * 20_000;
        assert!(Authority::make(directory.path(), "a CA", 100, now).unwrap());
        assert!(!Authority::make(directory.path(), "another CA", 100, now).unwrap());
        let authority = Authority::load(directory.path()).unwrap();
        let issue = |is_client, hosts: &[&str]| {
            let hosts = hosts.iter().map(|&host| host.to_owned()).collect();
            let wish = Wish { name: "host-a", hosts, is_client, days: 30, now };
            let issued = authority.issue(wish).unwrap();
            facts::of_pem(issued.certificate.as_bytes(), now + DAY).unwrap().remove(0)
        };
        let service = issue(false, &["host-a", "10.0.0.7", "::1"]);
        assert_eq!(
            [&*service.subject, service.purpose, &service.issuer],
            ["host-a", "service", "a CA"]
        );
        assert_eq!(service.names, ["host-a", "10.0.0.7", "::1"]);
        assert_eq!((service.days_left, service.last_day()), (29, "2024-11-03"));
        let client = issue(true, &[]);
        assert_eq!((client.purpose, client.names.len()), ("client", 0));
        let ca = facts::of_pem(authority.pem.as_bytes(), now).unwrap().remove(0);
        assert_eq!([&*ca.subject, ca.purpose, &ca.issuer], ["a CA", "CA", "a CA"]);
    }

    #[test]
    fn a_cas_key_that_others_may_read_signs_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let now = SystemTime::UNIX_EPOCH + DAY * 20_000;
        Authority::make(directory.path(), "a CA", 100, now).unwrap();
        let key = directory.path().join(CA).join(CA_KEY);
        fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap();
        let refused = Authority::load(directory.path()).err().unwrap();
        assert!(refused.message.contains("ca.key") && refused.help[0].contains("chmod 600"));
    }
}
