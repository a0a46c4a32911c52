//! Where the metadata of the record are: in one file of this host, or on etcd, as the settings say.
//!
//! A state directory belongs to one of the two, and to one record on etcd. A store that was started
//! with other settings would otherwise show a record in which nothing ever ran. [`claim`] has whose
//! a record on etcd is.

mod claim;

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use chassis::credential::DeploymentKey;
use chassis::disk;
use chassis::server::Footing;
use chassis::tasks::TaskSet;
use client::places::Places;
use etcd::{Etcd, EtcdArgs};
use serde::{Deserialize, Serialize};

use self::claim::{Claimant, Claimed};
use crate::config::Args;
use crate::examine::{self, PLACE};
use crate::store::embedded::EmbeddedMetadata;
use crate::store::etcd::EtcdMetadata;
use crate::store::{Metadata, StoreError};

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

/// Opens the metadata in the store's directory, or on etcd, and reads the deployment's key, which
/// is made where the record knows none. What the backend needs to be kept running becomes one of
/// the tasks.
pub(crate) async fn open(
    args: &Args,
    state: &Path,
    footing: &Footing,
    tasks: &TaskSet,
) -> anyhow::Result<(Arc<dyn Metadata>, DeploymentKey)> {
    let places = args.places();
    if args.etcd.is_given() {
        let (metadata, key) = on_etcd(state, &args.etcd, &places, footing).await?;
        return Ok((Arc::new(metadata) as Arc<dyn Metadata>, key));
    }
    let key = places.key()?;
    let file = Arc::new(in_file(state)?);
    tasks.spawn_loop("record-writer", {
        let file = file.clone();
        async move { file.ended().await }
    });
    Ok((file as Arc<dyn Metadata>, key))
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
    places: &Places,
    footing: &Footing,
) -> anyhow::Result<(EtcdMetadata, DeploymentKey)> {
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
    let claimant = Claimant { writer: &place.writer, prefix: &place.prefix, places };
    match claim::claim(&metadata, &claimant).await? {
        Claimed::Ours(key) => Ok((metadata, key)),
        Claimed::Refused(why) => {
            if known.is_none() {
                fs::remove_file(&file)
                    .with_context(|| format!("cannot remove {}", file.display()))?;
            }
            Err(anyhow!(why))
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
