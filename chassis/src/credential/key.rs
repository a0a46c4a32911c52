//! The deployment key: minting and verifying.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::Rng as _;
use sha2::Sha256;

use super::principal::PREFIX;
use super::{Credential, Principal, write_secret};
use crate::disk;

/// What a fingerprint is the MAC of. It does not begin as a token does, so no token has this claim.
const FINGERPRINT: &str = "fingerprint of a deployment key";

/// How many bytes of that MAC are shown.
const FINGERPRINT_BYTES: usize = 16;

/// The secret of one deployment: 32 random bytes in a file that only its owner reads.
///
/// The key mints every token of the deployment, so a process that holds the key can act as any
/// other. The services have it; runners, tethers, engines and programs are given tokens instead.
#[derive(Clone)]
pub struct DeploymentKey([u8; 32]);

impl DeploymentKey {
    /// The key of these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A new random key that is nowhere else: for tests and one-process deployments.
    pub fn generate() -> Self {
        let mut bytes = [0; 32];
        rand::rng().fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// Reads the key, or makes one if there is none. Several processes that start at once all get
    /// the same key. A file that others than its owner may touch is refused.
    pub fn load_or_create(path: &Path) -> io::Result<Self> {
        match Self::load(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            loaded => return loaded,
        }
        match Self::create(path)? {
            Some(key) => Ok(key),
            None => Self::load(path),
        }
    }

    /// Makes a key, which is durable when this returns; `None` if there is one, which stays.
    pub fn create(path: &Path) -> io::Result<Option<Self>> {
        let about = |error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("cannot create the deployment key {}: {error}", path.display()),
            )
        };
        // The service that needs the key first may be the first process of its state directory.
        if let Some(state) = path.parent() {
            disk::make_directories(state, 0o700).map_err(about)?;
        }
        let key = Self::generate();
        let new = path.with_extension(format!(
            "new-{}-{:08x}",
            std::process::id(),
            rand::rng().next_u32()
        ));
        write_secret(&new, hex::encode(key.0).as_bytes()).map_err(about)?;
        // The new key never replaces one that another process has just made.
        Ok(disk::place(&new, path).map_err(about)?.then_some(key))
    }

    /// Reads the key; `NotFound` if there is none.
    pub fn load(path: &Path) -> io::Result<Self> {
        let about = |kind, why: &dyn fmt::Display| {
            io::Error::new(kind, format!("deployment key {}: {why}", path.display()))
        };
        let mode =
            fs::metadata(path).map_err(|error| about(error.kind(), &error))?.permissions().mode()
                & 0o777;
        if mode & 0o077 != 0 {
            let why = format!(
                "mode {mode:04o} lets others read it; chmod 600 it, or remove it to make a new one"
            );
            return Err(about(ErrorKind::PermissionDenied, &why));
        }
        let text = fs::read_to_string(path).map_err(|error| about(error.kind(), &error))?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.trim(), &mut bytes)
            .map_err(|_| {
            let why = "it does not hold 64 hex digits, so it was damaged: restore it from a copy; without one, end all \
                       processes of this state directory and remove the file";
            about(ErrorKind::InvalidData, &why)
        })?;
        Ok(Self(bytes))
    }

    /// The token for a principal: the same token every time.
    pub fn mint(&self, principal: &Principal) -> Credential {
        let claim = principal.claim();
        let mac = self.mac(&claim).finalize().into_bytes();
        Credential::new(format!("{claim}.{}", hex::encode(mac))).unwrap_or_else(|_| {
            // Only an application id of more than 150 bytes gets here. No such id exists (63 is the
            // limit), and a token that never verifies is the safe answer for one.
            Credential(format!("{PREFIX}.none"))
        })
    }

    /// What the token stands for; `None` if the token is not one of this key. Verifying takes the
    /// same time wherever a wrong token differs.
    pub fn verify(&self, token: &str) -> Option<Principal> {
        if token.len() > Credential::MAX_BYTES {
            return None;
        }
        let (claim, mac) = token.rsplit_once('.')?;
        let mac = hex::decode(mac).ok()?;
        self.mac(claim).verify_slice(&mac).ok()?;
        Principal::read(claim)
    }

    /// What tells this key from others and gives nothing of it away: two keys with one fingerprint
    /// are one key, and no token follows from a fingerprint.
    pub fn fingerprint(&self) -> String {
        hex::encode(&self.mac(FINGERPRINT).finalize().into_bytes()[..FINGERPRINT_BYTES])
    }

    fn mac(&self, claim: &str) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(claim.as_bytes());
        mac
    }
}

impl fmt::Debug for DeploymentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeploymentKey(***)")
    }
}
