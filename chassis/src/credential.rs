//! Who calls: the deployment key, the tokens minted from it, and what a token says.
//!
//! A token is `ms1.<kind>[.<application in hex>.<generation>[.<word>][.<number>]].<HMAC-SHA256 in
//! hex>`. It is stateless, so that any service that has the key can verify it. On the wire a token
//! is `authorization: Bearer <token>`.

mod key;
mod principal;

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use http::HeaderValue;
use sha2::{Digest as _, Sha256};

use crate::disk;

pub use key::DeploymentKey;
pub use principal::{Kept, Kind, Principal};

/// A bearer token: visible ASCII, opaque to the process that carries it.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential(String);

impl Credential {
    /// The longest token, in bytes; no longer text can be a token.
    pub const MAX_BYTES: usize = 512;

    /// Takes a token as it was given out, and refuses a text that could not stand in a header.
    pub fn new(token: impl Into<String>) -> io::Result<Self> {
        let token = token.into();
        let fits = !token.is_empty()
            && token.len() <= Self::MAX_BYTES
            && token.bytes().all(|b| b.is_ascii_graphic());
        // The token is a secret, so the error says what is wrong with the token, never what the
        // token is.
        fits.then_some(Self(token))
            .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "it holds no credential"))
    }

    /// Reads a token from a file; white space around the token is ignored.
    pub fn from_file(path: &Path) -> io::Result<Self> {
        let about = |error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("cannot read a credential from {}: {error}", path.display()),
            )
        };
        let text = fs::read_to_string(path).map_err(about)?;
        Self::new(text.trim()).map_err(about)
    }

    /// Writes the token to a new file of mode 0600, which replaces an older one in one step. The
    /// file is durable when this returns.
    pub fn write_file(&self, path: &Path) -> io::Result<()> {
        let about = |error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("cannot write a credential to {}: {error}", path.display()),
            )
        };
        let new = path.with_extension(format!("new-{}", std::process::id()));
        let write = || {
            write_secret(&new, format!("{}\n", self.0).as_bytes())?;
            disk::replace(&new, path)
        };
        write().map_err(|error| {
            // The removal may fail: the error that is returned says what went wrong.
            let _ = fs::remove_file(&new);
            about(error)
        })
    }

    /// What the token says it stands for. The token is not verified, so this is only for a process
    /// that was given the token itself.
    pub fn claims(&self) -> Option<Principal> {
        let (claim, _) = self.0.rsplit_once('.')?;
        Principal::read(claim)
    }

    /// Whether `token` is this one. The comparison takes the same time wherever the two differ.
    pub fn matches(&self, token: &str) -> bool {
        // Equal digests mean equal tokens, and where two digests differ tells nothing about the
        // tokens.
        Sha256::digest(self.0.as_bytes()) == Sha256::digest(token.as_bytes())
    }

    /// The token itself: for a child's file or header, never for a log.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The value of the `authorization` header, marked as sensitive so that no transport indexes or
    /// prints it.
    pub fn header(&self) -> HeaderValue {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.0))
            .expect("a credential is visible ASCII");
        value.set_sensitive(true);
        value
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(***)")
    }
}

/// Writes a file of mode 0600 that must not exist yet. The bytes are on disk when this returns.
fn write_secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests;
