//! Whose a record on etcd is: that of one state directory, or that of several hosts.
//!
//! Hosts of one record have two things in common: a directory that all of them see, because a
//! leader on any host needs what an earlier one has left there, and the deployment's key, because
//! the services of one host take the tokens of another. The record says which they are, and a store
//! serves only where both are so. Exactly one key comes to be: a store makes one only for a record
//! that knows none, and the record takes the first.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use chassis::credential::DeploymentKey;
use client::places::Places;
use rustix::system::uname;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::blobs;
use crate::keys::unclean;
use crate::shared_dir;
use crate::store::{Commit, Compare, Key, Metadata, Operation, Read, Stored, Transaction, View};

/// The key that says which state directory has a record on etcd alone.
const OWNER: &str = "owner";

/// The key that says what the hosts have in common that have a record on etcd.
const DEPLOYMENT: &str = "deployment";

/// The state directory that has a record alone.
#[derive(Debug, Serialize, Deserialize)]
struct Owner {
    /// The name that its store writes under.
    writer: String,
    /// The name of its machine, for people.
    host: String,
    /// Where it is on that machine, for people.
    state: String,
}

/// What the hosts of a record have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Deployment {
    /// The directory that all hosts see.
    shared: PathBuf,
    /// The fingerprint of their key.
    key: String,
    /// The name of the machine whose store brought the key, for people.
    host: String,
    /// Where the key was on that machine, for people.
    key_file: PathBuf,
    /// Whether the directory has said once whose it is. From then on a directory that does not say
    /// so is another one.
    settled: bool,
}

/// A store that wants a record.
#[derive(Debug)]
pub(crate) struct Claimant<'a> {
    /// The name that the store writes under.
    pub(crate) writer: &'a str,
    /// What the keys of the record begin with.
    pub(crate) prefix: &'a str,
    /// The places of its host.
    pub(crate) places: &'a Places,
}

/// What a claim came to.
#[derive(Debug)]
pub(super) enum Claimed {
    /// The record is this host's, alone or with others; this is the key of its tokens.
    Ours(DeploymentKey),
    /// The record is not for this host as it is set up: why, and what to do.
    Refused(String),
}

/// Claims a record for a host, alone or with those that share its directory.
pub(super) async fn claim(
    metadata: &dyn Metadata,
    claimant: &Claimant<'_>,
) -> anyhow::Result<Claimed> {
    let Some(shared) = claimant.places.shared() else { return alone(metadata, claimant).await };
    let mut key = HostKey::of(claimant.places);
    let claimed = together(metadata, claimant, shared, &mut key).await?;
    if let Claimed::Refused(_) = claimed {
        key.remove_unused()?;
    }
    Ok(claimed)
}

/// What has to be read to say whose a record is.
pub(crate) fn reads() -> Vec<Read> {
    vec![Read::Key(key(OWNER)), Read::Key(key(DEPLOYMENT))]
}

/// Whose the record is that a view of [`reads`] is of, without a claim: `Err` says why the claimant
/// would be refused.
pub(crate) fn whose(view: View, claimant: &Claimant<'_>) -> anyhow::Result<Result<String, String>> {
    let known = Known::of(view)?;
    let shared = claimant.places.shared();
    if let Some((deployment, _)) = &known.deployment {
        let Some(shared) = shared else { return Ok(Err(claimant.is_of_several(deployment))) };
        if deployment.shared != shared {
            return Ok(Err(claimant.shares_another(deployment, shared)));
        }
        let key = HostKey::of(claimant.places);
        return Ok(match key.load()? {
            Some(own) if own.fingerprint() == deployment.key => {
                Ok(format!("of the hosts that share {}", shared.display()))
            }
            other => Err(deployment.has_another_key(&key.path, other.is_some())),
        });
    }
    Ok(match &known.owner {
        Some((owner, _)) if owner.writer == claimant.writer => {
            Ok("of this state directory".to_owned())
        }
        Some((owner, _)) => Err(claimant.kept_out_by(owner)),
        None => Ok("nobody's yet".to_owned()),
    })
}

/// Whether a record is one that the claimant has worked on.
pub(super) async fn is_known(
    metadata: &dyn Metadata,
    claimant: &Claimant<'_>,
) -> anyhow::Result<bool> {
    let known = Known::read(metadata).await?;
    if let Some((deployment, _)) = &known.deployment {
        let own = HostKey::of(claimant.places).load()?;
        return Ok(own.is_some_and(|own| own.fingerprint() == deployment.key));
    }
    Ok(known.owner.is_some_and(|(owner, _)| owner.writer == claimant.writer))
}

