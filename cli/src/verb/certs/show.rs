//! `certs show` says what certificates are for, and until when.

use std::fs;
use std::path::{Path, PathBuf};

use chassis::clock::Clock as _;
use chassis::transport::NetworkArgs;
use serde_json::{Value, json};

use super::facts::{self, Facts};
use super::files::{CA, CA_CERTIFICATE, CERTIFICATE};
use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};
use crate::output::{Format, Style};
use crate::session::Session;
use crate::table::Table;

/// Say what certificates are for, and until when
///
/// Of a file, all certificates in it; of a directory that a process takes by --tls, its own and
/// those of its CA, and whether they fit together; of the directory of `certs issue`, those of
/// all. The exit code is 1 if one is of no use.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "  mainspring certs show\n  mainspring certs show $MAINSPRING_TLS -o json\n  mainspring certs show other-ca.crt"
)]
pub(super) struct ShowArgs {
    /// A file of certificates, or a directory; by default that of --dir
    #[arg(value_name = "FILE|DIR")]
    path: Option<PathBuf>,
}

/// One certificate, and what is wrong with it where it lies.
struct Shown {
    file: PathBuf,
    facts: Facts,
    problem: Option<String>,
}

pub(super) fn run(args: &ShowArgs, directory: &Path, session: &Session) -> OrFailure<Exit> {
    let mut shown = Vec::new();
    for file in files(args.path.as_deref().unwrap_or(directory))? {
        shown.extend(of_file(file, session)?);
    }
    let out = &session.out;
    match out.format {
        Format::Table | Format::Wide => {
            out.answer(render(&shown, |word| out.paint_answer(Style::Bad, word)))
        }
        Format::Name => shown.iter().for_each(|one| out.answer(format!("{}\n", one.facts.subject))),
        Format::Json => {
            let all: Vec<Value> = shown.iter().map(document).collect();
            out.answer(format!("{}\n", Value::from(all)));
        }
        Format::Jsonl => shown.iter().for_each(|one| out.answer(format!("{}\n", document(one)))),
        Format::Yaml => {
            for one in &shown {
                let yaml = serde_saphyr::to_string(&document(one))
                    .map_err(|error| Failure::internal(error.to_string()))?;
                out.answer(format!("---\n{}\n", yaml.trim_end()));
            }
        }
    }
    let is_good = shown.iter().all(|one| one.problem.is_none());
    Ok(if is_good { Exit::SUCCEEDED } else { Exit::FAILED })
}

/// The files of certificates that a path stands for.
fn files(path: &Path) -> OrFailure<Vec<PathBuf>> {
    let about = |error: std::io::Error| {
        Failure::usage(format!("{}: {error}", path.display()))
            .help("name a file of certificates or a directory; mainspring certs init makes one")
    };
    if fs::metadata(path).map_err(about)?.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let there = |names: [&str; 2]| -> Vec<PathBuf> {
        names.iter().map(|name| path.join(name)).filter(|file| file.exists()).collect()
    };
    let own = there([CERTIFICATE, CA_CERTIFICATE]);
    if !own.is_empty() {
        return Ok(own);
    }
    let ca = path.join(CA).join(CA_CERTIFICATE);
    let mut issued: Vec<PathBuf> = fs::read_dir(path)
        .map_err(about)?
        .filter_map(|entry| Some(entry.ok()?.path().join(CERTIFICATE)))
        .collect();
    issued.sort();
    let found: Vec<PathBuf> =
        std::iter::once(ca).chain(issued).filter(|file| file.exists()).collect();
    if found.is_empty() {
        let text = format!("{} holds no certificates", path.display());
        return Err(Failure::usage(text)
            .help("mainspring certs init makes a CA, mainspring certs issue NAME certificates"));
    }
    Ok(found)
}

fn of_file(file: PathBuf, session: &Session) -> OrFailure<Vec<Shown>> {
    let unreadable = |error: String| Failure::usage(format!("{}: {error}", file.display()));
    let pem = fs::read(&file).map_err(|error| unreadable(error.to_string()))?;
    let all = facts::of_pem(&pem, session.clock.wall()).map_err(unreadable)?;
    let mut of_use = of_process(&file, session);
    let shown = |facts: Facts| {
        let expired = (facts.days_left < 0).then(|| "it has expired".to_owned());
        // The process's own certificate is the first in its file.
        let problem = of_use.take().or(expired);
        Shown { file: file.clone(), facts, problem }
    };
    Ok(all.into_iter().map(shown).collect())
}

/// What a process would find wrong with the directory of its own certificate.
fn of_process(file: &Path, session: &Session) -> Option<String> {
    if file.file_name()? != CERTIFICATE {
        return None;
    }
    let directory = std::path::absolute(file).ok()?.parent()?.to_owned();
    let network = NetworkArgs { tls: Some(directory), insecure_network: false };
    network.examine(&session.clock)?.err().map(|error| error.to_string())
}

fn document(shown: &Shown) -> Value {
    let mut document = json!(shown.facts);
    document["file"] = shown.file.to_string_lossy().into();
    document["problem"] = shown.problem.clone().into();
    document
}

fn render(shown: &[Shown], paint: impl Fn(&str) -> String) -> String {
    let mut table = Table::new(&["CERTIFICATE", "FOR", "UNTIL", "DAYS", "CA", "NAMES", "FILE"]);
    for Shown { file, facts, .. } in shown {
        let names = if facts.names.is_empty() { "-".to_owned() } else { facts.names.join(" ") };
        table.row(vec![
            facts.subject.clone(),
            facts.purpose.to_owned(),
            facts.last_day().to_owned(),
            facts.days_left.to_string(),
            facts.issuer.clone(),
            names,
            file.display().to_string(),
        ]);
    }
    let mut text = table.render();
    for problem in shown.iter().filter_map(|one| one.problem.as_deref()) {
        text.push_str(&format!("{} {problem}\n", paint("!!")));
    }
    text
}
