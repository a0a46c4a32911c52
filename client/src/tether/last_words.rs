//! Finds in a process's output why the process ended. The line that says so is seldom the last one,
//! because a program that has failed still logs how it shuts down. Nothing here knows an engine,
//! only how programs of the usual languages log and fail.

use std::io;
use std::path::Path;

use super::output::{self, Stream};

/// How many bytes of each stream are looked at. They hold a stack of many causes, and after it the
/// log of an orderly shutdown.
const LOOKED_AT_BYTES: usize = 256 * 1024;

/// The longest line that is quoted, in bytes.
const MAX_QUOTED_BYTES: usize = 512;

/// What a process said last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LastWords {
    /// The end of the process's stderr, in whole lines.
    pub stderr_tail: String,
    /// The line that names the process's last error: an exception, a panic, an error of its log.
    /// Empty where no line does.
    pub error: String,
    /// The last line that is neither indented nor a formula. It may be of any kind.
    pub last: String,
}

impl LastWords {
    /// Reads the kept output in `directory`; the tail has at most `tail_bytes`.
    pub fn read(directory: &Path, tail_bytes: usize) -> io::Result<Self> {
        let stderr = output::tail(directory, Stream::Stderr, LOOKED_AT_BYTES)?;
        let mut words = Self::of(&stderr, tail_bytes);
        if words.error.is_empty() {
            // A JVM that ends because it has no memory left says so on stdout, not on stderr.
            let stdout = output::tail(directory, Stream::Stdout, LOOKED_AT_BYTES)?;
            words.error = error(&stdout).map(quoted).unwrap_or_default();
        }
        Ok(words)
    }

    /// The last words in a text that a process wrote to its stderr.
    pub fn of(stderr: &str, tail_bytes: usize) -> Self {
        Self {
            stderr_tail: end_of(stderr, tail_bytes).to_owned(),
            error: error(stderr).map(quoted).unwrap_or_default(),
            last: last_word(stderr).map(quoted).unwrap_or_default(),
        }
    }

    /// The line to quote for a process that ended by itself.
    pub fn cause(&self) -> &str {
        if self.error.is_empty() { &self.last } else { &self.error }
    }
}

/// Whole lines at the end of a text. The first line is cut only where there is no other.
fn end_of(text: &str, bytes: usize) -> &str {
    if text.len() <= bytes {
        return text;
    }
    let from = (text.len() - bytes..=text.len())
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(text.len());
    let end = &text[from..];
    // Half a line reads like a message that the process never wrote.
    end.split_once('\n').map_or(end, |(_, whole)| if whole.is_empty() { end } else { whole })
}

fn quoted(line: &str) -> String {
    let to = (0..=line.len().min(MAX_QUOTED_BYTES)).rev().find(|&at| line.is_char_boundary(at));
    line[..to.unwrap_or(0)].to_owned()
}

/// The last line that is not indented, since the frames of a stack are indented in Java, Python and
/// Rust.
fn last_word(text: &str) -> Option<&str> {
    text.lines().rfind(|line| is_said(line)).map(str::trim_end)
}

fn is_said(line: &str) -> bool {
    /// These lines follow any error and say nothing about it.
    const FORMULAS: [&str; 3] = [
        "Error: A fatal exception has occurred. Program will exit.",
        "Error: Could not create the Java Virtual Machine.",
        "note: run with `RUST_BACKTRACE",
    ];
    !line.is_empty()
        && !line.starts_with(char::is_whitespace)
        && !FORMULAS.iter().any(|formula| line.starts_with(formula))
}

/// What is known while a text is read from its beginning.
#[derive(Default)]
struct Reading<'a> {
    /// The present line belongs to a line of a log that tells of something that goes on.
    is_harmless: bool,
    /// The present lines belong to a stack whose head was seen.
    in_stack: bool,
    /// The next line is the message of the failure that the last line began.
    message_follows: bool,
    found: Option<&'a str>,
}

/// The line that names the last error of a text.
fn error(text: &str) -> Option<&str> {
    let mut lines = text.lines().peekable();
    let mut reading = Reading::default();
    while let Some(line) = lines.next() {
        let is_followed_by_frame = lines.peek().is_some_and(|next| is_frame(next));
        if is_said(line) {
            reading.take(line.trim_end(), is_followed_by_frame);
        }
    }
    reading.found
}

