//! A record that goes on from where an etcd that was restored from a backup has it.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use chassis::server::Footing;

use super::claim::{self, Claimant};
use super::seen::{Noting, Returned, Seen};
use super::{Place, opened, read_place, write_place};
use crate::config::Args;
use crate::examine::PLACE;
use crate::store::etcd::EtcdMetadata;
use crate::store::{Metadata as _, Transaction};

/// A record that a host has worked on, before it is said that it goes on.
pub(crate) struct GoingOn {
    /// The record.
    pub(crate) metadata: Arc<EtcdMetadata>,
    place: Place,
    noting: Noting,
    returned: Returned,
}

/// Opens the record on etcd that the host of this state directory has worked on, also where the
/// record is an earlier one, or on another cluster.
pub(crate) async fn going_on(
    args: &Args,
    state: &Path,
    footing: &Footing,
) -> anyhow::Result<GoingOn> {
    let settings = &args.etcd;
    ensure!(settings.is_given(), "no etcd is named; name its members with MAINSPRING_ETCD");
    let known = read_place(&state.join(PLACE))?.with_context(|| {
        format!("no record on etcd is known to {}, so there is none to go on with", state.display())
    })?;
    let metadata = Arc::new(opened(settings, &known.writer, footing).await?);
    let place = Place::of(metadata.cluster(), &settings.prefix, known.writer.clone());
    ensure!(known.prefix == place.prefix, known.is_not(&place, state, settings));
    let places = args.places();
    let claimant = Claimant { writer: &place.writer, prefix: &place.prefix, places: &places };
    ensure!(
        claim::is_known(&*metadata, &claimant).await?,
        "the record on etcd below {} is none that this host has worked on; name the members of \
         the etcd that was restored with MAINSPRING_ETCD, or, if the record was removed on \
         purpose, begin with another state directory",
        place.prefix
    );
    let returned = Returned::of(metadata.read(Returned::reads(), None).await?)?;
    let noting = Noting {
        metadata: metadata.clone(),
        state: state.to_owned(),
        prefix: place.prefix.clone(),
        seen: Seen::read(state)?,
    };
    Ok(GoingOn { metadata, place, noting, returned })
}

impl GoingOn {
    /// Says in the record that its fences are being raised. From then on no store serves before
    /// that is done.
    pub(crate) async fn begin(&self) -> anyhow::Result<()> {
        self.put(&self.returned.begun()).await
    }

    /// Says in the record, and beside the payloads, that the record goes on from here.
    pub(crate) async fn confirm(mut self) -> anyhow::Result<()> {
        let returned = self.returned.clone().another(&self.noting.seen);
        self.put(&returned).await?;
        write_place(&self.noting.state.join(PLACE), &self.place)?;
        self.noting.note(&returned).await
    }

    async fn put(&self, returned: &Returned) -> anyhow::Result<()> {
        let operations = vec![returned.put()?];
        self.metadata.commit(Transaction { compares: Vec::new(), operations }).await?;
        Ok(())
    }
}
