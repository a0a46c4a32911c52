//! The Java sources of this engine, inside the executable, so that an installed engine needs
//! nothing beside it.

use sha2::{Digest as _, Sha256};

macro_rules! embedded {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../java/", $path)))),*]
    };
}

/// The classes: path under `java/` and content.
pub(crate) const CLASSES: &[(&str, &str)] = embedded![
    "io/mainspring/flink/Accumulators.java",
    "io/mainspring/flink/CannotRun.java",
    "io/mainspring/flink/CheckpointPointer.java",
    "io/mainspring/flink/CheckpointTimeouts.java",
    "io/mainspring/flink/Failure.java",
    "io/mainspring/flink/Front.java",
    "io/mainspring/flink/JobsClient.java",
    "io/mainspring/flink/JsonHttp.java",
    "io/mainspring/flink/KnownSettings.java",
    "io/mainspring/flink/LogConfiguration.java",
    "io/mainspring/flink/LogContexts.java",
    "io/mainspring/flink/LogProvider.java",
    "io/mainspring/flink/Main.java",
    "io/mainspring/flink/MainspringExecutor.java",
    "io/mainspring/flink/MainspringExecutorFactory.java",
    "io/mainspring/flink/MainspringHaServices.java",
    "io/mainspring/flink/MainspringHaServicesFactory.java",
    "io/mainspring/flink/OpenJobs.java",
    "io/mainspring/flink/Options.java",
    "io/mainspring/flink/PointerNames.java",
    "io/mainspring/flink/PointerStore.java",
    "io/mainspring/flink/Printing.java",
    "io/mainspring/flink/RecordedCheckpoints.java",
    "io/mainspring/flink/RecordedIdCounter.java",
    "io/mainspring/flink/RecordedResults.java",
    "io/mainspring/flink/Rehearsal.java",
    "io/mainspring/flink/RehearsalProgram.java",
    "io/mainspring/flink/StderrAppender.java",
    "io/mainspring/flink/Text.java",
    "io/mainspring/flink/UnpackedRpcSystemLoader.java",
    "io/mainspring/flink/UserProgram.java",
    "io/mainspring/flink/Width.java",
];

/// The resources: path under `java/resources/`, which is the path in the jar, and content.
pub(crate) const RESOURCES: &[(&str, &str)] = &[
    (
        "META-INF/services/org.apache.flink.core.execution.PipelineExecutorFactory",
        include_str!(
            "../java/resources/META-INF/services/org.apache.flink.core.execution.PipelineExecutorFactory"
        ),
    ),
    (
        "META-INF/services/org.apache.flink.runtime.rpc.RpcSystemLoader",
        include_str!(
            "../java/resources/META-INF/services/org.apache.flink.runtime.rpc.RpcSystemLoader"
        ),
    ),
];

/// The digest of all that goes into mainspring's jar, in hex.
pub(crate) fn digest() -> String {
    let mut hash = Sha256::new();
    for (path, content) in CLASSES.iter().chain(RESOURCES) {
        for part in [path, content] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    hex::encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::{CLASSES, RESOURCES};

    fn files_under(directory: &Path, base: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files_under(&path, base, found);
            } else {
                found.insert(path.strip_prefix(base).unwrap().to_str().unwrap().to_owned());
            }
        }
    }

    fn assert_embedded(table: &[(&str, &str)], base: &Path, directory: &Path) {
        let mut found = BTreeSet::new();
        files_under(directory, base, &mut found);
        let embedded: BTreeSet<String> = table.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(found, embedded);
    }

    #[test]
    fn every_source_and_resource_is_embedded() {
        let java = Path::new(env!("CARGO_MANIFEST_DIR")).join("java");
        assert_embedded(CLASSES, &java, &java.join("io"));
        assert_embedded(RESOURCES, &java.join("resources"), &java.join("resources"));
    }
}
