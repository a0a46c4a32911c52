//! A CA of a test's own, and what it issues.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};

/// What a service's certificate is for, as `mainspring certs` says it.
pub(crate) const BOTH: [ExtendedKeyUsagePurpose; 2] =
    [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];

/// A CA whose key is in memory only.
pub(crate) struct Authority {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its private key, as PEM.
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate for these hosts and purposes; without an end it is valid for ever.
    pub(crate) fn issue(
        &self,
        hosts: &[&str],
        purposes: &[ExtendedKeyUsagePurpose],
        until: Option<SystemTime>,
    ) -> Issued {
        self.issue_from(hosts, purposes, None, until)
    }

    /// The same with a beginning; without one it has always been valid.
    pub(crate) fn issue_from(
        &self,
        hosts: &[&str],
        purposes: &[ExtendedKeyUsagePurpose],
        from: Option<SystemTime>,
        until: Option<SystemTime>,
    ) -> Issued {
        let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name = named("a process");
        params.extended_key_usages = purposes.to_vec();
        if let Some(from) = from {
            params.not_before = from.into();
        }
        if let Some(until) = until {
            params.not_after = until.into();
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Issued { certificate, key: key.serialize_pem() }
    }

    /// Writes the three files of a service on this host, in place of earlier ones.
    pub(crate) fn equip(&self, directory: &Path) {
        write(directory, &self.pem, &self.issue(&["127.0.0.1"], &BOTH, None));
    }
}

/// Writes the three files of a process, in place of earlier ones.
pub(crate) fn write(directory: &Path, ca: &str, issued: &Issued) {
    fs::create_dir_all(directory).unwrap();
    for (name, text) in [("ca.crt", ca), ("tls.crt", &issued.certificate), ("tls.key", &issued.key)]
    {
        // A new file each time, so that a change shows in the inode, whatever the clock's grain.
        let new = directory.join(format!("{name}.new"));
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, Permissions::from_mode(0o600)).unwrap();
        fs::rename(&new, directory.join(name)).unwrap();
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}
