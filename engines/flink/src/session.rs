//! A session cluster: Flink that runs already, for many applications. Where it is, and which
//! settings an application cannot make for it.

use std::collections::BTreeMap;
use std::fmt;

use chassis::transport::Endpoint;

use crate::settings::BadSetting;

/// The name of its address among those of an application's cluster.
pub const ADDRESS: &str = "session/rest";

/// The port of Flink's REST API unless a setting names another.
const PORT: u16 = 8081;

/// The settings that a cluster which runs already has of its own.
const NOT_OURS: [&str; 7] = [
    "taskmanager.",
    "jobmanager.",
    "flink.taskmanagers",
    "resourcemanager.",
    "slotmanager.",
    "env.java.opts.jobmanager",
    "env.java.opts.taskmanager",
];

/// Where a session cluster serves Flink's REST API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    host: String,
    port: u16,
}

impl Session {
    /// Takes the settings that name the cluster out of an application's settings; the others are
    /// left for [`crate::settings::Settings`].
    pub fn take(settings: &mut BTreeMap<String, String>) -> Result<Self, Vec<BadSetting>> {
        let mut bad: Vec<BadSetting> = Vec::new();
        for name in
            settings.keys().filter(|name| NOT_OURS.iter().any(|theirs| name.starts_with(theirs)))
        {
            let why = "the session cluster is there already, with settings of its own";
            bad.push(BadSetting::Owned { name: name.clone(), why });
        }
        let value = |name: &str, why: &str| BadSetting::Value {
            name: name.to_owned(),
            why: why.to_owned(),
        };
        let host = settings.remove("rest.address").unwrap_or_default();
        if host.is_empty() {
            bad.push(value(
                "rest.address",
                "which session cluster? Name its REST API with -m HOST:PORT",
            ));
        }
        let port = settings.remove("rest.port").map_or(Ok(PORT), |text| text.parse());
        let port = port.unwrap_or_else(|_| {
            bad.push(value("rest.port", "a number from 1 to 65535"));
            0
        });
        if bad.is_empty() { Ok(Self { host, port }) } else { Err(bad) }
    }

    /// The address, for a connection.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::Tcp(self.host.clone(), self.port)
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(pairs: &[(&str, &str)]) -> Result<(String, Vec<String>), Vec<String>> {
        let mut settings =
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let session = Session::take(&mut settings);
        let names = |bad: Vec<BadSetting>| bad.iter().map(|bad| bad.name().to_owned()).collect();
        session.map(|session| (session.to_string(), settings.into_keys().collect())).map_err(names)
    }

    #[test]
    fn the_address_is_taken_and_the_programs_own_settings_are_left() {
        let taken = take(&[
            ("rest.address", "flink"),
            ("rest.port", "9"),
            ("state.backend.type", "rocksdb"),
        ]);
        assert_eq!(taken, Ok(("flink:9".to_owned(), vec!["state.backend.type".to_owned()])));
        assert_eq!(take(&[("rest.address", "flink")]), Ok(("flink:8081".to_owned(), vec![])));
    }

    #[test]
    fn what_is_the_clusters_and_what_names_none_is_refused() {
        let refused = take(&[("taskmanager.numberOfTaskSlots", "2"), ("rest.port", "http")]);
        let expected = ["taskmanager.numberOfTaskSlots", "rest.address", "rest.port"];
        assert_eq!(refused, Err(expected.map(str::to_owned).to_vec()));
    }
}
