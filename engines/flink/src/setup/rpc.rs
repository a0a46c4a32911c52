//! Flink's RPC system: a jar inside Flink's own, unpacked once instead of at each start of a JVM.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use anyhow::Context as _;

use super::command;
use crate::home::{FLINK_VERSION, RPC_JAR};
use crate::java_home::JavaHome;

/// The defaults of the RPC system, which each start of a JVM parses: five sixths of them are
/// comments.
const DEFAULTS: &str = "reference.conf";

pub(super) fn unpack_in(home: &Path, java: &JavaHome) -> anyhow::Result<()> {
    let target = home.join(RPC_JAR);
    let (Some(directory), Some(name)) = (target.parent(), target.file_name()) else {
        anyhow::bail!("{} names no file", target.display());
    };
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    let jar = |mode: &str, file: &Path, entry: &OsStr| {
        let arguments = [mode.as_ref(), "--file".as_ref(), file.as_os_str(), entry];
        command::run(java.tool("jar"), &arguments, directory, &[])
    };
    jar("--extract", &home.join(format!("lib/flink-dist-{FLINK_VERSION}.jar")), name)?;
    anyhow::ensure!(target.is_file(), "Flink's libraries hold no {}", name.display());
    jar("--extract", &target, DEFAULTS.as_ref())?;
    let defaults = directory.join(DEFAULTS);
    let text = fs::read_to_string(&defaults).with_context(|| defaults.display().to_string())?;
    fs::write(&defaults, without_comments(&text))
        .with_context(|| defaults.display().to_string())?;
    jar("--update", &target, DEFAULTS.as_ref())?;
    fs::remove_file(&defaults).with_context(|| defaults.display().to_string())
}

/// The same settings, without lines that hold none. In a string of several lines a text may begin
/// like a comment, so that a file with such strings stays as it is.
fn without_comments(hocon: &str) -> String {
    if hocon.contains(r#"""""#) {
        return hocon.to_owned();
    }
    let says_something =
        |line: &&str| !(line.is_empty() || line.starts_with('#') || line.starts_with("//"));
    hocon.lines().map(str::trim).filter(says_something).flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::without_comments;

    #[test]
    fn comments_go_and_settings_stay() {
        let hocon =
            "# Pekko\n\npekko {\n  // why\n  loggers = [\"a#b\"] # told\n  url = \"http://x\"\n}\n";
        assert_eq!(
            without_comments(hocon),
            "pekko {\nloggers = [\"a#b\"] # told\nurl = \"http://x\"\n}\n"
        );
        let text = "motd = \"\"\"\n# no comment\n\"\"\"\n";
        assert_eq!(without_comments(text), text, "inside a string nothing is a comment");
    }
}
