//! Where the metadata of the record are: in one file of this host, or on etcd, as the settings say.
//!
//! A state directory belongs to one of the two, and to one record on etcd. A store that was started
//! with other settings would otherwise show a record in which nothing ever ran.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use chassis::disk;
use chassis::server::Footing;
use chassis::tasks::TaskSet;
use etcd::{Etcd, EtcdArgs};
use rustix::system::uname;
use serde::{Deserialize, Serialize};

use crate::examine::{self, PLACE};
use crate::store::embedded::EmbeddedMetadata;
use crate::store::etcd::EtcdMetadata;
use crate::store::{Commit, Compare, Key, Metadata, Operation, Read, StoreError, Transaction};

/// The key that says which state directory has a record on etcd.
const OWNER: &str = "owner";

/// The state directory that has a record on etcd.
#[derive(Debug, Serialize, Deserialize)]
struct Owner {
    /// The name that its store writes under.
    writer: String,
    /// The name of its machine, for people.
    host: String,
    /// Where it is on that machine, for people.
    state: String,
}

/// The record on etcd that a state directory belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    /// The id of the etcd cluster, in hexadecimal digits.
    cluster: String,
    /// What the keys begin with.
    prefix: String,
    /// The name that this store writes under, which no other store has.
    writer: String,
}

/// Opens the metadata in the store's directory, or on etcd. What the backend needs to be kept
/// running becomes one of the tasks.
pub(crate) async fn open(
    state: &Path,
    etcd: &EtcdArgs,
    footing: &Footing,
    tasks: &TaskSet,
) -> anyhow::Result<Arc<dyn Metadata>> {
    if etcd.is_given() {
        return Ok(Arc::new(on_etcd(state, etcd, footing).await?));
    }
    let file = Arc::new(in_file(state)?);
    tasks.spawn_loop("record-writer", {
        let file = file.clone();
        async move { file.ended().await }
    });
    Ok(file)
}

fn in_file(state: &Path) -> anyhow::Result<EmbeddedMetadata> {
    if let Some(place) = read_place(&state.join(PLACE))? {
        bail!(
            "the record of {} is on etcd below {}, and no etcd is named; name its members with \
             MAINSPRING_ETCD, or choose another state directory",
            state.display(),
            place.prefix
        );
    }
    examine::not_lost(state).map_err(|lost| anyhow!(lost))?;
    EmbeddedMetadata::open(&state.join(examine::RECORD)).map_err(|error| {
        if matches!(error, StoreError::Damaged { .. }) {
            return anyhow!(examine::with_remedy(&error, state));
        }
        anyhow!(error).context("cannot open the record")
    })
}

async fn on_etcd(
    state: &Path,
    settings: &EtcdArgs,
    footing: &Footing,
) -> anyhow::Result<EtcdMetadata> {
    let file = state.join(examine::RECORD);
    if file.try_exists().unwrap_or(true) {
        bail!(
            "the record of {} is in the file {}, and etcd is named; leave MAINSPRING_ETCD out, or \
             choose another state directory",
            state.display(),
            file.display()
        );
    }
    let known = read_place(&state.join(PLACE))?;
    let writer = match &known {
        Some(place) => place.writer.clone(),
        None => {
            examine::not_lost(state).map_err(|lost| anyhow!(lost))?;
            hex::encode(rand::random::<[u8; 8]>())
        }
    };
    let etcd = Etcd::of(settings, &footing.transport, &footing.clock).await?;
    let metadata = EtcdMetadata::open(etcd, &settings.prefix, &writer)
        .await
        .with_context(|| format!("cannot open the record on etcd at {}", named(settings)))?;
    let place = Place {
        cluster: format!("{:x}", metadata.cluster()),
        prefix: settings.prefix.clone(),
        writer,
    };
    if let Some(known) = &known
        && *known != place
    {
        bail!(
            "the record of {} is on etcd cluster {} below {}, and the etcd at {} is cluster {} \
             with the prefix {}; name the right members and prefix, or choose another state \
             directory",
            state.display(),
            known.cluster,
            known.prefix,
            named(settings),
            place.cluster,
            place.prefix
        );
    }
    let file = state.join(PLACE);
    if known.is_none() {
        // The name comes to the disk before it comes to etcd, because a claim under a name that was
        // lost could not be taken for this directory's own. The name also stays when the claim
        // fails, which may have been taken all the same.
        write_place(&file, &place)?;
    }
    if let Some(owner) = claim(&metadata, state, &place).await? {
        if known.is_none() {
            fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        }
        bail!(
            "the record on etcd below {} belongs to the host {} with the state directory {}; give \
             this host another MAINSPRING_ETCD_PREFIX",
            place.prefix,
            owner.host,
            owner.state
        );
    }
    Ok(metadata)
}

/// Claims a record for a state directory, and answers the directory that has it, if it is another
/// one: its payloads are below that directory, and two hosts would both take the clusters of one
/// application for theirs.
async fn claim(
    metadata: &EtcdMetadata,
    state: &Path,
    place: &Place,
) -> anyhow::Result<Option<Owner>> {
    let key = Key::from(OWNER.to_owned());
    let ours = Owner {
        writer: place.writer.clone(),
        host: uname().nodename().to_string_lossy().into_owned(),
        state: state.display().to_string(),
    };
    let written = serde_json::to_vec(&ours).context("an owner is plain text")?;
    loop {
        let view = metadata.read(vec![Read::Key(key.clone())], None).await?;
        if let Some((_, stored)) = view.answers.into_iter().flatten().next() {
            let owner: Owner = serde_json::from_slice(&stored.value).with_context(|| {
                format!("who has the record below {} is unreadable", place.prefix)
            })?;
            return Ok(Some(owner).filter(|owner| owner.writer != ours.writer));
        }
        let claim = Transaction {
            compares: vec![Compare { key: key.clone(), revision: None }],
            operations: vec![Operation::Put(key.clone(), written.clone().into())],
        };
        if let Commit::Committed(_) = metadata.commit(claim).await? {
            return Ok(None);
        }
    }
}

fn named(settings: &EtcdArgs) -> String {
    let members: Vec<String> = settings.members.iter().map(ToString::to_string).collect();
    members.join(", ")
}

fn read_place(path: &Path) -> anyhow::Result<Option<Place>> {
    let read = match fs::read(path) {
        Ok(read) => read,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let place = serde_json::from_slice(&read).with_context(|| {
        format!("{} is damaged; it says where the record is: restore it", path.display())
    })?;
    Ok(Some(place))
}

fn write_place(path: &Path, place: &Place) -> anyhow::Result<()> {
    let written = serde_json::to_vec(place).context("a place is plain text")?;
    let new = path.with_extension("new");
    let whole = File::create(&new).and_then(|mut file| {
        file.write_all(&written)?;
        file.sync_all()
    });
    whole
        .and_then(|()| disk::replace(&new, path))
        .with_context(|| format!("cannot write {}", path.display()))
}