/// Claims a record for one state directory: its payloads may be below that directory, and two hosts
/// that know nothing of each other would both take the clusters of one application for theirs.
async fn alone(metadata: &dyn Metadata, claimant: &Claimant<'_>) -> anyhow::Result<Claimed> {
    let ours = Owner {
        writer: claimant.writer.to_owned(),
        host: machine(),
        state: claimant.places.state().display().to_string(),
    };
    loop {
        let known = Known::read(metadata).await?;
        if let Some((deployment, _)) = &known.deployment {
            return Ok(Claimed::Refused(claimant.is_of_several(deployment)));
        }
        match &known.owner {
            Some((owner, _)) if owner.writer == ours.writer => break,
            Some((owner, _)) => return Ok(Claimed::Refused(claimant.kept_out_by(owner))),
            None => {}
        }
        if known.commit(metadata, vec![put(OWNER, &ours)?]).await? {
            break;
        }
    }
    Ok(Claimed::Ours(claimant.places.key()?))
}

/// Claims a record for a host that shares a directory with others.
async fn together(
    metadata: &dyn Metadata,
    claimant: &Claimant<'_>,
    shared: &Path,
    key: &mut HostKey,
) -> anyhow::Result<Claimed> {
    let refused = |why: String| Ok(Claimed::Refused(why));
    // Each turn is a step of one store, so the loop ends when no other store starts.
    loop {
        let known = Known::read(metadata).await?;
        if let Some((owner, _)) = &known.owner
            && owner.writer != claimant.writer
        {
            return refused(claimant.kept_out_by(owner));
        }
        let Some((deployment, _)) = &known.deployment else {
            if known.owner.is_some()
                && let Some(why) = cannot_be_shared(metadata, claimant.places).await?
            {
                return refused(why);
            }
            let own = key.load_or_make()?;
            // A directory of another deployment must not bind the record, so the look comes first.
            if shared_dir::owner(shared)?.is_some_and(|owner| owner != own.fingerprint()) {
                return refused(of_another_deployment(shared));
            }
            let first = Deployment {
                shared: shared.to_owned(),
                key: own.fingerprint(),
                host: machine(),
                key_file: key.path.clone(),
                settled: false,
            };
            known.make_shared(metadata, &first).await?;
            continue;
        };
        if deployment.shared != shared {
            return refused(claimant.shares_another(deployment, shared));
        }
        let own = match key.load()? {
            Some(own) if own.fingerprint() == deployment.key => own,
            other => {
                let stays = other.is_some() && !key.is_unused;
                return refused(deployment.has_another_key(&key.path, stays));
            }
        };
        key.is_unused = false;
        match shared_dir::owner(shared)? {
            Some(owner) if owner == deployment.key => {}
            Some(_) => return refused(of_another_deployment(shared)),
            None if deployment.settled => return refused(deployment.is_not_there()),
            None => {
                shared_dir::set_owner(shared, &deployment.key)?;
                continue;
            }
        }
        let settled = Deployment { settled: true, ..deployment.clone() };
        if deployment.settled || known.make_shared(metadata, &settled).await? {
            return Ok(Claimed::Ours(own));
        }
    }
}

/// Why the record of this state directory cannot become that of several hosts now; `None` if it
/// can. No other store writes the record, and this store does not serve yet, so the answer stays true.
async fn cannot_be_shared(
    metadata: &dyn Metadata,
    places: &Places,
) -> anyhow::Result<Option<String>> {
    let state = places.state().display();
    let first = Read::Range { prefix: unclean::prefix(), after: None, limit: 1 };
    let view = metadata.read(vec![first], None).await?;
    if let Some((mark, _)) = view.answers.into_iter().flatten().next() {
        let id = String::from_utf8_lossy(mark.strip(&unclean::prefix()).unwrap_or_default());
        let id = id.split('/').next().unwrap_or_default();
        return Ok(Some(format!(
            "the record of {state} cannot be shared with other hosts yet: {id} is not clean, and \
             what it has is on this host alone; leave MAINSPRING_SHARED_DIR out, end the host with \
             mainspring down --cancel, then start it with the directory"
        )));
    }
    if blobs::shared::is_settled(metadata).await? {
        return Ok(None);
    }
    Ok(Some(format!(
        "the record of {state} cannot be shared with other hosts yet: its payloads have no place \
         that all hosts reach; leave MAINSPRING_SHARED_DIR out and start the host once with \
         MAINSPRING_BLOBS (docs/operations.md says how payloads get there)"
    )))
}

fn of_another_deployment(shared: &Path) -> String {
    format!(
        "the directory {} belongs to another deployment, or another host is just beginning this \
         one with it; name another directory with MAINSPRING_SHARED_DIR, or copy the \
         deployment.key of that host",
        shared.display()
    )
}

/// The name of this machine, for people.
fn machine() -> String {
    uname().nodename().to_string_lossy().into_owned()
}

impl Claimant<'_> {
    /// Why a host alone cannot have a record that several hosts have.
    fn is_of_several(&self, deployment: &Deployment) -> String {
        format!(
            "the record on etcd below {} belongs to several hosts, which share {}; name that \
             directory with MAINSPRING_SHARED_DIR, or give this host another \
             MAINSPRING_ETCD_PREFIX",
            self.prefix,
            deployment.shared.display()
        )
    }

    /// Why a host cannot join that shares another directory.
    fn shares_another(&self, deployment: &Deployment, shared: &Path) -> String {
        format!(
            "the hosts of the record on etcd below {} share {}, and MAINSPRING_SHARED_DIR names \
             {}; name the same directory",
            self.prefix,
            deployment.shared.display(),
            shared.display()
        )
    }

    /// Why this host cannot have a record that another state directory has.
    fn kept_out_by(&self, owner: &Owner) -> String {
        let others = match self.places.shared() {
            Some(_) => "; to share the record, start that host with MAINSPRING_SHARED_DIR first",
            None => "",
        };
        format!(
            "the record on etcd below {} belongs to the host {} with the state directory {}; give \
             this host another MAINSPRING_ETCD_PREFIX{others}",
            self.prefix, owner.host, owner.state
        )
    }
}

