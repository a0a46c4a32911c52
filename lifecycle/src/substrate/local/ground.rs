//! What processes that run as a user of their own may enter: root's directories, each given to a
//! group, so that neither another application nor another role of the same application can enter
//! them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use chassis::run_as::{Identity, RunAs, Share, make_way, share_with};
use chassis::transport::Endpoint;
use client::places::Places;

use crate::model::Order;

/// Where such processes work, and as which user. Nothing of this applies where processes run as the
/// user that lifecycle runs as.
#[derive(Debug, Clone)]
pub(super) struct Ground {
    /// The mark of this host, for group numbers.
    mark: String,
    run_as: Option<RunAs>,
    store: Endpoint,
    /// Where the store serves clusters that cannot reach its other endpoint.
    open_store: Endpoint,
}

impl Ground {
    pub(super) fn new(places: &Places, run_as: Option<RunAs>, store: Endpoint) -> Self {
        // A store that is not this host's own has no open endpoint, so clusters reach it where
        // lifecycle does.
        let is_ours = store == places.service_endpoint("jobgraph-store");
        let open_store = if is_ours { places.open_store() } else { store.clone() };
        Self { mark: places.state_mark(), run_as, store, open_store }
    }

    /// The store's endpoint as a process sees it.
    pub(super) fn store(&self, is_apart: bool) -> &Endpoint {
        if is_apart { &self.open_store } else { &self.store }
    }

    /// Makes the working directory of a role's process and the directory of the group's sockets.
    /// Neither can be taken away or replaced by the processes that write into it, because both are
    /// sticky and root's.
    pub(super) fn make(&self, work: &Path, sockets: &Path, order: &Order) -> io::Result<()> {
        make_way(work)?;
        share_with(work, self.kind(order), 0o1770)?;
        make_way(sockets)?;
        share_with(sockets, self.group(Share::Application(&application(order))), 0o1770)
    }

    /// Gives a role its files and tokens, to read and not to write.
    pub(super) fn give<'a>(
        &self,
        work: &Path,
        files: impl Iterator<Item = &'a Path>,
        tokens: impl Iterator<Item = PathBuf>,
        order: &Order,
    ) -> io::Result<()> {
        let group = self.kind(order);
        for file in files {
            let is_executable = order
                .role
                .files
                .iter()
                .any(|given| given.executable && Path::new(&given.path) == file);
            share_with(&work.join(file), group, if is_executable { 0o750 } else { 0o640 })?;
            let directories = file.ancestors().skip(1).filter(|path| !path.as_os_str().is_empty());
            for directory in directories {
                share_with(&work.join(directory), group, 0o750)?;
            }
        }
        for token in tokens {
            share_with(&token, group, 0o640)?;
        }
        Ok(())
    }

    /// The user that the process becomes; the environment says so, too.
    pub(super) fn becomes(
        &self,
        order: &Order,
        environment: &mut BTreeMap<String, String>,
    ) -> Option<Identity> {
        let run_as = self.run_as.as_ref()?;
        run_as.describe(environment);
        let (application, role) = (application(order), &order.slot.role);
        Some(run_as.identity(&self.mark, &application, role, &[Share::Clusters]))
    }

    fn kind(&self, order: &Order) -> u32 {
        self.group(Share::Kind(&application(order), &order.slot.role))
    }

    fn group(&self, share: Share<'_>) -> u32 {
        RunAs::group(&self.mark, share)
    }
}

fn application(order: &Order) -> String {
    order.slot.group.application.to_string()
}
