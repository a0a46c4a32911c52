//! `doctor` says what is where, and what is wrong with it. The verb starts nothing and changes
//! nothing.

mod hosts;
mod shared_dir;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use chassis::clock::Clock as _;
use chassis::credential::DeploymentKey;
use chassis::transport::{NetworkArgs, TlsFiles};
use client::outbox::Outbox;
use client::process_tree;
use serde_json::json;

use crate::duration;
use crate::engine;
use crate::exit::Exit;
use crate::failure::OrFailure;
use crate::host::file::{HostFile, KeptBy};
use crate::host::lock::{Holder, holder};
use crate::host::service::{self, ServiceProcess};
use crate::host::{SERVICES, build};
use crate::output::Style;
use crate::serve;
use crate::session::Session;
use crate::table::size;
use crate::usage::{self, Usage};
use crate::verb::certs::facts::{self, Facts};

/// How long payloads are digested unless all of them are asked for; that is enough for 10 GB or so.
const DIGEST_WITHIN: Duration = Duration::from_secs(10);

/// How many days before its end a certificate has to be renewed.
const RENEW_DAYS: i64 = 14;

/// The free bytes below which a disk counts as full.
const LITTLE_ROOM: u64 = 256 * 1024 * 1024;

/// What is where, and what is wrong with it.
#[derive(Debug, clap::Args)]
#[command(before_help = "  mainspring doctor -o json")]
pub(crate) struct DoctorArgs {
    /// Digest every payload, however long that takes; otherwise as many as 10 seconds are enough
    /// for
    #[arg(long)]
    deep: bool,
}

/// One thing that was looked at.
#[derive(Debug)]
struct Finding {
    what: &'static str,
    text: String,
    /// What is wrong with it, and what to do.
    problem: Option<String>,
}

pub(crate) async fn run(args: DoctorArgs, session: &Session) -> OrFailure<Exit> {
    session.only_here("doctor", "looks at the files and processes of this machine")?;
    let mut findings = vec![binary(), engine(), flink(session).await, state(session)];
    findings.extend(session.places.shared().map(shared_dir::look));
    findings.push(key(session));
    findings.extend(certificates(session));
    findings.extend(elsewhere(session).await);
    findings.extend(files(session, if args.deep { Duration::MAX } else { DIGEST_WITHIN }).await);
    findings.push(up(session)?);
    findings.extend(services(session).await?);
    findings.extend(hosts::look(session).await?);
    findings.push(processes(session)?);
    findings.extend(usage(session));
    findings.extend(outbox(session));
    let problems = findings.iter().filter(|finding| finding.problem.is_some()).count();
    if session.out.format.is_table() {
        for finding in &findings {
            let mark = if finding.problem.is_some() {
                session.out.paint_answer(Style::Bad, "!!")
            } else {
                session.out.paint_answer(Style::Good, "ok")
            };
            session.out.answer(format!("{mark} {:<17} {}\n", finding.what, finding.text));
            if let Some(problem) = &finding.problem {
                session.out.answer(format!("   {:<17} {problem}\n", ""));
            }
        }
        session.out.talk(if problems == 0 {
            "all is well".to_owned()
        } else {
            format!("{problems} to look at")
        });
    } else {
        let all: Vec<_> = findings
            .iter()
            .map(|finding| json!({ "what": finding.what, "found": finding.text, "problem": finding.problem }))
            .collect();
        session.out.answer(format!("{}\n", json!({ "findings": all, "problems": problems })));
    }
    Ok(if problems == 0 { Exit::SUCCEEDED } else { Exit::FAILED })
}

fn binary() -> Finding {
    let path = std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default();
    let text = format!(
        "{} (build {}, protocol {})  {path}",
        build::VERSION,
        build::ours(),
        proto::PROTOCOL
    );
    Finding { what: "mainspring", text, problem: None }
}

fn engine() -> Finding {
    match engine::find("datafusion") {
        Some(path) => Finding {
            what: "engine",
            text: format!("datafusion  {}", path.display()),
            problem: None,
        },
        None => Finding {
            what: "engine",
            text: "datafusion: not found".to_owned(),
            problem: Some(proto::Reason::EngineNotFound.remedy().to_owned()),
        },
    }
}

/// The engine that needs software of its own. Missing software is no problem here, because it
/// matters only when a Flink program is to run.
async fn flink(session: &Session) -> Finding {
    let Some(path) = engine::find("flink") else {
        return Finding { what: "engine", text: "flink: not found".to_owned(), problem: None };
    };
    let text = match engine::missing("flink", &session.clock).await {
        Ok(None) => format!("flink  {}, set up", path.display()),
        Ok(Some(missing)) => {
            format!("flink  {}, not set up ({missing}): mainspring setup flink", path.display())
        }
        Err(error) => {
            return Finding {
                what: "engine",
                text: "flink".to_owned(),
                problem: Some(error.message.clone()),
            };
        }
    };
    Finding { what: "engine", text, problem: None }
}

