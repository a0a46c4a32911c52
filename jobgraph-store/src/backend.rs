//! Where the metadata of the record are: in one file of this host, or on etcd, as the settings say.
//!
//! A state directory belongs to one of the two, and to one record on etcd. A store that was started
//! with other settings would otherwise show a record in which nothing ever ran. [`claim`] has whose
//! a record on etcd is, and [`seen`] whether it is the one that the host has seen, or an earlier
//! one.

pub(crate) mod claim;
mod going_on;
pub(crate) mod seen;

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail, ensure};
use chassis::credential::DeploymentKey;
use chassis::disk;
use chassis::server::Footing;
use chassis::tasks::TaskSet;
use client::places::Places;
use etcd::{Etcd, EtcdArgs};
use serde::{Deserialize, Serialize};

use self::claim::{Claimant, Claimed};
pub(crate) use self::going_on::going_on;
use self::seen::{Noting, Returned, Seen, Standing};
use crate::config::Args;
use crate::examine::{self, PLACE};
use crate::store::embedded::EmbeddedMetadata;
use crate::store::etcd::EtcdMetadata;
use crate::store::{Metadata, StoreError};

/// The record on etcd that a state directory belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The id of the etcd cluster, in hexadecimal digits.
    pub(crate) cluster: String,
    /// What the keys begin with.
    pub(crate) prefix: String,
    /// The name that this store writes under, which no other store has.
    pub(crate) writer: String,
}

impl Place {
    /// The place below this prefix on this cluster.
    pub(crate) fn of(cluster: u64, prefix: &str, writer: String) -> Self {
        Self { cluster: format!("{cluster:x}"), prefix: prefix.to_owned(), writer }
    }

    /// Whether a state directory of this place goes on in the other one: a record that was raised
    /// on another cluster is the same one, if whose it is says so, too.
    pub(crate) fn may_become(&self, other: &Self, standing: Standing) -> bool {
        self == other || (self.prefix == other.prefix && standing == Standing::Raised)
    }

    /// Why a store does not take another place than the one that its state directory belongs to.
    pub(crate) fn is_not(&self, other: &Self, state: &Path, settings: &EtcdArgs) -> String {
        format!(
            "the record of {} is on etcd cluster {} below {}, and the etcd at {} is cluster {} \
             with the prefix {}; name the right members and prefix, or choose another state \
             directory (if that etcd was restored from a backup of this one, end all hosts of the \
             record, then mainspring restore --etcd-restored)",
            state.display(),
            self.cluster,
            self.prefix,
            named(settings),
            other.cluster,
            other.prefix
        )
    }
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
        let (noting, returned, key) = on_etcd(state, &args.etcd, &places, footing).await?;
        let metadata = noting.metadata.clone();
        let (clock, shutdown) = (footing.clock.clone(), footing.shutdown.clone());
        tasks.spawn("record-seen", noting.keep(returned, clock, shutdown));
        return Ok((metadata as Arc<dyn Metadata>, key));
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
        bail!(names_no_etcd(state, &place));
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
) -> anyhow::Result<(Noting, Returned, DeploymentKey)> {
    let file = state.join(examine::RECORD);
    if file.try_exists().unwrap_or(true) {
        bail!(is_in_a_file(state, &file));
    }
    let known = read_place(&state.join(PLACE))?;
    let writer = match &known {
        Some(place) => place.writer.clone(),
        None => {
            examine::not_lost(state).map_err(|lost| anyhow!(lost))?;
            hex::encode(rand::random::<[u8; 8]>())
        }
    };
    let metadata = Arc::new(opened(settings, &writer, footing).await?);
    let place = Place::of(metadata.cluster(), &settings.prefix, writer);
    let returned = Returned::of(metadata.read(Returned::reads(), None).await?)?;
    // What was seen of another record says nothing of a new one.
    let seen = if known.is_some() { Seen::read(state)? } else { Seen::default() };
    let last = metadata.last().await?;
    let standing = seen.judge(last, &returned);
    if let Some(known) = &known
        && *known != place
    {
        ensure!(known.may_become(&place, standing), known.is_not(&place, state, settings));
    }
    ensure!(standing != Standing::Behind, seen.why_not(last, &settings.prefix));
    // A lack of room may pass, and questions are answered meanwhile.
    if let Err(error @ etcd::Error::Setting(_)) = metadata.may_write().await {
        return Err(anyhow!(error).context("cannot write the record"));
    }
    let file = state.join(PLACE);
    if known.is_none() {
        // The name comes to the disk before it comes to etcd, because a claim under a name that was
        // lost could not be taken for this directory's own. The name also stays when the claim
        // fails, which may have been taken all the same.
        write_place(&file, &place)?;
    }
    let claimant = Claimant { writer: &place.writer, prefix: &place.prefix, places };
    match claim::claim(&*metadata, &claimant).await? {
        Claimed::Ours(key) => {
            if known.is_some_and(|known| known != place) {
                write_place(&file, &place)?;
            }
            let prefix = settings.prefix.clone();
            let mut noting = Noting { metadata, state: state.to_owned(), prefix, seen };
            noting.note(&returned).await?;
            Ok((noting, returned, key))
        }
        Claimed::Refused(why) => {
            if known.is_none() {
                fs::remove_file(&file)
                    .with_context(|| format!("cannot remove {}", file.display()))?;
            }
            Err(anyhow!(why))
        }
    }
}

/// Opens the record that the settings name, for the store that writes under this name.
async fn opened(
    settings: &EtcdArgs,
    writer: &str,
    footing: &Footing,
) -> anyhow::Result<EtcdMetadata> {
    let etcd = Etcd::of(settings, &footing.transport, &footing.clock).await?;
    EtcdMetadata::open(etcd, &settings.prefix, writer)
        .await
        .with_context(|| format!("cannot open the record on etcd at {}", named(settings)))
}

/// Why a store does not begin a record on etcd beside a record in a file.
pub(crate) fn is_in_a_file(state: &Path, file: &Path) -> String {
    format!(
        "the record of {} is in the file {}, and etcd is named; leave MAINSPRING_ETCD out, or \
         choose another state directory",
        state.display(),
        file.display()
    )
}

/// Why a store does not begin a record in a file beside a record on etcd.
pub(crate) fn names_no_etcd(state: &Path, place: &Place) -> String {
    format!(
        "the record of {} is on etcd below {}, and no etcd is named; name its members with \
         MAINSPRING_ETCD, or choose another state directory",
        state.display(),
        place.prefix
    )
}

fn named(settings: &EtcdArgs) -> String {
    let members: Vec<String> = settings.members.iter().map(ToString::to_string).collect();
    members.join(", ")
}

/// The record on etcd that a state directory belongs to, as the file at this path says.
pub(crate) fn read_place(path: &Path) -> anyhow::Result<Option<Place>> {
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
