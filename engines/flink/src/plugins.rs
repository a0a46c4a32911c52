//! The file systems that Flink has as plugins, each a jar of its own that its libraries come
//! without.

use crate::home::FLINK_VERSION;

/// A jar that set-up installs when it is asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plugin {
    /// The name, as in `-D flink.plugins=s3-fs-hadoop`.
    pub(crate) name: &'static str,
    /// The digest of its jar.
    pub(crate) sha256: &'static str,
    /// The size of its jar, for people.
    pub(crate) megabytes: u32,
}

/// The plugins of this version of Flink.
const PLUGINS: [Plugin; 5] = [
    Plugin {
        name: "azure-fs-hadoop",
        sha256: "f35db4433c30215f74bc26b310c6dd2f03418543ec58abaf31c5ce41a74e267a",
        megabytes: 28,
    },
    Plugin {
        name: "gs-fs-hadoop",
        sha256: "4089f99fcfe5e5326f4060a755aae06b6b38de60aaa0cbd05f8a06e92c968907",
        megabytes: 74,
    },
    Plugin {
        name: "oss-fs-hadoop",
        sha256: "60f6166809c7607ab4ff94e4f8d8a42104088fdba9e1c155da4a92beedbd275d",
        megabytes: 27,
    },
    Plugin {
        name: "s3-fs-hadoop",
        sha256: "5a3de2daac49e9df1783367391f994dace3bfa18c168b45c3d4563decca7d3d0",
        megabytes: 32,
    },
    Plugin {
        name: "s3-fs-presto",
        sha256: "ab017e92278a2fe1f41872dfe6d0ef0a5fcd32322cf79ae4c81934cabec2e3a3",
        megabytes: 97,
    },
];

impl Plugin {
    /// The plugin of this name, which may also be written as on Flink's own pages:
    /// `flink-s3-fs-hadoop`.
    pub(crate) fn named(text: &str) -> Option<Self> {
        let short = text.strip_prefix("flink-").unwrap_or(text);
        let short = short.strip_suffix(&format!("-{FLINK_VERSION}.jar")).unwrap_or(short);
        PLUGINS.into_iter().find(|plugin| plugin.name == short)
    }

    /// The name of its jar.
    pub(crate) fn file_name(self) -> String {
        format!("flink-{}-{FLINK_VERSION}.jar", self.name)
    }
}

/// All names, for people.
pub(crate) fn names() -> String {
    PLUGINS.map(|plugin| plugin.name).join(", ")
}

/// The plugin of this name, for clap.
pub(crate) fn parse(text: &str) -> Result<Plugin, String> {
    Plugin::named(text).ok_or_else(|| format!("Flink {FLINK_VERSION} has these: {}", names()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_has_the_names_that_flinks_own_pages_give_it() {
        for text in ["s3-fs-hadoop", "flink-s3-fs-hadoop", "flink-s3-fs-hadoop-2.3.0.jar"] {
            assert_eq!(Plugin::named(text).map(|plugin| plugin.name), Some("s3-fs-hadoop"));
        }
        assert_eq!(Plugin::named("s3"), None);
    }
}
