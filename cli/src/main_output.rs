//! Passes main()'s own output on as it was written: stdout to stdout, stderr to stderr.

use std::collections::VecDeque;

use proto::api::LogLine;

use crate::output::{Output, Style};
use crate::table::size;

/// How many lines of stderr an error quotes.
const QUOTED: usize = 3;

/// The longest quotation of one line, in characters.
const QUOTED_COLUMNS: usize = 200;

/// What the last lines of main()'s output were, and how they were shown.
#[derive(Debug, Default)]
pub(crate) struct MainOutput {
    /// Whether stdout is for main()'s stdout; otherwise stdout is for a document, and main()'s
    /// stdout goes to stderr.
    stdout_is_mains: bool,
    attempt: Option<u64>,
    last_lines: VecDeque<String>,
    stderr_lines: u64,
    unfinished_stdout: bool,
}

impl MainOutput {
    pub(crate) fn new(stdout_is_mains: bool) -> Self {
        Self { stdout_is_mains, ..Self::default() }
    }

    /// Passes lines on.
    pub(crate) fn show(&mut self, lines: &[LogLine], out: &Output) {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        for line in lines {
            if self.attempt.replace(line.number).is_some_and(|earlier| earlier != line.number) {
                flush(&mut stdout, &mut stderr, out);
                out.talk(out.paint(
                    Style::Warn,
                    &format!(
                        "-- main() executed again (epoch {}): its output from here --",
                        line.number
                    ),
                ));
                self.forget();
            }
            if line.lost_before > 0 {
                flush(&mut stdout, &mut stderr, out);
                out.talk(out.paint(
                    Style::Warn,
                    &format!("-- {} of output were dropped here --", size(line.lost_before)),
                ));
            }
            if crate::words::is_gap(line) {
                continue;
            }
            let is_stdout = line.stream != "stderr";
            let sink = if is_stdout && self.stdout_is_mains { &mut stdout } else { &mut stderr };
            sink.extend_from_slice(&line.text);
            if !line.partial {
                sink.push(b'\n');
            }
            if is_stdout {
                self.unfinished_stdout = line.partial && self.stdout_is_mains;
            } else {
                self.remember(&line.text);
            }
        }
        flush(&mut stdout, &mut stderr, out);
    }

    /// Ends the output, to which nothing is added any more.
    pub(crate) fn end(&mut self, out: &Output) {
        // A last line without a line end stays as it is on stdout; the next words on stderr begin a
        // line of their own.
        if std::mem::take(&mut self.unfinished_stdout) {
            out.tell("");
        }
    }

    /// The last lines that main() wrote to stderr, and how many there were.
    pub(crate) fn last_words(&self) -> (Vec<String>, u64) {
        (self.last_lines.iter().cloned().collect(), self.stderr_lines)
    }

    /// Whether the reader of an error has seen these last lines just above the error.
    pub(crate) fn was_read(&self) -> bool {
        self.stdout_is_mains && self.stderr_lines > 0
    }

    fn remember(&mut self, text: &[u8]) {
        self.stderr_lines += 1;
        let text = String::from_utf8_lossy(text);
        if text.trim().is_empty() {
            return;
        }
        if self.last_lines.len() == QUOTED {
            self.last_lines.pop_front();
        }
        self.last_lines.push_back(crate::words::cut(text.trim_end(), QUOTED_COLUMNS));
    }

    fn forget(&mut self) {
        self.last_lines.clear();
        self.stderr_lines = 0;
    }
}

fn flush(stdout: &mut Vec<u8>, stderr: &mut Vec<u8>, out: &Output) {
    if !stdout.is_empty() {
        out.answer(&stdout);
        stdout.clear();
    }
    if !stderr.is_empty() {
        out.pass_on(stderr);
        stderr.clear();
    }
}
