//! A user of their own for the processes of applications: which user that is, which groups keep
//! applications apart, and what those processes may enter.
//!
//! All of these processes have one uid, so files and `/proc` are kept apart by groups: each
//! application, and each kind of process in it, has a group number of its own that stands in no
//! table. As the primary group this number also keeps one application's processes from looking into
//! another's, because the kernel wants uid *and* gid to be equal for that.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The variables of the settings, which processes hand on to the processes that they start.
pub const VARIABLES: [&str; 2] = ["MAINSPRING_RUN_AS", "MAINSPRING_RUN_AS_DIR"];

/// Derived group numbers begin here, above those that people and containers give out.
const FIRST_GROUP: u32 = 0x4000_0000;

/// The user that the processes of applications run as.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct RunAsArgs {
    /// Run main() and clusters as this user, who cannot read what is the host's: needs a host that
    /// runs as root
    #[arg(long, env = VARIABLES[0], value_name = "USER")]
    pub run_as: Option<User>,

    /// Where such processes work: every user may enter it, and each directory below belongs to one
    /// application
    #[arg(long, env = VARIABLES[1], value_name = "DIR", default_value = "/var/lib/mainspring-run")]
    pub run_as_dir: PathBuf,
}

impl RunAsArgs {
    /// The user and the directory, where a user is given.
    pub fn given(&self) -> Option<RunAs> {
        let user = self.run_as.clone()?;
        Some(RunAs { user, directory: self.run_as_dir.clone() })
    }
}

/// A user of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name, as `passwd` has it.
    pub name: String,
    uid: u32,
    groups: Vec<u32>,
    home: PathBuf,
}

impl FromStr for User {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = uzers::get_user_by_name(name).ok_or_else(|| {
            format!("this machine has no user {name:?}: create one (useradd --system {name}) or name another")
        })?;
        if found.uid() == 0 {
            return Err(format!("{name} reads everything: name a user without rights of root"));
        }
        let primary = found.primary_group_id();
        let others = uzers::get_user_groups(name, primary).unwrap_or_default();
        let mut groups: Vec<u32> = others.iter().map(uzers::Group::gid).chain([primary]).collect();
        groups.sort_unstable();
        groups.dedup();
        let home = uzers::os::unix::UserExt::home_dir(&found).to_owned();
        Ok(Self { name: name.to_owned(), uid: found.uid(), groups, home })
    }
}

/// A user, and the directory where the processes of this user work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunAs {
    /// The user whose uid the processes have.
    pub user: User,
    /// A directory for all hosts of this machine, which every user may enter.
    pub directory: PathBuf,
}

/// What a process becomes before its program begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The user's number.
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
    /// All other groups.
    pub groups: Vec<u32>,
}

/// What a group is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share<'a> {
    /// All processes of one application, as `<id>@<generation>`.
    Application(&'a str),
    /// All processes of one kind in an application, such as `main` or `worker`.
    Kind(&'a str, &'a str),
    /// The clusters of all applications: what they need of the host.
    Clusters,
}

impl RunAs {
    /// Refuses what cannot work: a host that is not root, or a directory that other users cannot
    /// enter.
    pub fn check(&self) -> Result<(), String> {
        if !rustix::process::geteuid().is_root() {
            let uid = rustix::process::geteuid().as_raw();
            return Err(format!(
                "--run-as {} needs a host that runs as root, and this one has uid {uid}: start it as root, or leave \
                 --run-as out",
                self.user.name
            ));
        }
        let entered =
            |path: &Path| fs::metadata(path).map_or(true, |found| found.mode() & 0o001 != 0);
        match self.directory.ancestors().skip(1).find(|path| !entered(path)) {
            None => Ok(()),
            Some(shut) => Err(format!(
                "--run-as-dir {}: others cannot enter {}: name a directory whose way is open to {}",
                self.directory.display(),
                shut.display(),
                self.user.name
            )),
        }
    }

    /// The number of a group on the host with this mark.
    pub fn group(host: &str, share: Share<'_>) -> u32 {
        let (kind, words) = match share {
            Share::Application(application) => ("application", [application, ""]),
            Share::Kind(application, kind) => ("kind", [application, kind]),
            Share::Clusters => ("clusters", ["", ""]),
        };
        let mut hasher = Sha256::new();
        for word in [host, kind].into_iter().chain(words) {
            hasher.update((word.len() as u64).to_be_bytes());
            hasher.update(word.as_bytes());
        }
        let digest = hasher.finalize();
        let number = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
        FIRST_GROUP | (number & (FIRST_GROUP - 1))
    }

