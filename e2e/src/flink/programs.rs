//! The jars: Flink's examples, which set-up fetched, and the programs of this repository, compiled
//! here once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest as _, Sha256};

use crate::host::binary;

/// The main class of Flink's first example.
pub const WORD_COUNT: &str = "org.apache.flink.streaming.examples.wordcount.WordCount";

/// Flink's examples as a jar, as set-up finds or fetches them.
pub fn examples() -> String {
    examples_of("2.3.0")
}

/// The examples of another version of Flink.
pub fn examples_of(version: &str) -> String {
    said_by(Command::new(crate::repository().join("tools/setup")).args(["flink-examples", version]))
}

/// A jar with every program of `e2e/java/`. Its manifest names none of them.
pub fn programs() -> String {
    let home = PathBuf::from(home());
    let sources = sources();
    let mut digest = Sha256::new();
    for source in &sources {
        digest.update(fs::read(source).expect("it was just listed"));
    }
    let name = format!("flink-programs-{}", hex::encode(&digest.finalize()[..6]));
    let place = std::env::temp_dir().join(name);
    fs::create_dir_all(&place).expect("the temporary directory is writable");
    // Tests are processes of their own, several of them at a time.
    let lock = File::create(place.join("lock")).expect("it is ours");
    lock.lock().expect("a local file can be locked");
    let jar = place.join("programs.jar");
    if !jar.exists() {
        compile(&home, &sources, &place, &jar);
    }
    jar.to_str().expect("temporary paths are UTF-8").to_owned()
}

/// A jar in this directory whose one class, `Newer`, was compiled for a Java that does not exist.
pub fn for_a_newer_java(directory: &Path) -> String {
    // The magic number, then a class file's version; a JVM that does not know the version reads no
    // further.
    fs::write(directory.join("Newer.class"), [0xca, 0xfe, 0xba, 0xbe, 0, 0, 0xff, 0xff])
        .expect("it is a test's own");
    packed("--create", directory, "newer.jar", "Newer.class")
}

/// A copy of this jar in this directory, with so many further bytes in it.
pub fn padded(jar: &str, directory: &Path, bytes: u64) -> String {
    fs::copy(jar, directory.join("large.jar")).expect("the directory is a test's own");
    let file = File::create(directory.join("padding")).expect("the directory is a test's own");
    file.set_len(bytes).expect("such files are sparse");
    packed("--update", directory, "large.jar", "padding")
}

/// A jar in this directory that holds nothing but this file.
pub fn jar_with(directory: &Path, name: &str, content: &str) -> String {
    fs::write(directory.join(name), content).expect("the directory is a test's own");
    packed("--create", directory, &format!("{name}.jar"), name)
}

/// A plugin for Flink in a directory of its own, which is made: files of this machine under the
/// scheme `mirror`.
pub fn plugin(directory: &Path) {
    const SERVICE: &str = "META-INF/services/org.apache.flink.core.fs.FileSystemFactory";
    let classes = Path::new(&programs()).with_file_name("classes");
    let made = directory.join("made");
    fs::create_dir_all(made.join("META-INF/services")).expect("the directory is a test's own");
    fs::write(made.join(SERVICE), "MirrorFileSystem").expect("the directory is a test's own");
    fs::copy(classes.join("MirrorFileSystem.class"), made.join("MirrorFileSystem.class"))
        .expect("programs() has just compiled it");
    packed("--create", &made, "../mirror.jar", ".");
    fs::remove_dir_all(made).expect("the directory is a test's own");
}

/// Makes or updates a jar with one file of its directory, uncompressed.
fn packed(how: &str, directory: &Path, jar: &str, file: &str) -> String {
    let jar = directory.join(jar);
    said_by(
        Command::new(java("jar"))
            .args([how, "--no-compress", "--file"])
            .arg(&jar)
            .arg("-C")
            .arg(directory)
            .arg(file),
    );
    jar.to_str().expect("temporary paths are UTF-8").to_owned()
}

/// The Flink home, as set-up left it.
pub(super) fn home() -> String {
    said_by(Command::new(binary("mainspring-flink")).args(["setup", "--check"]))
}

/// A tool of the JDK that Flink was set up with.
pub(super) fn java(tool: &str) -> PathBuf {
    let complete = fs::read(Path::new(&home()).join("complete"))
        .expect("a set-up home says with which JDK it was made");
    let complete: serde_json::Value = serde_json::from_slice(&complete).expect("it is JSON");
    Path::new(complete["java_home"].as_str().expect("a path")).join("bin").join(tool)
}

fn sources() -> Vec<PathBuf> {
    let directory = crate::repository().join("e2e/java");
    let mut sources: Vec<_> =
        fs::read_dir(directory).expect("it is there").flatten().map(|entry| entry.path()).collect();
    sources.sort();
    sources
}

fn compile(home: &Path, sources: &[PathBuf], place: &Path, jar: &Path) {
    let classes = place.join("classes");
    said_by(
        Command::new(java("javac"))
            .args(["-Xlint:all,-classfile,-try", "-Werror", "-proc:none", "-cp"])
            .arg(format!("{}/lib/*", home.display()))
            .arg("-d")
            .arg(&classes)
            .args(sources),
    );
    let unfinished = place.join("unfinished.jar");
    said_by(
        Command::new(java("jar"))
            .args(["--create", "--file"])
            .arg(&unfinished)
            .arg("-C")
            .arg(classes)
            .arg("."),
    );
    fs::rename(unfinished, jar).expect("both are ours");
}

/// Runs a tool, and answers its stdout.
#[track_caller]
fn said_by(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("tools of the build are there");
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}:\n{stdout}{stderr}");
    stdout.trim().to_owned()
}
