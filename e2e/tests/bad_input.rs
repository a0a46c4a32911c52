//! What bad input gets: a clear error that names the thing, the value and the way out, the right
//! exit code, nothing lost, nothing left behind (which every [`Host`] checks when it is dropped).

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "bad_input/arguments.rs"]
mod arguments;
#[path = "bad_input/artifacts.rs"]
mod artifacts;
#[path = "bad_input/calls.rs"]
mod calls;
#[path = "bad_input/disks.rs"]
mod disks;
#[path = "bad_input/mains.rs"]
mod mains;
#[path = "bad_input/scripts.rs"]
mod scripts;
#[path = "bad_input/secrets.rs"]
mod secrets;

use e2e::{Finished, Host};

/// One command line that gets an error, and what it gets. `{dir}` stands for the host's scratch
/// directory.
struct Case {
    /// The files that are there: name and content. A file whose content begins with `#!` is made
    /// executable.
    files: &'static [(&'static str, &'static str)],
    /// The arguments of `mainspring`.
    arguments: &'static [&'static str],
    /// The exit code.
    code: i32,
    /// What stderr has to hold: the reason, the thing, the value, the way out.
    says: &'static [&'static str],
}

impl Case {
    /// Runs the command line on this host.
    #[track_caller]
    fn check(&self, host: &Host) -> Finished {
        for (name, content) in self.files {
            executable_if_script(host, name, content);
        }
        let directory = host.scratch().to_str().unwrap();
        let arguments: Vec<_> =
            self.arguments.iter().map(|word| word.replace("{dir}", directory)).collect();
        let run =
            host.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).exits(self.code);
        for text in self.says {
            let text = text.replace("{dir}", directory);
            assert!(
                run.stderr.contains(&text),
                "{arguments:?}: stderr lacks {text:?}:\n{}",
                run.stderr
            );
        }
        run
    }

    /// Runs the command line on a host of its own.
    #[track_caller]
    fn alone(&self) {
        let host = Host::new();
        self.check(&host);
        host.down();
    }
}

/// Makes tests of cases, each on a host of its own.
macro_rules! each_gets_an_error {
    ($($test:ident: $files:expr, $arguments:expr => $code:literal, $says:expr;)*) => {$(
        #[test]
        fn $test() {
            $crate::Case { files: &$files, arguments: &$arguments, code: $code, says: &$says }.alone();
        }
    )*};
}
pub(crate) use each_gets_an_error;

fn executable_if_script(host: &Host, name: &str, content: &str) {
    let path = host.file(name, content);
    if content.starts_with("#!") {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// A program of the test's own: a shell script. Returns its path.
fn program(host: &Host, name: &str, script: &str) -> String {
    executable_if_script(host, name, &format!("#!/bin/sh\n{script}\n"));
    host.scratch().join(name).to_str().unwrap().to_owned()
}
