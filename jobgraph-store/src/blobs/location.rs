//! Where payloads are, as a setting names it, and with which credentials they are reached.

mod credentials;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};

pub use credentials::{Credentials, Secret};

/// The region that an endpoint of one's own is spoken to in, if none is named.
const ANY_REGION: &str = "us-east-1";

/// Where the payloads of the record are, and how they are reached.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct BlobsArgs {
    /// Where all stores of the record find its payloads: `file:///mnt/shared/mainspring` for a
    /// mount that all hosts have, or `s3://bucket/prefix`; without it they are in the state
    /// directory
    #[arg(long = "blobs", env = "MAINSPRING_BLOBS", value_name = "URI")]
    pub location: Option<Location>,

    /// Where the bucket is served, such as `https://s3.example.com`; without it Amazon's own
    #[arg(long = "blobs-endpoint", env = "MAINSPRING_BLOBS_ENDPOINT", value_name = "URL")]
    pub endpoint: Option<S3Endpoint>,

    /// The region of the bucket; needed for Amazon's own endpoint
    #[arg(long = "blobs-region", env = "AWS_REGION", value_name = "REGION")]
    pub region: Option<String>,

    /// A file with the credentials for the bucket, in the form of `~/.aws/credentials`; its section
    /// `default` is read. It wins over the variables below
    #[arg(long = "blobs-credentials", env = "MAINSPRING_BLOBS_CREDENTIALS", value_name = "FILE")]
    pub credentials: Option<PathBuf>,

    /// The name of the key that opens the bucket
    #[arg(
        long = "blobs-access-key-id",
        env = "AWS_ACCESS_KEY_ID",
        value_name = "ID",
        hide_env_values = true
    )]
    pub access_key_id: Option<String>,

    /// The key that opens the bucket. Say it in the variable: other users see arguments
    #[arg(
        long = "blobs-secret-access-key",
        env = "AWS_SECRET_ACCESS_KEY",
        value_name = "KEY",
        hide_env_values = true
    )]
    pub secret_access_key: Option<Secret>,

    /// The token that goes with a key for a while. Say it in the variable
    #[arg(
        long = "blobs-session-token",
        env = "AWS_SESSION_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    pub session_token: Option<Secret>,
}

/// A place that the stores of several hosts reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A directory on a mount that all hosts have at the same path.
    Mount(PathBuf),
    /// A bucket, and what the names of all objects in it begin with.
    Bucket {
        /// The name of the bucket.
        name: String,
        /// Parts of a path, without a slash at either end; may be empty.
        prefix: String,
    },
}

/// A text that names no place for payloads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no place for payloads: {why}")]
pub struct InvalidLocation {
    text: String,
    why: &'static str,
}

impl InvalidLocation {
    /// What stands before an `@` may be a key, and is not shown.
    fn of(text: &str, why: &'static str) -> Self {
        let text = match text.rsplit_once('@') {
            Some((_, rest)) => format!("***@{rest}"),
            None => text.to_owned(),
        };
        Self { text, why }
    }
}

/// Where an S3 service is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Endpoint(String);

/// Everything that a place is opened with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Mount(PathBuf),
    Bucket(Box<Bucket>),
}

/// A bucket, with all that it is reached by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// The name of the bucket.
    pub name: String,
    /// What the names of all objects begin with; may be empty.
    pub prefix: String,
    /// Where the bucket is served; `None` for Amazon's own.
    pub endpoint: Option<S3Endpoint>,
    /// The region that calls are signed for.
    pub region: String,
    /// What calls are signed with.
    pub credentials: Credentials,
}

impl BlobsArgs {
    /// The place, with all that it is reached by; `None` for the state directory. Settings that do
    /// not go together are refused.
    pub(crate) fn target(&self) -> anyhow::Result<Option<Target>> {
        let Some(Location::Bucket { name, prefix }) = &self.location else {
            ensure!(
                self.endpoint.is_none() && self.credentials.is_none(),
                "an endpoint or credentials for payloads are named, and no bucket: name it with \
                 MAINSPRING_BLOBS=s3://bucket/prefix"
            );
            return Ok(match &self.location {
                Some(Location::Mount(root)) => Some(Target::Mount(root.clone())),
                _ => None,
            });
        };
        let named = self.region.as_deref().filter(|region| !region.is_empty());
        let region = match (named, &self.endpoint) {
            (Some(region), _) => region.to_owned(),
            (None, Some(_)) => ANY_REGION.to_owned(),
            (None, None) => bail!(
                "the region of the bucket {name} is not named: name it with AWS_REGION, or an \
                 endpoint with MAINSPRING_BLOBS_ENDPOINT"
            ),
        };
        Ok(Some(Target::Bucket(Box::new(Bucket {
            name: name.clone(),
            prefix: prefix.clone(),
            endpoint: self.endpoint.clone(),
            region,
            credentials: self.credentials_of(name)?,
        }))))
    }

