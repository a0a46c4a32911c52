//! `version` prints the versions and builds of this executable and of the host that runs.

use crate::engine;
use crate::exit::Exit;
use crate::failure::OrFailure;
use crate::host::build;
use crate::host::file::HostFile;
use crate::session::Session;

/// Versions and builds.
#[derive(Debug, clap::Args)]
#[command(before_help = "  mainspring version -o json")]
pub(crate) struct VersionArgs {}

pub(crate) async fn run(_: VersionArgs, session: &Session) -> OrFailure<Exit> {
    let host = HostFile::read(&session.places.host_file()).ok().flatten();
    let found = |name| engine::find(name).map(|path| path.display().to_string());
    let engines = ["datafusion", "flink"].map(|name| (name, found(name)));
    if session.out.format.is_table() {
        let mut text = format!(
            "mainspring {} (build {}, protocol {})\n",
            build::VERSION,
            build::ours(),
            proto::PROTOCOL
        );
        if let Some(host) = &host {
            text.push_str(&format!(
                "host       {} (build {}, protocol {})\n",
                host.version, host.build, host.protocol
            ));
        }
        for (name, path) in &engines {
            text.push_str(&format!("{name:<10} {}\n", path.as_deref().unwrap_or("not found")));
        }
        session.out.answer(text);
    } else {
        let document = serde_json::json!({
            "version": build::VERSION,
            "build": build::ours(),
            "protocol": proto::PROTOCOL,
            "host": host,
            "engines": std::collections::BTreeMap::from(engines),
        });
        session.out.answer(format!("{document}\n"));
    }
    Ok(Exit::SUCCEEDED)
}