impl<'a> Reading<'a> {
    fn take(&mut self, line: &'a str, is_followed_by_frame: bool) {
        if std::mem::take(&mut self.message_follows) {
            return self.find(line);
        }
        if is_a_failure(line) {
            (self.is_harmless, self.in_stack) = (false, false);
            self.message_follows = line.contains("panicked at") || line.starts_with("Traceback ");
            return self.find(line);
        }
        if let Some(is_error) = is_error_of_log(line) {
            (self.is_harmless, self.in_stack) = (!is_error, false);
            if is_error {
                self.find(line);
            }
            return;
        }
        if self.is_harmless {
            return;
        }
        // A message of several lines has its stack after the last of them.
        let begins_stack = names_exception(line) || (is_followed_by_frame && !self.in_stack);
        if begins_stack || line.starts_with("Caused by: ") {
            self.in_stack = true;
            self.find(line);
        }
    }

    /// Keeps a line as the last error. Once memory has run out, later failures follow from that, so
    /// they do not replace it.
    fn find(&mut self, line: &'a str) {
        const NO_MEMORY: &str = "OutOfMemoryError";
        if !self.found.is_some_and(|found| found.contains(NO_MEMORY)) || line.contains(NO_MEMORY) {
            self.found = Some(line);
        }
    }
}

/// Whether a line is a frame of a Java stack.
fn is_frame(line: &str) -> bool {
    line.starts_with(char::is_whitespace) && line.trim_start().starts_with("at ")
}

/// Whether a line is what a runtime or a command line says when it gives up, in any context.
fn is_a_failure(line: &str) -> bool {
    const BEGINNINGS: [&str; 9] = [
        "error: ",
        "error[",
        "Error: ",
        "fatal: ",
        "Exception in thread ",
        // The JVM says this when the handler of exceptions fails too.
        "Exception: ",
        "Terminating due to ",
        "Traceback (most recent call last)",
        "Improperly specified VM option ",
    ];
    BEGINNINGS.iter().any(|beginning| line.starts_with(beginning)) || line.contains(" panicked at ")
}

/// Whether a line of a log tells of an error; `None` for a line that is not of a log.
fn is_error_of_log(line: &str) -> Option<bool> {
    if line.starts_with('{') {
        let (_, level) = line.split_once("\"level\":\"")?;
        return level.split('"').next().and_then(is_error_level);
    }
    line.split_whitespace()
        .take(4)
        .find_map(|word| is_error_level(word.trim_matches(['[', ']', ':'])))
}

fn is_error_level(word: &str) -> Option<bool> {
    match word {
        "ERROR" | "FATAL" | "SEVERE" => Some(true),
        "WARN" | "WARNING" | "INFO" | "DEBUG" | "TRACE" => Some(false),
        _ => None,
    }
}

