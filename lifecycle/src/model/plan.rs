//! What a plan has to look like before anything is started for it.

use std::collections::HashSet;
use std::path::{Component, Path};

use super::{Port, Probe, Restart, RoleSpec};

/// A plan that contradicts itself: where, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct InvalidPlan {
    /// The path of the field, such as `roles[1].command`.
    pub field: String,
    /// What is wrong with the field.
    pub why: String,
}

/// How many processes one group may consist of.
const MAX_PROCESSES: u32 = 1000;

/// The longest name of a role, in bytes: the name is part of a socket's path, and such paths are
/// short.
const MAX_NAME_BYTES: usize = 24;

/// The longest form of a role in the record, in bytes: the record takes 32 KiB with what lifecycle
/// adds.
const MAX_DETAIL_BYTES: usize = 31 * 1024;

/// Checks the roles of a cluster.
pub fn check_plan(roles: &[RoleSpec]) -> Result<(), InvalidPlan> {
    let mut names = HashSet::new();
    for (index, role) in roles.iter().enumerate() {
        check_role(&format!("roles[{index}]"), role)?;
        if !names.insert(&role.name) {
            return Err(invalid(
                format!("roles[{index}].name"),
                format!("there are two roles called {}", role.name),
            ));
        }
        if matches!(role.restart, Restart::UntilDone(_)) {
            return Err(invalid(
                format!("roles[{index}].restart"),
                "only contenders are ever done",
            ));
        }
    }
    if roles.iter().map(|role| role.replicas).fold(0, u32::saturating_add) > MAX_PROCESSES {
        return Err(invalid("roles", format!("more than {MAX_PROCESSES} processes")));
    }
    let serving: Vec<_> = roles.iter().filter(|role| role.serves_jobs).collect();
    match serving.as_slice() {
        [role] if role.replicas == 1 => Ok(()),
        [role] => {
            Err(invalid("roles", format!("{} serves jobs and has to have one replica", role.name)))
        }
        others => Err(invalid(
            "roles",
            format!("exactly one role has to serve jobs, not {}", others.len()),
        )),
    }
}

/// Checks the role of contenders.
pub fn check_contender(role: &RoleSpec) -> Result<(), InvalidPlan> {
    check_role("role", role)
}

fn check_role(path: &str, role: &RoleSpec) -> Result<(), InvalidPlan> {
    let field = |name: &str| format!("{path}.{name}");
    if !is_name(&role.name) {
        return Err(invalid(
            field("name"),
            format!(
                "{:?} is not of the form [a-z][a-z0-9-]*, at most {MAX_NAME_BYTES} bytes",
                role.name
            ),
        ));
    }
    if role.command.first().is_none_or(String::is_empty) {
        return Err(invalid(field("command"), "it is empty"));
    }
    if role.replicas == 0 {
        return Err(invalid(field("replicas"), "at least 1"));
    }
    if let Probe::Http { path, .. } = &role.probe
        && (!path.starts_with('/') || path.contains(|c: char| c.is_ascii_control() || c == ' '))
    {
        return Err(invalid(field("readiness.http.path"), format!("{path:?} is no path")));
    }
    check_ports(path, role)?;
    if role.environment.keys().any(|name| name.is_empty() || name.contains(['=', '\0'])) {
        return Err(invalid(field("environment"), "a variable's name is empty or holds = or NUL"));
    }
    if let Some(at) = role.files.iter().position(|file| !stays_inside(&file.path)) {
        return Err(invalid(
            field(&format!("files[{at}].path")),
            "it has to be relative and without ..",
        ));
    }
    let bytes = serde_json::to_vec(role).map_or(usize::MAX, |text| text.len());
    if bytes > MAX_DETAIL_BYTES {
        return Err(invalid(
            path,
            format!(
                "command and environment come to {bytes} bytes, {MAX_DETAIL_BYTES} is the limit"
            ),
        ));
    }
    Ok(())
}

fn check_ports(path: &str, role: &RoleSpec) -> Result<(), InvalidPlan> {
    let field = |name: &str| format!("{path}.{name}");
    if let Some(port) = role.ports.iter().find(|port| !is_name(port)) {
        let why =
            format!("{port:?} is not of the form [a-z][a-z0-9-]*, at most {MAX_NAME_BYTES} bytes");
        return Err(invalid(field("ports"), why));
    }
    if !role.ports.is_empty() && role.replicas > 1 {
        return Err(invalid(
            field("ports"),
            "a role with several replicas has no port that others could find",
        ));
    }
    match &role.probe {
        Probe::TcpPort(Port::Name(name)) | Probe::Http { port: Port::Name(name), .. }
            if !role.ports.contains(name) =>
        {
            Err(invalid(field("readiness"), format!("{name:?} is none of the role's ports")))
        }
        _ => Ok(()),
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= MAX_NAME_BYTES
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn stays_inside(path: &str) -> bool {
    !path.is_empty()
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

fn invalid(field: impl Into<String>, why: impl Into<String>) -> InvalidPlan {
    InvalidPlan { field: field.into(), why: why.into() }
}