fn state(session: &Session) -> Finding {
    let path = session.places.state();
    let shown = path.display();
    let Ok(metadata) = fs::metadata(path) else {
        return Finding {
            what: "state directory",
            text: format!("{shown} is not there yet"),
            problem: None,
        };
    };
    let mode = metadata.permissions().mode() & 0o777;
    let me = rustix::process::getuid().as_raw();
    let room = room(path);
    let problem = if metadata.uid() != me {
        Some(format!(
            "it belongs to uid {}, not to you: choose another --state-dir",
            metadata.uid()
        ))
    } else if mode & 0o077 != 0 {
        Some(format!("others may enter it (mode {mode:04o}): chmod 700 {shown}"))
    } else {
        room.filter(|&room| room < LITTLE_ROOM)
            .map(|room| format!("its disk has only {} left: make room", size(room)))
    };
    let room = room.map(|room| format!(", {} free", size(room))).unwrap_or_default();
    Finding { what: "state directory", text: format!("{shown} (mode {mode:04o}{room})"), problem }
}

/// The free bytes on the disk of a path that this user may fill.
fn room(path: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(path).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

fn key(session: &Session) -> Finding {
    let path = session.places.deployment_key();
    let problem = match DeploymentKey::load(&path) {
        Ok(_) => None,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Finding { what: "deployment key", text: no_key(session), problem: None };
        }
        Err(error) => Some(error.to_string()),
    };
    Finding { what: "deployment key", text: path.display().to_string(), problem }
}

fn no_key(session: &Session) -> String {
    match session.places.are_shared() {
        true => "not copied here from another host, and not made yet if this is the first".into(),
        false => "not made yet".into(),
    }
}

/// The certificates that this host's processes take from its environment, where TLS is on. A
/// process reads them in the same way, so what it would find wrong shows here first.
fn certificates(session: &Session) -> Option<Finding> {
    let network = NetworkArgs::of_environment().ok()?;
    let shown = network.tls.as_ref()?.display().to_string();
    let what = "certificates";
    let read = |files: TlsFiles| -> Result<Facts, String> {
        let (certificate, _) = files.own.ok_or("there is no certificate")?;
        let pem = fs::read(&certificate).map_err(|error| error.to_string())?;
        let own = facts::of_pem(&pem, session.clock.wall())?.into_iter().next();
        own.ok_or_else(|| "it holds no certificate".to_owned())
    };
    let examined = network.examine(&session.clock)?.map_err(|error| error.to_string());
    Some(match examined.and_then(read) {
        Ok(own) => {
            let text = format!(
                "{shown}: {} ({}), until {}, of {}",
                own.subject,
                own.purpose,
                own.last_day(),
                own.issuer
            );
            let problem = (own.days_left < RENEW_DAYS).then(|| {
                format!(
                    "it ends in {} days: renew it (mainspring certs issue); running services take \
                     it up by themselves",
                    own.days_left
                )
            });
            Finding { what, text, problem }
        }
        Err(problem) => Finding { what, text: shown, problem: Some(problem) },
    })
}

/// The etcd and the place of payloads that the record is kept in, if it is not kept here.
async fn elsewhere(session: &Session) -> Vec<Finding> {
    let looked = serve::examine_elsewhere(&session.places, &session.transport, &session.clock);
    let finding = |(what, text, problem)| Finding { what, text, problem };
    looked.await.into_iter().map(finding).collect()
}

/// What the services keep, whether the services run or not.
async fn files(session: &Session, within: Duration) -> Vec<Finding> {
    let looked = serve::examine(&session.places, &session.clock, within).await;
    let finding = |(what, looked): (&'static str, Result<String, String>)| match looked {
        Ok(text) => Finding { what, text, problem: None },
        Err(problem) => Finding { what, text: "damaged".to_owned(), problem: Some(problem) },
    };
    looked.into_iter().map(finding).collect()
}

fn up(session: &Session) -> OrFailure<Finding> {
    let file = match HostFile::read(&session.places.host_file()) {
        Ok(file) => file,
        Err(error) => {
            let problem = Some(format!(
                "{error}; mainspring down --yes ends the host, any verb starts it again"
            ));
            return Ok(Finding { what: "up", text: "its own file is damaged".to_owned(), problem });
        }
    };
    let (text, problem) = match (holder(&session.places.host_lock())?, file) {
        (Holder::Free, None) => ("does not run".to_owned(), None),
        (Holder::Free, Some(file)) => {
            (format!("does not run; host.json is left over from pid {}", file.pid), None)
        }
        (Holder::Held(pid), None) => (format!("pid {} is starting", pid.unwrap_or_default()), None),
        (Holder::Held(_), Some(file)) => {
            let other = (file.build != build::ours()).then(|| {
                "it is of another build than this command; it is replaced when idle".to_owned()
            });
            (format!("pid {} (build {}, protocol {})", file.pid, file.build, file.protocol), other)
        }
    };
    Ok(Finding { what: "up", text, problem })
}

