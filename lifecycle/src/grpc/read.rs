//! An engine's words for a role, read as those of lifecycle.

use std::time::Duration;

use proto::engine::{self, Commit, RestartPolicy, Role, readiness};
use proto::{Incarnation, Problem, Reason};
use tonic::Status as Refusal;

use crate::model::{Addresses, Port, Probe, Restart, RoleFile, RoleSpec};

/// How long becoming ready may take unless the engine says otherwise.
const READY_WITHIN: Duration = Duration::from_secs(60);

pub(super) fn read_role(index: usize, role: Role, is_ungated: bool) -> Result<RoleSpec, Refusal> {
    let path = format!("roles[{index}]");
    let restart = match role.restart() {
        RestartPolicy::Never => Restart::Never,
        RestartPolicy::Always => Restart::Always,
        RestartPolicy::Unspecified => {
            return Err(plan_invalid(format!("{path}.restart"), "it has to be set"));
        }
    };
    Ok(RoleSpec { ungated: is_ungated, ..read(&path, role, restart)? })
}

/// Whether the outputs of a plan are visible as they are written. Of what an older build has not
/// said nothing is concluded.
pub(super) fn read_commit(commit: i32) -> Result<bool, Refusal> {
    match Commit::try_from(commit) {
        Ok(commit) => Ok(commit == Commit::None),
        Err(error) => Err(plan_invalid("commit".to_owned(), &error.to_string())),
    }
}

pub(super) fn read_contender(
    role: Option<Role>,
    done_exit_codes: Vec<i32>,
    wish: u64,
) -> Result<RoleSpec, Refusal> {
    let role = role.ok_or_else(|| plan_invalid("role".to_owned(), "it has to be set"))?;
    Ok(RoleSpec { wish, ..read("role", role, Restart::UntilDone(done_exit_codes))? })
}

fn read(path: &str, role: Role, restart: Restart) -> Result<RoleSpec, Refusal> {
    let (probe, within) = read_readiness(path, role.readiness)?;
    let file = |file: engine::RoleFile| RoleFile {
        path: file.path,
        content: file.content.to_vec(),
        executable: file.executable,
    };
    Ok(RoleSpec {
        name: role.name,
        command: role.command,
        environment: role.environment.into_iter().collect(),
        files: role.files.into_iter().map(file).collect(),
        replicas: role.replicas,
        probe,
        ready_within_ms: u64::try_from(within.as_millis()).unwrap_or(u64::MAX),
        restart,
        serves_jobs: role.serves_jobs,
        ends_at_once: role.ends_at_once,
        fatal_exit_codes: role.fatal_exit_codes,
        ports: role.ports,
        addresses: Addresses::new(),
        wish: 0,
        ungated: false,
    })
}

fn read_readiness(
    path: &str,
    readiness: Option<engine::Readiness>,
) -> Result<(Probe, Duration), Refusal> {
    let Some(readiness) = readiness else { return Ok((Probe::Started, READY_WITHIN)) };
    let within = readiness.timeout.map_or(Ok(READY_WITHIN), Duration::try_from);
    let within = within
        .map_err(|error| plan_invalid(format!("{path}.readiness.timeout"), &error.to_string()))?;
    let number = |port: u32| {
        let port = u16::try_from(port).ok().filter(|port| *port > 0).map(Port::Number);
        port.ok_or_else(|| {
            plan_invalid(format!("{path}.readiness"), "a port is a number from 1 to 65535")
        })
    };
    let probe = match readiness.probe {
        None | Some(readiness::Probe::GrpcHealth(false)) => Probe::Started,
        Some(readiness::Probe::GrpcHealth(true)) => Probe::GrpcHealth,
        Some(readiness::Probe::TcpPort(port)) => Probe::TcpPort(number(port)?),
        Some(readiness::Probe::TcpPortName(name)) => Probe::TcpPort(Port::Name(name)),
        Some(readiness::Probe::Http(page)) if page.port_name.is_empty() => {
            Probe::Http { port: number(page.port)?, path: page.path }
        }
        Some(readiness::Probe::Http(page)) => {
            Probe::Http { port: Port::Name(page.port_name), path: page.path }
        }
    };
    Ok((probe, within))
}

pub(super) fn incarnation(number: u64) -> Result<Incarnation, Refusal> {
    if number == 0 {
        Err(invalid("incarnation", "a number from 1"))
    } else {
        Ok(Incarnation(number))
    }
}

fn plan_invalid(field: String, why: &str) -> Refusal {
    let text = format!("the plan cannot be realised: {field}: {why}");
    Problem::new(Reason::PlanInvalid, text).field(field, why).into_status()
}

pub(super) fn invalid(field: &str, why: impl ToString) -> Refusal {
    let why = why.to_string();
    Problem::new(Reason::IdMalformed, format!("{field}: {why}")).field(field, why).into_status()
}
