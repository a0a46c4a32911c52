//! What the files hold, checked, and ready for handshakes.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ParsedCertificate, StoresServerSessions, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::explain::{of_own_certificate, text};
use super::files::{TlsFiles, about, read, read_private};
use crate::clock::SharedClock;

/// The one protocol that services speak over TLS.
const HTTP2: &[u8] = b"h2";

/// Certificates of one moment. Clones share them.
#[derive(Clone)]
pub(super) struct Material {
    pub(super) files: Arc<TlsFiles>,
    pub(super) client: Arc<ClientConfig>,
    server: Option<Arc<ServerConfig>>,
    /// Why the own certificate cannot be a server's.
    no_server: Option<String>,
}

impl Material {
    /// Reads the files. The own certificate has to be valid now and of the CA, because every peer
    /// would refuse another one.
    pub(super) fn read(files: &TlsFiles, clock: &SharedClock) -> io::Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let time: Arc<dyn TimeProvider> = Arc::new(WallTime(clock.clone()));
        let roots = Arc::new(roots(files)?);
        let unfit = |error: rustls::Error| about(&files.ca, ErrorKind::InvalidData, error);
        let client = ClientConfig::builder_with_details(provider.clone(), time.clone())
            .with_safe_default_protocol_versions()
            .map_err(unfit)?
            .with_root_certificates(roots.clone());
        let mut made = Self {
            files: Arc::new(files.clone()),
            client: Arc::new(over_http2(client.clone().with_no_client_auth())),
            server: None,
            no_server: None,
        };
        let Some((certificate, key)) = &files.own else { return Ok(made) };

        let (chain, private) = (chain(files)?, private_key(files)?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|error| about(&files.ca, ErrorKind::InvalidData, error))?;
        let now = time.current_time().unwrap_or(UnixTime::since_unix_epoch(Duration::ZERO));
        verify_own(&chain, verifier.as_ref(), now)
            .map_err(|error| of_own_certificate(certificate, &files.ca, &error))?;
        let fits = |error| about(key, ErrorKind::InvalidData, text(&error));
        let client =
            client.with_client_auth_cert(chain.clone(), private.clone_key()).map_err(fits)?;
        made.client = Arc::new(over_http2(client));
        let mut server = ServerConfig::builder_with_details(provider.clone(), time)
            .with_safe_default_protocol_versions()
            .map_err(unfit)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), private)
            .map_err(fits)?;
        server.alpn_protocols = vec![HTTP2.to_vec()];
        // A resumed session would pass by the look at the client's certificate. The ticket is sent
        // all the same: it is the server's word that the certificate was accepted.
        server.session_storage = Arc::new(Forgetful);
        server.send_tls13_tickets = 1;
        made.server = Some(Arc::new(server));
        made.no_server = serves(&chain, &roots, &provider, now)
            .err()
            .map(|error| of_own_certificate(certificate, &files.ca, &error).to_string());
        Ok(made)
    }

    /// What a server needs; an error says why these certificates are a client's only.
    pub(super) fn for_server(&self) -> io::Result<&Arc<ServerConfig>> {
        match (&self.server, &self.no_server) {
            (_, Some(why)) => Err(io::Error::new(ErrorKind::InvalidInput, why.clone())),
            (Some(server), None) => Ok(server),
            (None, None) => Err(about(
                &self.files.ca,
                ErrorKind::InvalidInput,
                "a server needs a certificate and a private key beside the CA's",
            )),
        }
    }
}

/// What a client needs of a server that is not of this deployment.
pub(super) fn of_stranger(files: &TlsFiles, clock: &SharedClock) -> io::Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_details(provider, Arc::new(WallTime(clock.clone())))
        .with_safe_default_protocol_versions()
        .map_err(|error| about(&files.ca, ErrorKind::InvalidData, error))?
        .with_root_certificates(roots(files)?);
    let client = match &files.own {
        None => client.with_no_client_auth(),
        Some((_, key)) => client
            .with_client_auth_cert(chain(files)?, private_key(files)?)
            .map_err(|error| about(key, ErrorKind::InvalidData, text(&error)))?,
    };
    Ok(Arc::new(over_http2(client)))
}

fn over_http2(mut client: ClientConfig) -> ClientConfig {
    client.alpn_protocols = vec![HTTP2.to_vec()];
    client
}

fn roots(files: &TlsFiles) -> io::Result<RootCertStore> {
    let pem = read(&files.ca)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate =
            certificate.map_err(|error| about(&files.ca, ErrorKind::InvalidData, error))?;
        roots
            .add(certificate)
            .map_err(|error| about(&files.ca, ErrorKind::InvalidData, text(&error)))?;
    }
    if roots.is_empty() {
        return Err(about(&files.ca, ErrorKind::InvalidData, "it holds no certificate of a CA"));
    }
    Ok(roots)
}

fn chain(files: &TlsFiles) -> io::Result<Vec<CertificateDer<'static>>> {
    let Some((path, _)) = &files.own else { return Ok(Vec::new()) };
    let pem = read(path)?;
    let chain = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| about(path, ErrorKind::InvalidData, error))?;
    if chain.is_empty() {
        return Err(about(path, ErrorKind::InvalidData, "it holds no certificate"));
    }
    Ok(chain)
}

fn private_key(files: &TlsFiles) -> io::Result<PrivateKeyDer<'static>> {
    let Some((_, path)) = &files.own else {
        return Err(about(&files.ca, ErrorKind::InvalidInput, "there is no key beside it"));
    };
    // The error of the reader names no byte of the file.
    PrivateKeyDer::from_pem_slice(&read_private(path)?)
        .map_err(|_| about(path, ErrorKind::InvalidData, "it holds no private key"))
}

/// Whether a server of this deployment would accept the certificate.
fn verify_own(
    chain: &[CertificateDer<'static>],
    verifier: &dyn ClientCertVerifier,
    now: UnixTime,
) -> Result<(), rustls::Error> {
    match chain {
        [] => Err(rustls::Error::NoCertificatesPresented),
        [own, others @ ..] => verifier.verify_client_cert(own, others, now).map(drop),
    }
}

/// Whether a client of this deployment would accept the certificate of a server, whatever its name.
fn serves(
    chain: &[CertificateDer<'static>],
    roots: &RootCertStore,
    provider: &CryptoProvider,
    now: UnixTime,
) -> Result<(), rustls::Error> {
    let [own, others @ ..] = chain else { return Err(rustls::Error::NoCertificatesPresented) };
    let algorithms = provider.signature_verification_algorithms.all;
    let own = ParsedCertificate::try_from(own)?;
    verify_server_cert_signed_by_trust_anchor(&own, roots, others, now, algorithms)
}

/// The injected clock, as rustls asks for the time.
struct WallTime(SharedClock);

impl std::fmt::Debug for WallTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WallTime")
    }
}

impl TimeProvider for WallTime {
    fn current_time(&self) -> Option<UnixTime> {
        let since = self.0.wall().duration_since(SystemTime::UNIX_EPOCH).ok()?;
        Some(UnixTime::since_unix_epoch(since))
    }
}

/// Says that it keeps sessions, and keeps none.
#[derive(Debug)]
struct Forgetful;

impl StoresServerSessions for Forgetful {
    fn put(&self, _: Vec<u8>, _: Vec<u8>) -> bool {
        true
    }

    fn get(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn take(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn can_cache(&self) -> bool {
        false
    }
}
