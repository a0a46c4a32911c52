//! Certificates for a test: a CA of its own, and what the CA issues.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

pub use rcgen::ExtendedKeyUsagePurpose as Purpose;

/// What a service's certificate is for, as `mainspring certs` says it.
pub const BOTH: [Purpose; 2] = [Purpose::ServerAuth, Purpose::ClientAuth];

/// A CA whose key is in memory only, and whose files go with the value.
pub struct Authority {
    /// The CA's own certificate, as PEM.
    pub pem: String,
    directory: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its private key, as PEM.
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: String,
}

/// A certificate and its key, as files in PEM.
#[derive(Debug, Clone)]
pub struct Signed {
    /// The file of the certificate.
    pub certificate: PathBuf,
    /// The file of the key.
    pub key: PathBuf,
}

impl Authority {
    /// A CA that no other test knows.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = new_key();
        let pem = params.self_signed(&key).expect("the CA signs itself").pem();
        let directory = tempfile::tempdir().expect("a directory for certificates");
        let authority = Self { pem, directory, issuer: Issuer::new(params, key) };
        fs::write(authority.file(), &authority.pem).expect("a new file");
        authority
    }

    /// The file of the CA's own certificate.
    pub fn file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// A certificate for these hosts and purposes; without an end it is valid for ever.
    pub fn issue(&self, hosts: &[&str], purposes: &[Purpose], until: Option<SystemTime>) -> Issued {
        self.issue_from(hosts, purposes, None, until)
    }

    /// The same with a beginning; without one it has always been valid.
    pub fn issue_from(
        &self,
        hosts: &[&str],
        purposes: &[Purpose],
        from: Option<SystemTime>,
        until: Option<SystemTime>,
    ) -> Issued {
        let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
        let mut params = CertificateParams::new(hosts).expect("a host is a name or an address");
        params.distinguished_name = named("a process");
        params.extended_key_usages = purposes.to_vec();
        if let Some(from) = from {
            params.not_before = from.into();
        }
        if let Some(until) = until {
            params.not_after = until.into();
        }
        let key = new_key();
        let certificate = params.signed_by(&key, &self.issuer).expect("the CA signs").pem();
        Issued { certificate, key: key.serialize_pem() }
    }

    /// The files of a certificate for the process with this name, which serves at this host, if it
    /// serves.
    pub fn sign(&self, name: &str, host: &str) -> Signed {
        let directory = self.directory.path().join(name);
        write(&directory, &self.pem, &self.issue(&[host], &BOTH, None));
        Signed { certificate: directory.join("tls.crt"), key: directory.join("tls.key") }
    }

    /// Writes the three files of a service on this host, in place of earlier ones.
    pub fn equip(&self, directory: &Path) {
        write(directory, &self.pem, &self.issue(&["127.0.0.1"], &BOTH, None));
    }
}

/// Writes the three files of a process, in place of earlier ones.
pub fn write(directory: &Path, ca: &str, issued: &Issued) {
    fs::create_dir_all(directory).expect("a directory of a test");
    let Issued { certificate, key } = issued;
    for (name, text) in [("ca.crt", ca), ("tls.crt", certificate), ("tls.key", key)] {
        // A new file each time, so that a change shows in the inode, whatever the clock's grain.
        let new = directory.join(format!("{name}.new"));
        fs::write(&new, text).expect("a new file");
        fs::set_permissions(&new, Permissions::from_mode(0o600)).expect("a file of this test");
        fs::rename(&new, directory.join(name)).expect("a name in the same directory");
    }
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("there is randomness for a key")
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}
