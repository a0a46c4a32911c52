//! A tether as a real process without the `mainspring` binary: this test executable, started again.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The variable that names the spec to the test executable when it is started again.
const SPEC_VARIABLE: &str = "TETHER_TEST_SPEC";

/// Not a test by itself: started with a spec, this executable *is* the tether.
#[test]
fn as_a_tether() {
    if let Some(spec) = std::env::var_os(SPEC_VARIABLE) {
        lifecycle::tether::run(Path::new(&spec));
        std::process::exit(0);
    }
}

/// What is run as `mainspring tether --spec FILE`: the test executable with the one test that is a
/// tether.
pub(crate) fn executable(directory: &Path) -> PathBuf {
    let path = directory.join("mainspring");
    let own = std::env::current_exe().unwrap();
    let script = format!(
        "#!/bin/sh\n{SPEC_VARIABLE}=\"$3\" exec '{}' --exact tether_process::as_a_tether --nocapture --test-threads=1\n",
        own.display()
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}
