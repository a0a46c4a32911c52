//! `version` prints the versions and builds of this executable and of the host that runs; with a
//! context, of the store that answers.

use serde_json::{Value, json};

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
    let host = host(session).await;
    let found = |name| engine::find(name).map(|path| path.display().to_string());
    let engines = ["datafusion", "flink"].map(|name| (name, found(name)));
    if session.out.format.is_table() {
        let mut text = format!(
            "mainspring {} (build {}, protocol {})\n",
            build::VERSION,
            build::ours(),
            proto::PROTOCOL
        );
        if let Ok(Some(host)) = &host {
            let word = |name: &str| host[name].as_str().unwrap_or_default();
            text.push_str(&format!(
                "host       {} (build {}, protocol {})\n",
                word("version"),
                word("build"),
                host["protocol"]
            ));
        }
        for (name, path) in &engines {
            text.push_str(&format!("{name:<10} {}\n", path.as_deref().unwrap_or("not found")));
        }
        session.out.answer(text);
    } else {
        let document = json!({
            "version": build::VERSION,
            "build": build::ours(),
            "protocol": proto::PROTOCOL,
            "host": host.as_ref().ok().cloned().flatten(),
            "engines": std::collections::BTreeMap::from(engines),
        });
        session.out.answer(format!("{document}\n"));
    }
    host.map(|_| Exit::SUCCEEDED)
}

/// What the host says about itself, with `version`, `build` and `protocol`; `None` if this
/// machine's host does not run.
async fn host(session: &Session) -> OrFailure<Option<Value>> {
    if session.elsewhere.is_none() {
        let file = HostFile::read(&session.places.host_file()).ok().flatten();
        return Ok(file.and_then(|file| serde_json::to_value(file).ok()));
    }
    let store = session.api().await?.version().await?;
    Ok(Some(json!({
        "version": store.version,
        "build": store.build,
        "protocol": store.protocol,
    })))
}