impl Deployment {
    /// Why a host cannot join that has no key, or another one.
    fn has_another_key(&self, own: &Path, is_there: bool) -> String {
        let what = match is_there {
            true => format!("{} is the key of another deployment", own.display()),
            false => format!("there is no {}", own.display()),
        };
        format!(
            "{what}, and the hosts that share {} have one key: copy the file of another host \
             there, such as {} of {}",
            self.shared.display(),
            self.key_file.display(),
            self.host
        )
    }

    /// Why a host cannot join that sees another directory under the path, or none.
    fn is_not_there(&self) -> String {
        let shared = self.shared.display();
        format!(
            "{shared} is not the directory that the other hosts see: a mount is absent, or the \
             directory was emptied; mount it, or say that it is the one (echo {} > \
             {shared}/{})",
            self.key,
            shared_dir::OWNER
        )
    }
}

/// The deployment's key on this host.
struct HostKey {
    path: PathBuf,
    /// Whether this process has made the key, and the record does not know it.
    is_unused: bool,
}

impl HostKey {
    fn of(places: &Places) -> Self {
        Self { path: places.deployment_key(), is_unused: false }
    }

    fn load(&self) -> anyhow::Result<Option<DeploymentKey>> {
        match DeploymentKey::load(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            loaded => Ok(Some(loaded?)),
        }
    }

    /// The key, which is on the disk before the record knows it: a record with the fingerprint of a
    /// key that was lost would shut every host out.
    fn load_or_make(&mut self) -> anyhow::Result<DeploymentKey> {
        if let Some(key) = self.load()? {
            return Ok(key);
        }
        match DeploymentKey::create(&self.path)? {
            Some(key) => {
                self.is_unused = true;
                Ok(key)
            }
            None => Ok(DeploymentKey::load(&self.path)?),
        }
    }

    /// Removes a key that this process has made in vain, so that it does not look like one that was
    /// copied.
    fn remove_unused(&self) -> anyhow::Result<()> {
        if !self.is_unused {
            return Ok(());
        }
        let path = &self.path;
        fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))
    }
}

/// What the record says of whose it is, each part with its revision.
struct Known {
    owner: Option<(Owner, u64)>,
    deployment: Option<(Deployment, u64)>,
}

impl Known {
    async fn read(metadata: &dyn Metadata) -> anyhow::Result<Self> {
        Self::of(metadata.read(reads(), None).await?)
    }

    /// What a view of [`reads`] holds.
    fn of(view: View) -> anyhow::Result<Self> {
        let mut answers = view.answers.into_iter();
        let mut next = || answers.next()?.into_iter().next().map(|(_, stored)| stored);
        let (owner, deployment) = (next(), next());
        Ok(Self {
            owner: owner.map(parsed).transpose()?,
            deployment: deployment.map(parsed).transpose()?,
        })
    }

    /// Has the record say what its hosts have in common, and no more that it is of one alone.
    async fn make_shared(
        &self,
        metadata: &dyn Metadata,
        deployment: &Deployment,
    ) -> anyhow::Result<bool> {
        let operations = vec![put(DEPLOYMENT, deployment)?, Operation::Delete(key(OWNER))];
        self.commit(metadata, operations).await
    }

    /// Commits unless another store has changed whose the record is; answers whether that is done.
    async fn commit(
        &self,
        metadata: &dyn Metadata,
        operations: Vec<Operation>,
    ) -> anyhow::Result<bool> {
        let owner = self.owner.as_ref().map(|(_, revision)| *revision);
        let deployment = self.deployment.as_ref().map(|(_, revision)| *revision);
        let compares = vec![
            Compare { key: key(OWNER), revision: owner },
            Compare { key: key(DEPLOYMENT), revision: deployment },
        ];
        let commit = metadata.commit(Transaction { compares, operations }).await?;
        Ok(matches!(commit, Commit::Committed(_)))
    }
}

fn key(name: &str) -> Key {
    Key::from(name.to_owned())
}

fn parsed<T: DeserializeOwned>(stored: Stored) -> anyhow::Result<(T, u64)> {
    let value = serde_json::from_slice(&stored.value);
    Ok((value.context("whose the record is cannot be read")?, stored.revision))
}

fn put(name: &str, value: &impl Serialize) -> anyhow::Result<Operation> {
    let written = serde_json::to_vec(value).context("whose the record is, is plain text")?;
    Ok(Operation::Put(key(name), written.into()))
}

#[cfg(test)]
mod tests;