/// Whether a line begins with the name of an exception, such as `java.net.BindException: …`: a name
/// with a package that ends as names of exceptions do.
fn names_exception(line: &str) -> bool {
    let name = line.split([':', ' ']).next().unwrap_or_default();
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '$');
    name.contains('.')
        && name.chars().all(is_name)
        && (name.ends_with("Exception") || name.ends_with("Error"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(text: &str) -> String {
        LastWords::of(text, 4096).cause().to_owned()
    }

    const BIND: &str = "Caused by: java.net.BindException: Could not start rest endpoint on any port in port range 4711";

    /// A JobManager whose port was taken says this. Which of its threads says the last word is not
    /// always the same.
    #[test]
    fn what_is_logged_after_an_exception_does_not_hide_it() {
        let failed = format!(
            "14:02:17.310 INFO  o.a.f.r.e.ClusterEntrypoint Shutting down. Diagnostics java.net.BindException: taken\n\
             \tat a.B.c(B.java:1)\n\
             14:02:17.330 ERROR o.a.f.r.e.ClusterEntrypoint Could not start cluster entrypoint.\n\
             org.apache.flink.runtime.entrypoint.ClusterEntrypointException: Failed to initialize.\n\
             \tat a.B.c(B.java:1)\n\
             {BIND}\n\tat a.B.c(B.java:2)\n\t... 4 more\n"
        );
        assert_eq!(cause(&failed), BIND);
        let closing = "14:02:17.340 INFO  o.a.f.r.r.a.AkkaRpcService Stopped Pekko RPC service.\n";
        assert_eq!(cause(&format!("{failed}{closing}")), BIND);
        assert_eq!(cause(&format!("{failed}{closing}").repeat(2)), BIND);
    }

    #[test]
    fn what_a_process_lives_on_with_is_not_its_end() {
        let lives = "14:02:17.310 WARN  o.a.f.r.t.Task Map (1/1) switched from RUNNING to FAILED\n\
                     java.lang.ArithmeticException: / by zero\n\tat a.B.c(B.java:1)\nCaused by: a.BException: b\n\
                     {\"level\":\"INFO\",\"message\":\"error: none\"}\n\
                     14:02:18.000 INFO  o.a.f.r.t.TaskManagerRunner RECEIVED SIGNAL 15: SIGTERM\n";
        assert_eq!(LastWords::of(lives, 4096).error, "");
        assert!(cause(lives).ends_with("SIGTERM"));
    }

    #[test]
    fn no_memory_is_the_cause_of_all_that_fails_after_it() {
        let text = "14:02:17.310 ERROR o.a.f.r.t.Task Encountered fatal error java.lang.OutOfMemoryError - terminating the JVM\n\
                    java.lang.OutOfMemoryError: Java heap space\n\tat a.B.c(B.java:1)\n\
                    14:02:17.320 ERROR o.a.f.r.t.T Cannot stop\njava.lang.IllegalStateException: stopped\n\tat a.B.c(B.java:1)\n";
        assert_eq!(cause(text), "java.lang.OutOfMemoryError: Java heap space");
        let silent = "Terminating due to java.lang.OutOfMemoryError: Java heap space\n";
        assert_eq!(error(silent), Some(silent.trim_end()));
    }

    #[test]
    fn each_language_has_its_own_last_words() {
        for (said, expected) in [
            (
                "thread 'main' panicked at src/main.rs:3:5:\nno such table\nstack backtrace:\n   0: std\nnote: run with `RUST_BACKTRACE=1`\n",
                "no such table",
            ),
            (
                "Traceback (most recent call last):\n  File \"a.py\", line 1\nValueError: no such table\nbye\n",
                "ValueError: no such table",
            ),
            (
                "Exception in thread \"main\" a.b.Told: no such table\n\tat a.B.c(B.java:1)\n",
                "Exception in thread \"main\" a.b.Told: no such table",
            ),
            ("a.b.Told: no such\ntable\n\tat a.B.c(B.java:1)\n", "table"),
            (
                "Improperly specified VM option 'MaxRAM=x'\nError: Could not create the Java Virtual Machine.\n\
                 Error: A fatal exception has occurred. Program will exit.\n",
                "Improperly specified VM option 'MaxRAM=x'",
            ),
            (
                "{\"level\":\"INFO\"}\nerror: 0 of 1 TaskManagers have registered\n",
                "error: 0 of 1 TaskManagers have registered",
            ),
            ("hello\n  world\n", "hello"),
            ("", ""),
        ] {
            assert_eq!(cause(said), expected, "{said}");
        }
    }

    #[test]
    fn the_last_word_is_no_frame_of_a_stack() {
        let java = "Exception in thread \"main\" X: 1\n\tat a.B.c(B.java:3)\nCaused by: Y: 2\n\tat d.E.f(E.java:9)\n\t... 3 more";
        assert_eq!(
            (last_word(java), error(java)),
            (Some("Caused by: Y: 2"), Some("Caused by: Y: 2"))
        );
        let python = "Traceback:\n  File \"x.py\", line 1\nValueError: 3\n\n";
        assert_eq!(last_word(python), Some("ValueError: 3"));
        assert_eq!(last_word("  only frames\n\n"), None);
    }

    #[test]
    fn a_tail_has_whole_lines() {
        assert_eq!(end_of("first\nsecond\nthird", 9), "third");
        assert_eq!(end_of("äöü", 3), "ü");
        assert_eq!(end_of("short", 9), "short");
    }

    /// A JVM that ends because it has no memory left says so on stdout.
    #[test]
    fn where_stderr_names_no_error_stdout_may() {
        let read = |stderr: &str, stdout: &str| {
            let directory = tempfile::tempdir().unwrap();
            let (mut segment, mut offset) = (Vec::new(), 0);
            for (stream, text) in [(Stream::Stderr, stderr), (Stream::Stdout, stdout)] {
                let length = u32::try_from(text.len()).unwrap();
                segment.extend(output::Header { offset, unix_nanos: 7, stream, length }.encode());
                segment.extend(text.bytes());
                offset += u64::from(length);
            }
            std::fs::write(output::segment_path(directory.path(), 0), segment).unwrap();
            LastWords::read(directory.path(), 4096).unwrap().cause().to_owned()
        };
        let no_memory = "Terminating due to java.lang.OutOfMemoryError: Java heap space\n";
        assert_eq!(read("Stopped.\n", no_memory), no_memory.trim_end());
        assert_eq!(read("error: a port is taken\n", no_memory), "error: a port is taken");
        assert_eq!(read("Stopped.\n", "42\n"), "Stopped.");
    }
}
