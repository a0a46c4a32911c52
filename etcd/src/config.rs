//! Which etcd a deployment uses: a setting of the store and of the elector.

use std::fmt;
use std::str::FromStr;

use chassis::transport::Endpoint;

/// The port that etcd serves its clients on.
const CLIENT_PORT: u16 = 2379;

/// The settings of a deployment's etcd.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct EtcdArgs {
    /// The members of the etcd cluster that keeps the deployment's metadata, such as
    /// http://10.0.0.1:2379,http://10.0.0.2:2379; without it one file of this host keeps it
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
}

impl EtcdArgs {
    /// Whether the deployment's metadata is on etcd.
    pub fn is_given(&self) -> bool {
        !self.members.is_empty()
    }
}

/// Where one member serves its clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member(Endpoint);

/// A text that names no member.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no member of an etcd cluster: expected http://host:2379")]
pub struct InvalidMember(String);

impl Member {
    /// The member at this endpoint.
    pub fn at(endpoint: Endpoint) -> Self {
        Self(endpoint)
    }

    /// Where the member listens.
    pub fn endpoint(&self) -> &Endpoint {
        &self.0
    }
}

impl FromStr for Member {
    type Err = InvalidMember;

    fn from_str(text: &str) -> Result<Self, InvalidMember> {
        let invalid = || InvalidMember(text.to_owned());
        let authority = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        let with_port = match authority.rsplit_once(':') {
            Some((_, port)) if !port.ends_with(']') => authority.to_owned(),
            _ => format!("{authority}:{CLIENT_PORT}"),
        };
        format!("tcp://{with_port}").parse().map(Self).map_err(|_| invalid())
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
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
        ] {
            let member: Member = text.parse().expect(text);
            assert_eq!(member.endpoint().to_string(), endpoint, "{text}");
        }
        for text in ["", "http://", "http://host:port", "ftp://host:1"] {
            assert!(text.parse::<Member>().is_err(), "{text}");
        }
    }
}
