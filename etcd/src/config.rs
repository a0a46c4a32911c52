//! Which etcd a deployment uses: a setting of the store and of the elector.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use chassis::clock::SharedClock;
use chassis::transport::{Endpoint, Foreign, SharedTransport, TlsClient, TlsFiles};

use crate::error::Error;
use crate::user::User;

/// How the name of a member begins that speaks TLS.
const TLS: &str = "https://";

/// How the name of a member begins that speaks plain text.
const PLAIN: &str = "http://";

/// The port that etcd serves its clients on.
const CLIENT_PORT: u16 = 2379;

/// The settings of a deployment's etcd.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct EtcdArgs {
    /// The members of the etcd cluster that keeps the deployment's metadata, such as
    /// https://10.0.0.1:2379,https://10.0.0.2:2379; without it one file of this host keeps it
    #[arg(long = "etcd", env = "MAINSPRING_ETCD", value_name = "URL,…", value_delimiter = ',')]
    pub members: Vec<Member>,

    /// What the keys of this deployment begin with. Deployments that share an etcd have different
    /// ones
    #[arg(
        long = "etcd-prefix",
        env = "MAINSPRING_ETCD_PREFIX",
        value_name = "PREFIX",
        default_value = "/mainspring"
    )]
    pub prefix: String,

    /// The authorities that members with https:// are trusted by, in PEM
    #[arg(id = "etcd_ca", long = "etcd-ca", env = "MAINSPRING_ETCD_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// The certificate that is shown to members with https:// which ask for one, in PEM
    #[arg(id = "etcd_cert", long = "etcd-cert", env = "MAINSPRING_ETCD_CERT", value_name = "FILE")]
    pub cert: Option<PathBuf>,

    /// The key of that certificate, in PEM
    #[arg(id = "etcd_key", long = "etcd-key", env = "MAINSPRING_ETCD_KEY", value_name = "FILE")]
    pub key: Option<PathBuf>,

    /// The user that etcd knows this deployment by, if etcd has users
    #[arg(id = "etcd_user", long = "etcd-user", env = "MAINSPRING_ETCD_USER", value_name = "NAME")]
    pub user: Option<String>,

    /// The file that has the password of that user
    #[arg(
        id = "etcd_password_file",
        long = "etcd-password-file",
        env = "MAINSPRING_ETCD_PASSWORD_FILE",
        value_name = "FILE"
    )]
    pub password_file: Option<PathBuf>,
}

impl EtcdArgs {
    /// Whether the deployment's metadata is on etcd.
    pub fn is_given(&self) -> bool {
        !self.members.is_empty()
    }

    /// The transport to the members: TLS over the given one, if they speak TLS.
    pub(crate) fn transport(
        &self,
        below: &SharedTransport,
        clock: &SharedClock,
    ) -> Result<SharedTransport, Error> {
        let identity = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Some((cert.clone(), key.clone())),
            (None, None) => None,
            (Some(_), None) => return Err(lacks("MAINSPRING_ETCD_CERT", "MAINSPRING_ETCD_KEY")),
            (None, Some(_)) => return Err(lacks("MAINSPRING_ETCD_KEY", "MAINSPRING_ETCD_CERT")),
        };
        let secured = self.members.iter().filter(|member| member.tls).count();
        if secured > 0 && secured < self.members.len() {
            return Err(Error::Setting(format!(
                "some members of etcd are named with {TLS} and others are not: name all of them in \
                 one way in MAINSPRING_ETCD"
            )));
        }
        match &self.ca {
            Some(authorities) if secured > 0 => {
                let files = TlsFiles { ca: authorities.clone(), own: identity };
                let tls = TlsClient::new(below.clone(), files, clock.clone())
                    .map_err(|invalid| Error::Setting(invalid.to_string()))?;
                Ok(Arc::new(tls))
            }
            None if secured > 0 => Err(lacks(TLS, "MAINSPRING_ETCD_CA")),
            // A member is no service of the deployment, so the deployment's TLS is not its own.
            None if identity.is_none() => Ok(Arc::new(Foreign(below.clone()))),
            _ => Err(Error::Setting(format!(
                "there are certificates for etcd, and its members are not named with {TLS}: name \
                 them so in MAINSPRING_ETCD, or leave the certificates out"
            ))),
        }
    }

    /// The user of all calls, if there is one.
    pub(crate) fn user(&self) -> Result<Option<User>, Error> {
        match (&self.user, &self.password_file) {
            (Some(name), Some(password_file)) => {
                let user = User { name: name.clone(), password_file: password_file.clone() };
                user.password()?;
                Ok(Some(user))
            }
            (None, None) => Ok(None),
            (Some(_), None) => Err(lacks("MAINSPRING_ETCD_USER", "MAINSPRING_ETCD_PASSWORD_FILE")),
            (None, Some(_)) => Err(lacks("MAINSPRING_ETCD_PASSWORD_FILE", "MAINSPRING_ETCD_USER")),
        }
    }
}

