//! TLS as a client, to a server that is not ours, such as etcd: what the server shows is checked
//! against authorities of the operator's choice, and against the host that was called.

use std::fmt::Display;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::{BoxedIo, Endpoint, Incoming, SharedTransport, Transport};

/// What is spoken inside: gRPC needs HTTP/2.
const SPOKEN_INSIDE: &[u8] = b"h2";

/// The files, all in PEM, that a client's TLS is made of.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The authorities that the server's certificate may come from.
    pub authorities: PathBuf,
    /// The client's own certificate and its key, for a server that asks for them.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// A file that no TLS can be made of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} cannot be used for TLS: {why}", path.display())]
pub struct InvalidTls {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with the file.
    pub why: String,
}

/// A transport whose TCP connections speak TLS. What is sent can be neither read nor changed on the
/// way, so that this transport also carries credentials to another machine. It only calls.
pub struct TlsClient {
    below: SharedTransport,
    files: TlsFiles,
}

impl TlsClient {
    /// TLS by these files over another transport. A file that cannot be used is refused at once.
    ///
    /// The files are read anew for each connection, so that certificates which are renewed in time
    /// need no restart.
    pub fn new(below: SharedTransport, files: TlsFiles) -> Result<Self, InvalidTls> {
        files.config()?;
        Ok(Self { below, files })
    }
}

impl TlsFiles {
    fn config(&self) -> Result<ClientConfig, InvalidTls> {
        let mut authorities = RootCertStore::empty();
        for certificate in certificates(&self.authorities)? {
            authorities.add(certificate).map_err(|why| invalid(&self.authorities, why))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|why| invalid(&self.authorities, why))?
            .with_root_certificates(authorities);
        let mut config = match &self.identity {
            Some((chain, key)) => {
                let secret = PrivateKeyDer::from_pem_file(key).map_err(|why| invalid(key, why))?;
                let own = config.with_client_auth_cert(certificates(chain)?, secret);
                own.map_err(|why| invalid(chain, why))?
            }
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![SPOKEN_INSIDE.to_vec()];
        Ok(config)
    }
}

#[async_trait]
impl Transport for TlsClient {
    async fn listen(&self, endpoint: &Endpoint) -> io::Result<Incoming> {
        let why = format!("cannot listen on {endpoint}: this transport only calls");
        Err(io::Error::new(ErrorKind::Unsupported, why))
    }

    async fn connect(&self, endpoint: &Endpoint) -> io::Result<BoxedIo> {
        let Endpoint::Tcp(host, _) = endpoint else {
            return self.below.connect_trusted(endpoint).await;
        };
        let name = ServerName::try_from(host.clone())
            .map_err(|why| about(endpoint, ErrorKind::InvalidInput, why))?;
        let config =
            self.files.config().map_err(|why| about(endpoint, ErrorKind::InvalidInput, why))?;
        let connection = self.below.connect(endpoint).await?;
        let secured = TlsConnector::from(Arc::new(config)).connect(name, connection).await;
        secured.map(BoxedIo::new).map_err(|why| about(endpoint, why.kind(), why))
    }
}

/// All certificates of a file; there is at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, InvalidTls> {
    let read = CertificateDer::pem_file_iter(path).map_err(|why| invalid(path, why))?;
    let certificates: Vec<_> = read.collect::<Result<_, _>>().map_err(|why| invalid(path, why))?;
    if certificates.is_empty() {
        return Err(invalid(path, "there is no certificate in it"));
    }
    Ok(certificates)
}

fn invalid(path: &Path, why: impl Display) -> InvalidTls {
    InvalidTls { path: path.to_owned(), why: why.to_string() }
}

fn about(endpoint: &Endpoint, kind: ErrorKind, why: impl Display) -> io::Error {
    io::Error::new(kind, format!("no TLS with {endpoint}: {why}"))
}
