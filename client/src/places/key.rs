//! The deployment's key on this host.

use std::io::{self, ErrorKind};

use chassis::credential::DeploymentKey;

use super::Places;

impl Places {
    /// The deployment's key, which is made if there is none.
    ///
    /// Several hosts have one key, and a host cannot know by itself whether another one has made
    /// it. So here one of several hosts only reads the key: its jobgraph-store, which asks the
    /// record, makes it if this is the first host of all.
    pub fn key(&self) -> io::Result<DeploymentKey> {
        let path = self.deployment_key();
        let Some(shared) = self.shared() else { return DeploymentKey::load_or_create(&path) };
        DeploymentKey::load(&path).map_err(|error| {
            if error.kind() != ErrorKind::NotFound {
                return error;
            }
            let text = format!(
                "there is no {}: the hosts that share {} have one key, so copy that file of \
                 another host there; jobgraph-store makes the key of the first host",
                path.display(),
                shared.display()
            );
            io::Error::new(ErrorKind::NotFound, text)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_of_several_hosts_reads_the_key_and_makes_none() {
        let state = tempfile::tempdir().unwrap();
        let alone = Places::new(state.path());
        let shared = alone.clone().sharing(Some("/mnt/shared".into()));
        let error = shared.key().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let text = error.to_string();
        for named in [&*alone.deployment_key().to_string_lossy(), "/mnt/shared", "copy"] {
            assert!(text.contains(named), "{text}");
        }
        assert!(!alone.deployment_key().exists(), "a key was made");

        let made = alone.key().unwrap();
        assert_eq!(shared.key().unwrap().fingerprint(), made.fingerprint());
    }
}
