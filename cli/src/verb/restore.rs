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

/// Make a record from a backup.
///
/// The state directory (with MAINSPRING_ETCD, the record below the prefix) has to be empty, and no
/// host may run for it. The backends are those of the environment, so a record that was in a file
/// can go on in etcd, and the other way round. Whatever leaders and clusters did after the backup
/// is forgotten, and what they still do is refused: the next host runs their applications again.
#[derive(Debug, clap::Args)]
#[command(before_help = "  mainspring restore /backups/mainspring-2027-01-31")]
pub(crate) struct RestoreArgs {
    /// The file that `mainspring backup` wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(crate) async fn run(args: RestoreArgs, session: &Session) -> OrFailure<Exit> {
    session.only_here("restore", "makes the record of this machine's host")?;
    let parts = BackupReader::open(&args.file).map_err(|error| {
        Failure::usage(format!("{}: {error}", args.file.display()))
            .help("name a file that mainspring backup has written")
    })?;
    let state = session.places.state();
    let of_state = |error| Failure::of_state(format!("{}: {error}", state.display()));
    make_directory(state).map_err(of_state)?;
    let lock = HostLock::take(&session.places.host_lock(), &session.clock).await;
    let Some(_lock) = lock.map_err(of_state)? else {
        let text = format!("a host runs for {}", state.display());
        return Err(Failure::new(Exit::REFUSED, proto::Reason::HostRuns, text)
            .help("mainspring down ends it; --state-dir names another state directory"));
    };
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
