//! Certificates for a test: an authority of its own, and what it signs.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// An authority, whose files go with the value.
pub struct Authority {
    directory: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
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
    /// An authority that no other test knows.
    pub fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        parameters.distinguished_name.push(DnType::CommonName, "the authority of a test");
        let key = new_key();
        let certificate = parameters.self_signed(&key).expect("the authority signs itself");
        let directory = tempfile::tempdir().expect("a directory for certificates");
        let authority = Self { directory, issuer: Issuer::new(parameters, key) };
        write(authority.file(), &certificate.pem());
        authority
    }

    /// The file of the authority's own certificate.
    pub fn file(&self) -> PathBuf {
        self.directory.path().join("authority.pem")
    }

    /// A certificate for the process with this name, which serves at this host, if it serves.
    pub fn sign(&self, name: &str, host: &str) -> Signed {
        let mut parameters =
            CertificateParams::new(vec![host.to_owned()]).expect("a host is a name or an address");
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = new_key();
        let certificate = parameters.signed_by(&key, &self.issuer).expect("the authority signs");
        let file = |kind: &str| self.directory.path().join(format!("{name}-{kind}.pem"));
        let signed = Signed { certificate: file("certificate"), key: file("key") };
        write(signed.certificate.clone(), &certificate.pem());
        write(signed.key.clone(), &key.serialize_pem());
        let only_its_owner = Permissions::from_mode(0o600);
        std::fs::set_permissions(&signed.key, only_its_owner).expect("a test owns its files");
        signed
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("there is randomness for a key")
}

fn write(file: PathBuf, text: &str) {
    std::fs::write(file, text).expect("a test may write below its own directory");
}
