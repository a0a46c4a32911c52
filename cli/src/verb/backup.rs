//! `backup` writes the whole record into a file, while applications run.

use std::io;
use std::path::PathBuf;

use client::backup::{self, BackupWriter};
use futures::StreamExt as _;
use proto::jobgraph::BackupEnd;
use proto::jobgraph::backup_part::Part;
use serde_json::json;

use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};
use crate::output::Format;
use crate::session::Session;

/// Write the whole record into a file.
///
/// Applications may run meanwhile. The file holds what the record knows and the bytes that it
/// points to (graphs, results, pinned artifacts, output of processes), secrets of applications
/// included. It does not hold outputs and checkpoints, which lie where the applications put them,
/// nor the deployment's key. `mainspring restore` reads it.
#[derive(Debug, clap::Args)]
#[command(before_help = "  mainspring backup /backups/mainspring-$(date +%F)")]
pub(crate) struct BackupArgs {
    /// The file, which must not be there yet
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(crate) async fn run(args: BackupArgs, session: &Session) -> OrFailure<Exit> {
    let unusable = |error: io::Error| {
        Failure::usage(format!("{}: {error}", args.file.display()))
            .help("name a file that is not there yet, where you may write and where there is room")
    };
    let mut writer = BackupWriter::create(&args.file).map_err(unusable)?;
    let mut parts = backup::read(session.record().await?).await?;
    let mut end = None;
    while let Some(part) = parts.next().await {
        let part = part?;
        writer.add(&part).map_err(unusable)?;
        if let Some(Part::End(told)) = part.part {
            end = Some(told);
        }
    }
    let end = end.ok_or_else(|| Failure::internal("the record ended its backup too early"))?;
    let bytes = writer.finish().map_err(unusable)?;
    let BackupEnd { entries, payloads, .. } = end;
    let file = args.file.display().to_string();
    match session.out.format {
        Format::Table | Format::Wide => session
            .out
            .talk(format!("{file}: {entries} entries and {payloads} payloads, {bytes} bytes")),
        Format::Name => session.out.answer(format!("{file}\n")),
        Format::Json | Format::Jsonl | Format::Yaml => {
            let answer =
                json!({"file": file, "entries": entries, "payloads": payloads, "bytes": bytes});
            session.out.answer(format!("{answer}\n"));
        }
    }
    Ok(Exit::SUCCEEDED)
}
