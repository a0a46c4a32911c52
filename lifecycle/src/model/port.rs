//! Named ports: a role says which ports it listens on, and the substrate says where they are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::RoleSpec;

/// Where the named ports of a group are reached: `<role>/<port>` to `host:port`.
pub type Addresses = BTreeMap<String, String>;

/// A TCP port of a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Port {
    /// The number, which the engine knows.
    Number(u16),
    /// One of the role's own names, whose number the substrate chooses.
    Name(String),
}

/// The keys of [`Addresses`] for the ports of these roles.
pub fn port_keys(roles: &[RoleSpec]) -> Vec<String> {
    let of_role =
        |role: &RoleSpec| role.ports.iter().map(|port| key(&role.name, port)).collect::<Vec<_>>();
    roles.iter().flat_map(of_role).collect()
}

fn key(role: &str, port: &str) -> String {
    format!("{role}/{port}")
}

impl RoleSpec {
    /// The number that a port of this role has.
    pub fn number_of(&self, port: &Port) -> Option<u16> {
        match port {
            Port::Number(number) => Some(*number),
            Port::Name(name) => number_in(self.addresses.get(&key(&self.name, name))?),
        }
    }

    /// What the environment tells a process of this role: of its own ports, and of all addresses of
    /// its group.
    pub fn port_variables(&self) -> impl Iterator<Item = (String, String)> {
        let own = self.ports.iter().filter_map(|name| {
            let number = self.number_of(&Port::Name(name.clone()))?;
            Some((format!("MAINSPRING_PORT_{}", shouted(name)), number.to_string()))
        });
        let all = self.addresses.iter().map(|(key, address)| {
            (format!("MAINSPRING_ADDRESS_{}", shouted(key)), address.clone())
        });
        own.chain(all)
    }
}

fn number_in(address: &str) -> Option<u16> {
    address.rsplit_once(':')?.1.parse().ok()
}

fn shouted(name: &str) -> String {
    name.to_ascii_uppercase().replace(['-', '/'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests::role;

    #[test]
    fn a_process_is_told_its_own_ports_and_all_addresses() {
        let mut role = role("job-manager");
        role.ports = vec!["rest-api".into()];
        role.addresses =
            [("job-manager/rest-api", "127.0.0.1:20211"), ("jobs/ha", "10.0.0.7:6000")]
                .map(|(key, address)| (key.to_owned(), address.to_owned()))
                .into();
        let told: BTreeMap<String, String> = role.port_variables().collect();
        let expected = [
            ("MAINSPRING_PORT_REST_API", "20211"),
            ("MAINSPRING_ADDRESS_JOB_MANAGER_REST_API", "127.0.0.1:20211"),
            ("MAINSPRING_ADDRESS_JOBS_HA", "10.0.0.7:6000"),
        ];
        assert_eq!(told, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }
}