    fn credentials_of(&self, bucket: &str) -> anyhow::Result<Credentials> {
        if let Some(file) = &self.credentials {
            ensure!(
                file.is_absolute(),
                "{} is no absolute path, and a host works in /: name the file with credentials by \
                 its whole path",
                file.display()
            );
            return Credentials::read(file)
                .with_context(|| format!("cannot take credentials from {}", file.display()));
        }
        let given = self.access_key_id.as_ref().filter(|id| !id.is_empty());
        match (given, &self.secret_access_key) {
            (Some(id), Some(secret)) if !secret.is_empty() => Ok(Credentials {
                access_key_id: id.clone(),
                secret_access_key: secret.clone(),
                session_token: self.session_token.clone().filter(|token| !token.is_empty()),
            }),
            _ => bail!(
                "there are no credentials for the bucket {bucket}: set AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY, or name a file with MAINSPRING_BLOBS_CREDENTIALS"
            ),
        }
    }
}

impl Target {
    /// The place as the setting names it, in one spelling.
    pub(crate) fn location(&self) -> String {
        match self {
            Self::Mount(root) => Location::Mount(root.clone()).to_string(),
            Self::Bucket(bucket) => bucket.location().to_string(),
        }
    }
}

impl Bucket {
    /// The bucket and the prefix, without how they are reached.
    pub fn location(&self) -> Location {
        Location::Bucket { name: self.name.clone(), prefix: self.prefix.clone() }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mount(root) => write!(f, "file://{}", root.display()),
            Self::Bucket { name, prefix } if prefix.is_empty() => write!(f, "s3://{name}"),
            Self::Bucket { name, prefix } => write!(f, "s3://{name}/{prefix}"),
        }
    }
}

impl FromStr for Location {
    type Err = InvalidLocation;

    fn from_str(text: &str) -> Result<Self, InvalidLocation> {
        let invalid = |why| InvalidLocation::of(text, why);
        if let Some(path) = text.strip_prefix("file://") {
            let path = path.trim_end_matches('/');
            if !Path::new(path).is_absolute() {
                return Err(invalid("expected an absolute path: file:///mnt/shared/mainspring"));
            }
            return match is_plain(&path[1..]) {
                true => Ok(Self::Mount(path.into())),
                false => Err(invalid("a path has no empty part, no . or .., and no escapes")),
            };
        }
        let Some(rest) = text.strip_prefix("s3://") else {
            return Err(invalid("expected file:///mnt/shared/mainspring or s3://bucket/prefix"));
        };
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_end_matches('/');
        let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let named = (3..=63).contains(&name.len())
            && name.bytes().all(|byte| letters(byte) || matches!(byte, b'-' | b'.'))
            && name.bytes().next().is_some_and(letters)
            && name.bytes().next_back().is_some_and(letters);
        if !named {
            return Err(invalid("a bucket's name has 3 to 63 of a-z, 0-9, - and ."));
        }
        if !prefix.is_empty() && !is_plain(prefix) {
            return Err(invalid("a prefix has no empty part, no . or .., and no escapes"));
        }
        Ok(Self::Bucket { name: name.to_owned(), prefix: prefix.to_owned() })
    }
}

/// Whether every program reads this path as the same one.
fn is_plain(path: &str) -> bool {
    path.split('/').all(|part| !matches!(part, "" | "." | ".."))
        && !path.contains(['%', '?', '#', '\\'])
        && !path.chars().any(|letter| letter.is_control() || letter.is_whitespace())
}

impl S3Endpoint {
    /// The endpoint as a URL without a path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether payloads go there in plain text, and not only within this machine.
    pub fn is_open(&self) -> bool {
        let Some(host) = self.0.strip_prefix("http://") else { return false };
        !["127.", "[::1]", "localhost"].iter().any(|local| host.starts_with(local))
    }
}

impl FromStr for S3Endpoint {
    type Err = InvalidLocation;

    fn from_str(text: &str) -> Result<Self, InvalidLocation> {
        let url = text.trim_end_matches('/');
        let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        match host {
            Some(host) if !host.is_empty() && !host.contains(['/', '@', '?', '#', ' ']) => {
                Ok(Self(url.to_owned()))
            }
            _ => Err(InvalidLocation::of(
                text,
                "an endpoint is https://host:port, without a path and without a user",
            )),
        }
    }
}

#[cfg(test)]
mod tests;