async fn services(session: &Session) -> OrFailure<Vec<Finding>> {
    if DeploymentKey::load(&session.places.deployment_key()).is_err() {
        return Ok(Vec::new());
    }
    let reach = session.reach()?;
    let mut findings = Vec::new();
    for name in SERVICES {
        if let Some(endpoint) = reach.given.get(name) {
            let problem = if reach.is_ready(name).await {
                None
            } else {
                let silent = || "it does not answer; who runs it has to start it".to_owned();
                Some(reach.mistrust(name).await.unwrap_or_else(silent))
            };
            findings.push(Finding { what: name, text: format!("given  {endpoint}"), problem });
            continue;
        }
        let processes = service::find(&session.places, name)?;
        let socket = session.places.service_socket(name);
        let (text, problem) = match processes.as_slice() {
            [] if socket.exists() => {
                ("does not run; its socket is left over (harmless)".to_owned(), None)
            }
            [] => ("does not run".to_owned(), None),
            [ServiceProcess { process, kept_by }] => {
                let by_hand = if *kept_by == KeptBy::Hand { " (started by hand)" } else { "" };
                let text = format!("pid {}{by_hand}  {}", process.pid, socket.display());
                let log = service::log(&session.places, name);
                let silent = || format!("it does not answer; its log is {}", log.display());
                (text, (!reach.is_ready(name).await).then(silent))
            }
            several => {
                let pids: Vec<_> =
                    several.iter().map(|found| found.process.pid.to_string()).collect();
                (
                    format!("pids {}", pids.join(", ")),
                    Some("there is more than one: mainspring down".to_owned()),
                )
            }
        };
        findings.push(Finding { what: name, text, problem });
    }
    Ok(findings)
}

/// The processes that carry an owner mark of this state directory.
fn processes(session: &Session) -> OrFailure<Finding> {
    let mark = session.places.state_mark();
    let found = process_tree::marked(|owner| owner.state == mark)?;
    let mut owners: Vec<_> = found
        .iter()
        .map(|(_, owner)| format!("{}@{}", owner.application, owner.generation))
        .collect();
    owners.sort();
    owners.dedup();
    let text = if found.is_empty() {
        "none".to_owned()
    } else {
        format!("{} of {}", found.len(), owners.join(", "))
    };
    let unattended =
        !found.is_empty() && service::find(&session.places, crate::host::LIFECYCLE)?.is_empty();
    let problem = unattended.then(|| {
        "no host looks after them: any verb starts the host, mainspring down ends them".to_owned()
    });
    Ok(Finding { what: "processes", text, problem })
}

/// What the state directory holds, and how fast it grows, as far as a host has noted that.
fn usage(session: &Session) -> Option<Finding> {
    if !session.places.state().exists() {
        return None;
    }
    let usage = match Usage::of(&session.places) {
        Ok(usage) => usage,
        Err(error) => {
            let problem = Some(format!("it cannot be read: {error}"));
            return Some(Finding { what: "holds", text: "unknown".to_owned(), problem });
        }
    };
    let parts: Vec<_> =
        usage.parts().map(|(part, bytes)| format!("{part} {}", size(bytes))).collect();
    let growth = usage::growth(&session.places, usage.total(), session.clock.wall());
    let growth = growth.map(|(bytes, since)| {
        let sign = if bytes < 0 { "-" } else { "+" };
        format!(
            "; {sign}{} a day in the last {}",
            size(bytes.unsigned_abs()),
            duration::short(since)
        )
    });
    let text =
        format!("{}: {}{}", size(usage.total()), parts.join(", "), growth.unwrap_or_default());
    Some(Finding { what: "holds", text, problem: None })
}

/// Output that is not in the record although the directory of its process is gone. The outbox holds
/// such output for a moment at most, as a rule.
fn outbox(session: &Session) -> Option<Finding> {
    let outbox = Outbox::new(&session.places);
    let (text, problem) = match outbox.sources() {
        Ok(sources) if sources.is_empty() => return None,
        Ok(sources) => {
            let count = sources.len();
            let problem = format!(
                "the output of {count} process(es) is not in the record yet; a running host ships it: make room, \
                 and see lifecycle's log for why it is not taken"
            );
            (outbox.directory().display().to_string(), problem)
        }
        Err(error) => (outbox.directory().display().to_string(), error.to_string()),
    };
    Some(Finding { what: "outbox", text, problem: Some(problem) })
}
