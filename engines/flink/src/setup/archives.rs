//! Class-data archives: what a JVM would load, verify and link at each start, done once.

use std::path::Path;

use crate::java_home::JavaHome;

pub(super) fn make(_home: &Path, _java: &JavaHome) -> anyhow::Result<()> {
    Ok(())
}