    /// What a process of an application becomes. `shares` are groups beside its own and the
    /// application's.
    pub fn identity(
        &self,
        host: &str,
        application: &str,
        kind: &str,
        shares: &[Share<'_>],
    ) -> Identity {
        let mut groups = vec![Self::group(host, Share::Application(application))];
        groups.extend(shares.iter().map(|share| Self::group(host, *share)));
        groups.extend(&self.user.groups);
        let gid = Self::group(host, Share::Kind(application, kind));
        Identity { uid: self.user.uid, gid, groups }
    }

    /// Puts the process's user into its environment. Variables that name places of the host's own
    /// user are left out.
    pub fn describe(&self, environment: &mut BTreeMap<String, String>) {
        for name in ["TMPDIR", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME"] {
            environment.remove(name);
        }
        for name in ["USER", "LOGNAME"] {
            environment.insert(name.to_owned(), self.user.name.clone());
        }
        environment.insert("HOME".to_owned(), self.user.home.to_string_lossy().into_owned());
    }
}

impl fmt::Display for RunAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.user.name, self.directory.display())
    }
}

/// Makes a directory, and the missing ones above it, which every user may enter and only root may
/// list.
pub fn make_way(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
        make_way(parent)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o711))),
    }
}

/// Gives an existing file or directory to a group with these permissions. Only root and that group
/// can use it.
pub fn share_with(path: &Path, group: u32, mode: u32) -> io::Result<()> {
    // The group comes first: with the permissions of the old group nothing is open to the new one.
    chown(path, None, Some(group))?;
    fs::set_permissions(path, Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_user_that_is_not_there_and_root_are_refused_in_words() {
        let error = "no-such-user".parse::<User>().unwrap_err();
        assert!(error.contains("no user \"no-such-user\"") && error.contains("useradd"), "{error}");
        assert!("root".parse::<User>().unwrap_err().contains("reads everything"));
    }

    #[test]
    fn applications_and_kinds_of_processes_have_groups_of_their_own_on_each_host() {
        let shares = [
            Share::Application("a@1"),
            Share::Application("a@2"),
            Share::Kind("a@1", "main"),
            Share::Kind("a@1", "worker"),
            Share::Kind("b@1", "main"),
            Share::Clusters,
        ];
        let mut groups: Vec<u32> = shares
            .iter()
            .flat_map(|share| ["host-a", "host-b"].map(|host| RunAs::group(host, *share)))
            .collect();
        assert!(groups.iter().all(|group| (FIRST_GROUP..FIRST_GROUP * 2).contains(group)));
        groups.sort_unstable();
        groups.dedup();
        assert_eq!(groups.len(), shares.len() * 2);
        assert_eq!(
            RunAs::group("h", shares[0]),
            RunAs::group("h", shares[0]),
            "computed alike by every process"
        );
    }

    #[test]
    fn a_process_has_its_kinds_group_first_and_its_users_groups_beside_its_applications() {
        let user = User { name: "u".into(), uid: 7, groups: vec![8, 9], home: "/home/u".into() };
        let run_as = RunAs { user, directory: "/var/lib/x".into() };
        let main = run_as.identity("h", "a@1", "main", &[]);
        let application = RunAs::group("h", Share::Application("a@1"));
        assert_eq!((main.uid, main.gid), (7, RunAs::group("h", Share::Kind("a@1", "main"))));
        assert_eq!(main.groups, [application, 8, 9]);
        let mut environment = BTreeMap::from([("TMPDIR".to_owned(), "/host/tmp".to_owned())]);
        run_as.describe(&mut environment);
        assert_eq!(environment.get("HOME").map(String::as_str), Some("/home/u"));
        assert!(!environment.contains_key("TMPDIR"));
    }

    #[test]
    fn a_way_is_entered_by_everybody_and_a_shut_one_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let way = directory.path().join("a/b");
        make_way(&way).unwrap();
        make_way(&way).unwrap();
        assert_eq!(fs::metadata(&way).unwrap().mode() & 0o777, 0o711);
        if rustix::process::geteuid().is_root() {
            fs::set_permissions(directory.path(), Permissions::from_mode(0o700)).unwrap();
            let user = User { name: "u".into(), uid: 7, groups: vec![], home: "/".into() };
            let refused = RunAs { user, directory: way }.check().unwrap_err();
            assert!(refused.contains(directory.path().to_str().unwrap()), "{refused}");
        }
    }
}
