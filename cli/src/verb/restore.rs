//! `restore` makes a record from a file that `backup` wrote.

use std::path::PathBuf;

use client::backup::BackupReader;
use serde_json::json;

use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};
use crate::host::lock::HostLock;
use crate::host::service::make_directory;
use crate::output::Format;
use crate::serve::{self, Restored};
use crate::session::Session;

/// Make a record from a backup, or go on with an etcd that was restored from one of its own.
///
/// The state directory (with MAINSPRING_ETCD, the record below the prefix) has to be empty, and no
/// host may run for it. The backends are those of the environment, so a record that was in a file
/// can go on in etcd, and the other way round. Whatever leaders and clusters did after the backup
/// is forgotten, and what they still do is refused: the next host runs their applications again.
///
/// With --etcd-restored no file is read: the record is on an etcd that was restored by its own
/// means, and goes on from there. All hosts of the record have to be ended. One of them says it for
/// all.
#[derive(Debug, clap::Args)]
#[command(before_help = "  mainspring restore /backups/mainspring-2027-01-31")]
pub(crate) struct RestoreArgs {
    /// The file that `mainspring backup` wrote
    #[arg(value_name = "FILE", required_unless_present = "etcd_restored")]
    file: Option<PathBuf>,

    /// The etcd of this host's record was restored from a backup: go on from there
    #[arg(long, conflicts_with = "file")]
    etcd_restored: bool,
}

pub(crate) async fn run(args: RestoreArgs, session: &Session) -> OrFailure<Exit> {
    session.only_here("restore", "makes the record of this machine's host")?;
    let parts = match args.file {
        Some(file) if !args.etcd_restored => Some(BackupReader::open(&file).map_err(|error| {
            Failure::usage(format!("{}: {error}", file.display()))
                .help("name a file that mainspring backup has written")
        })?),
        _ => None,
    };
    let state = session.places.state();
    let of_state = |error| Failure::of_state(format!("{}: {error}", state.display()));
    make_directory(state).map_err(of_state)?;
    let lock = HostLock::take(&session.places.host_lock(), &session.clock).await;
    let Some(_lock) = lock.map_err(of_state)? else {
        let text = format!("a host runs for {}", state.display());
        return Err(Failure::new(Exit::REFUSED, proto::Reason::HostRuns, text)
            .help("mainspring down ends it; --state-dir names another state directory"));
    };
    let Some(parts) = parts else { return go_on(session).await };
    let Restored { entries, payloads, host } =
        serve::restore(state, session.transport.clone(), &session.clock, parts).await?;
    match session.out.format {
        Format::Table | Format::Wide | Format::Name => session.out.talk(format!(
            "{entries} entries and {payloads} payloads of a backup that {host} took; the next verb \
             starts the host"
        )),
        Format::Json | Format::Jsonl | Format::Yaml => {
            let answer = json!({"entries": entries, "payloads": payloads, "host": host});
            session.out.answer(format!("{answer}\n"));
        }
    }
    Ok(Exit::SUCCEEDED)
}

/// Has the record go on in an etcd that was restored. The caller holds the host's lock.
async fn go_on(session: &Session) -> OrFailure<Exit> {
    let state = session.places.state();
    let raised = serve::go_on(state, session.transport.clone(), &session.clock).await?;
    match session.out.format {
        Format::Table | Format::Wide | Format::Name => session.out.talk(format!(
            "the record goes on from there: fences of {raised} applications are above all that was \
             given out; the next verb starts the host, and other hosts of the record go on, too"
        )),
        Format::Json | Format::Jsonl | Format::Yaml => {
            session.out.answer(format!("{}\n", json!({ "raised": raised })));
        }
    }
    Ok(Exit::SUCCEEDED)
}
