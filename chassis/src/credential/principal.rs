//! Who calls, as a verified credential says it, and how a token writes that down.

use std::fmt;

/// The word that names the format; a token of another format does not verify.
pub(super) const PREFIX: &str = "ms1";

/// What a verified credential stands for.
///
/// The server stack leaves the principal of the caller in every request. One table, in
/// `server/authorize/doors.rs`, says which methods each kind of principal opens; a method itself
/// asks which application, attempt or cluster the principal belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Principal {
    /// The deployment itself: the host, its services, its owner at the command line.
    Deployment,
    /// One attempt's `main()`.
    Attempt {
        /// The application's id.
        application: String,
        /// The application's generation.
        generation: u64,
        /// The epoch of the leadership that started `main()`.
        epoch: u64,
    },
    /// One life of an application's cluster.
    Incarnation {
        /// The application's id.
        application: String,
        /// The generation that the cluster was begun for.
        generation: u64,
        /// The number of the cluster's life.
        incarnation: u64,
    },
    /// An app-runner that may come to lead one generation.
    Contender {
        /// The application's id.
        application: String,
        /// The application's generation.
        generation: u64,
    },
    /// The owner of tethers. What runs under a tether never holds this credential.
    Owner {
        /// The application's id.
        application: String,
        /// The application's generation.
        generation: u64,
        /// What the tethers keep.
        kept: Kept,
        /// The epoch, the incarnation, or the index of the contender.
        number: u64,
    },
    /// The runner of one attempt, as it asks the engine's `describe`.
    Describe {
        /// The application's id.
        application: String,
        /// The application's generation.
        generation: u64,
        /// The epoch of the leadership that started `describe`.
        epoch: u64,
    },
    /// The leader, as it gives orders to the jobs of one life of a cluster.
    Jobs {
        /// The application's id.
        application: String,
        /// The generation that the cluster was begun for.
        generation: u64,
        /// The number of the cluster's life.
        incarnation: u64,
    },
}

/// What runs under a tether.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kept {
    /// An attempt's `main()`.
    Main,
    /// An attempt's `describe`.
    Describe,
    /// A role of a cluster.
    Cluster,
    /// A runner.
    Contender,
}

impl Kept {
    const ALL: [Self; 4] = [Self::Main, Self::Describe, Self::Cluster, Self::Contender];

    /// The word that tokens use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Describe => "describe",
            Self::Cluster => "cluster",
            Self::Contender => "contender",
        }
    }

    fn read(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kept| kept.as_str() == word)
    }
}

/// The kinds of credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// See [`Principal::Deployment`].
    Deployment,
    /// See [`Principal::Attempt`].
    Attempt,
    /// See [`Principal::Incarnation`].
    Incarnation,
    /// See [`Principal::Contender`].
    Contender,
    /// See [`Principal::Owner`].
    Owner,
    /// See [`Principal::Describe`].
    Describe,
    /// See [`Principal::Jobs`].
    Jobs,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::Deployment,
        Self::Attempt,
        Self::Incarnation,
        Self::Contender,
        Self::Owner,
        Self::Describe,
        Self::Jobs,
    ];

    /// The holder in words for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "the deployment",
            Self::Attempt => "main()",
            Self::Incarnation => "a cluster",
            Self::Contender => "a contender",
            Self::Owner => "a tether's owner",
            Self::Describe => "the engine's caller",
            Self::Jobs => "a cluster's leader",
        }
    }
}

impl Principal {
    /// The kind of this principal.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Deployment => Kind::Deployment,
            Self::Attempt { .. } => Kind::Attempt,
            Self::Incarnation { .. } => Kind::Incarnation,
            Self::Contender { .. } => Kind::Contender,
            Self::Owner { .. } => Kind::Owner,
            Self::Describe { .. } => Kind::Describe,
            Self::Jobs { .. } => Kind::Jobs,
        }
    }

    /// The one application and generation that the principal belongs to; `None` for the deployment.
    pub fn application(&self) -> Option<(&str, u64)> {
        match self {
            Self::Deployment => None,
            Self::Attempt { application, generation, .. }
            | Self::Incarnation { application, generation, .. }
            | Self::Contender { application, generation }
            | Self::Owner { application, generation, .. }
            | Self::Describe { application, generation, .. }
            | Self::Jobs { application, generation, .. } => Some((application, *generation)),
        }
    }

    /// The signed part of the principal's token. The application is in hex, so that no id can
    /// imitate a separator.
    pub(super) fn claim(&self) -> String {
        let Some((application, generation)) = self.application() else {
            return format!("{PREFIX}.deployment");
        };
        let of = |kind: &str| format!("{PREFIX}.{kind}.{}.{generation}", hex::encode(application));
        match self {
            Self::Deployment => format!("{PREFIX}.deployment"),
            Self::Attempt { epoch, .. } => format!("{}.{epoch}", of("attempt")),
            Self::Incarnation { incarnation, .. } => format!("{}.{incarnation}", of("incarnation")),
            Self::Contender { .. } => of("contender"),
            Self::Owner { kept, number, .. } => {
                format!("{}.{}.{number}", of("owner"), kept.as_str())
            }
            Self::Describe { epoch, .. } => format!("{}.{epoch}", of("describe")),
            Self::Jobs { incarnation, .. } => format!("{}.{incarnation}", of("jobs")),
        }
    }

    /// The principal that a claim names, if the text is a claim.
    pub(super) fn read(claim: &str) -> Option<Self> {
        let mut words = claim.split('.');
        if words.next() != Some(PREFIX) {
            return None;
        }
        let kind = words.next()?;
        if kind == "deployment" {
            return words.next().is_none().then_some(Self::Deployment);
        }
        let application = String::from_utf8(hex::decode(words.next()?).ok()?).ok()?;
        let generation = words.next()?.parse().ok()?;
        let rest: Vec<&str> = words.collect();
        Some(match (kind, rest.as_slice()) {
            ("attempt", [epoch]) => {
                Self::Attempt { application, generation, epoch: epoch.parse().ok()? }
            }
            ("incarnation", [incarnation]) => Self::Incarnation {
                application,
                generation,
                incarnation: incarnation.parse().ok()?,
            },
            ("contender", []) => Self::Contender { application, generation },
            ("owner", [kept, number]) => {
                let (kept, number) = (Kept::read(kept)?, number.parse().ok()?);
                Self::Owner { application, generation, kept, number }
            }
            ("describe", [epoch]) => {
                Self::Describe { application, generation, epoch: epoch.parse().ok()? }
            }
            ("jobs", [incarnation]) => {
                Self::Jobs { application, generation, incarnation: incarnation.parse().ok()? }
            }
            _ => return None,
        })
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((application, generation)) = self.application() else {
            return f.write_str("the deployment");
        };
        let of = format!("{application}@{generation}");
        match self {
            Self::Deployment => f.write_str("the deployment"),
            Self::Attempt { epoch, .. } => write!(f, "main() of {of}, epoch {epoch}"),
            Self::Incarnation { incarnation, .. } => {
                write!(f, "the cluster of {of}, incarnation {incarnation}")
            }
            Self::Contender { .. } => write!(f, "a contender of {of}"),
            Self::Owner { kept, number, .. } => {
                write!(f, "the owner of tethers of {of}, {} {number}", kept.as_str())
            }
            Self::Describe { epoch, .. } => {
                write!(f, "the runner that asks the engine about {of}, epoch {epoch}")
            }
            Self::Jobs { incarnation, .. } => {
                write!(
                    f,
                    "the leader that gives orders to the jobs of {of}, incarnation {incarnation}"
                )
            }
        }
    }
}