/// The error of a setting that means nothing without another one.
fn lacks(given: &str, missing: &str) -> Error {
    Error::Setting(format!("{given} is given for etcd, and {missing} is not: give it, too"))
}

/// Where one member serves its clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    endpoint: Endpoint,
    tls: bool,
}

/// A text that names no member.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no member of an etcd cluster: expected https://host:2379 or http://host:2379")]
pub struct InvalidMember(String);

impl Member {
    /// The member at this endpoint, in plain text.
    pub fn at(endpoint: Endpoint) -> Self {
        Self { endpoint, tls: false }
    }

    /// Where the member listens.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl FromStr for Member {
    type Err = InvalidMember;

    fn from_str(text: &str) -> Result<Self, InvalidMember> {
        let invalid = || InvalidMember(text.to_owned());
        let (authority, tls) = match text.strip_prefix(TLS) {
            Some(authority) => (authority, true),
            None => (text.strip_prefix(PLAIN).unwrap_or(text), false),
        };
        let authority = authority.trim_end_matches('/');
        let with_port = match authority.rsplit_once(':') {
            Some((_, port)) if !port.ends_with(']') => authority.to_owned(),
            _ => format!("{authority}:{CLIENT_PORT}"),
        };
        let endpoint = format!("tcp://{with_port}").parse().map_err(|_| invalid())?;
        Ok(Self { endpoint, tls })
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.endpoint.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_named_as_etcd_names_it() {
        for (text, endpoint) in [
            ("http://10.0.0.1:2379", "tcp://10.0.0.1:2379"),
            ("http://etcd-0/", "tcp://etcd-0:2379"),
            ("etcd-0:12379", "tcp://etcd-0:12379"),
            ("http://[::1]", "tcp://[::1]:2379"),
            ("http://[::1]:4001", "tcp://[::1]:4001"),
            ("https://etcd-0", "tcp://etcd-0:2379"),
        ] {
            let member: Member = text.parse().expect(text);
            assert_eq!(member.endpoint().to_string(), endpoint, "{text}");
            assert_eq!(member.tls, text.starts_with(TLS), "{text}");
        }
        for text in ["", "http://", "http://host:port", "ftp://host:1"] {
            assert!(text.parse::<Member>().is_err(), "{text}");
        }
    }

    /// What etcd's settings come to, over a transport that nothing is sent on.
    fn refusal(settings: &EtcdArgs) -> Option<String> {
        let below: SharedTransport = Arc::new(chassis::transport::OsTransport);
        let clock: SharedClock = Arc::new(chassis::clock::SystemClock);
        let refused = settings.transport(&below, &clock).err().or_else(|| settings.user().err());
        refused.map(|error| error.to_string())
    }

    #[test]
    fn settings_that_mean_nothing_together_are_refused() {
        let members = |texts: &[&str]| {
            let members = texts.iter().map(|text| text.parse().expect(text)).collect();
            EtcdArgs { members, ..EtcdArgs::default() }
        };
        let file = || Some(PathBuf::from("/no/such/file"));
        let (plain, secured) = (["http://a"], ["https://a"]);
        for (settings, named) in [
            (EtcdArgs { ca: file(), ..members(&["https://a", "http://b"]) }, "MAINSPRING_ETCD"),
            (members(&secured), "MAINSPRING_ETCD_CA"),
            (EtcdArgs { ca: file(), ..members(&plain) }, "https://"),
            (EtcdArgs { cert: file(), key: file(), ..members(&plain) }, "https://"),
            (EtcdArgs { ca: file(), cert: file(), ..members(&secured) }, "MAINSPRING_ETCD_KEY"),
            (EtcdArgs { ca: file(), key: file(), ..members(&secured) }, "MAINSPRING_ETCD_CERT"),
            (EtcdArgs { ca: file(), ..members(&secured) }, "/no/such/file"),
            (
                EtcdArgs { user: Some("m".to_owned()), ..members(&plain) },
                "MAINSPRING_ETCD_PASSWORD_FILE",
            ),
            (EtcdArgs { password_file: file(), ..members(&plain) }, "MAINSPRING_ETCD_USER"),
            (
                EtcdArgs { user: Some("m".to_owned()), password_file: file(), ..members(&plain) },
                "/no/such/file",
            ),
        ] {
            let refusal = refusal(&settings).unwrap_or_default();
            assert!(refusal.contains(named), "{settings:?}: {refusal:?} does not name {named}");
        }
        assert_eq!(refusal(&members(&plain)), None);
    }
}
