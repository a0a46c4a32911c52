//! A person at another machine: a home of its own, and no state directory.

use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::host::binary;
use e2e::process::{eventually, with_environment};
use e2e::{Finished, Host, Running};

/// The home of a caller. Its commands have no variable of mainspring but those that a test gives.
pub(crate) struct Caller {
    home: tempfile::TempDir,
}

impl Caller {
    pub(crate) fn new() -> Self {
        Self { home: tempfile::Builder::new().prefix("c").tempdir().unwrap() }
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.home().join(".config/mainspring/config.yaml")
    }

    /// Writes a file of the caller's alone, and answers with its path.
    pub(crate) fn file(&self, name: &str, content: &str, mode: u32) -> String {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.home().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A copy of a host's key.
    pub(crate) fn key_of(&self, host: &Host) -> String {
        let key = std::fs::read_to_string(host.state().join("deployment.key")).unwrap();
        self.file("deployment.key", &key, 0o600)
    }

    /// A key of no host.
    pub(crate) fn some_key(&self) -> String {
        self.file("some.key", &"5a".repeat(32), 0o600)
    }

    /// Writes a file of contexts with one context, `prod`, in plain text. `endpoints` are separated
    /// by commas.
    pub(crate) fn configure(&self, endpoints: &str, credential: &str) {
        let text = format!(
            "contexts:\n  - name: prod\n    endpoints: [{endpoints}]\n    insecure: true\n    \
             credential:\n      {credential}\n"
        );
        std::fs::create_dir_all(self.config().parent().unwrap()).unwrap();
        self.file(".config/mainspring/config.yaml", &text, 0o600);
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(binary("mainspring"));
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if ["MAINSPRING_", "XDG_", "OTEL_"].iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(&name);
            }
        }
        command
            .args(words)
            .current_dir(self.home())
            .env("HOME", self.home())
            .env("XDG_RUNTIME_DIR", self.home().join("run"))
            .env("NO_COLOR", "1");
        command
    }

    #[track_caller]
    pub(crate) fn run(&self, words: &[&str]) -> Finished {
        Running::start(self.command(words)).finish()
    }

    /// The same with `--context prod`.
    #[track_caller]
    pub(crate) fn prod(&self, words: &[&str]) -> Finished {
        self.start_prod(words).finish()
    }

    #[track_caller]
    pub(crate) fn start_prod(&self, words: &[&str]) -> Running {
        Running::start(self.command(&[&["--context", "prod"][..], words].concat()))
    }

    /// Panics if a command of this caller has made a state directory or sockets, or has left a
    /// process.
    #[track_caller]
    pub(crate) fn has_started_nothing(&self) {
        for made in [".local", "run"] {
            assert!(!self.home().join(made).exists(), "{made} was made in the caller's home");
        }
        let home = format!("HOME={}", self.home().display());
        eventually("no process of the caller is left", || with_environment(&home).is_empty());
    }
}
