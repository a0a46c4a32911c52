//! What calls to a bucket are signed with.

use std::convert::Infallible;
use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context as _, bail};

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// The key of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name of the key.
    pub access_key_id: String,
    /// The key itself.
    pub secret_access_key: Secret,
    /// A token that goes with a key for a while.
    pub session_token: Option<Secret>,
}

impl Secret {
    /// The text itself, for the one place that uses it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Credentials {
    /// The credentials in a file of the form of `~/.aws/credentials`: of its section `[default]`.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(file).context("it cannot be read")?;
        let (mut id, mut secret, mut token) = (None, None, None);
        let mut section = "default";
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name.trim();
            }
            // A comment has no key that is known, so it needs no rule of its own.
            let Some((key, value)) = line.split_once('=') else { continue };
            if section != "default" {
                continue;
            }
            let place = match key.trim() {
                "aws_access_key_id" => &mut id,
                "aws_secret_access_key" => &mut secret,
                "aws_session_token" => &mut token,
                _ => continue,
            };
            *place = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
        }
        let (Some(access_key_id), Some(secret)) = (id, secret) else {
            bail!("its section [default] lacks aws_access_key_id or aws_secret_access_key");
        };
        Ok(Self {
            access_key_id,
            secret_access_key: secret.into(),
            session_token: token.map(Secret::from),
        })
    }
}
