//! What executions of main() say of themselves: each writes the time, again and again, where all
//! hosts see it. The hosts of these tests have one kernel, so that their clocks agree.

use std::collections::BTreeMap;
use std::path::Path;

/// An execution of main(), from the first to the last time that it wrote, in seconds since the
/// machine was started.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Span {
    /// The host, and when the execution began.
    pub(crate) who: String,
    pub(crate) first: f64,
    pub(crate) last: f64,
}

/// The part of a program that writes its beats into a file, as the shell has it. It ends with the
/// program's process tree.
pub(crate) fn script(file: &str) -> String {
    format!(
        "read now rest < /proc/uptime\n\
         who=\"$(hostname)@$now\"\n\
         beat() {{\n\
         while read now rest < /proc/uptime; do echo \"$who $now\" >> '{file}'; sleep 0.02; done\n\
         }}\n\
         beat &\n"
    )
}

/// The executions that wrote into a file, in the order in which they began.
#[track_caller]
pub(crate) fn spans(file: &Path) -> Vec<Span> {
    read(&std::fs::read_to_string(file).unwrap_or_default())
}

#[track_caller]
fn read(text: &str) -> Vec<Span> {
    let mut spans = BTreeMap::<&str, Span>::new();
    for line in text.lines() {
        let (who, at) = line.split_once(' ').unwrap_or_else(|| panic!("no beat: {line:?}"));
        let at = at.parse().unwrap_or_else(|_| panic!("no beat: {line:?}"));
        let new = Span { who: who.to_owned(), first: at, last: at };
        let span = spans.entry(who).or_insert(new);
        (span.first, span.last) = (span.first.min(at), span.last.max(at));
    }
    let mut spans: Vec<Span> = spans.into_values().collect();
    spans.sort_by(|one, other| one.first.total_cmp(&other.first));
    spans
}

/// The pairs of executions of which the later one began before the last beat of the earlier one.
pub(crate) fn overlaps(spans: &[Span]) -> Vec<[Span; 2]> {
    let pairs = spans.iter().enumerate().flat_map(|(at, one)| {
        let later = spans[at + 1..].iter().filter(|other| other.first <= one.last);
        later.map(|other| [one.clone(), other.clone()])
    });
    pairs.collect()
}

/// The control: executions that overlap are seen, whatever lies between their lines.
#[test]
fn executions_that_overlap_are_seen_and_those_that_follow_each_other_are_none() {
    let apart = "host-1@1.00 1.00\nhost-1@1.00 1.50\nhost-2@2.00 2.00\nhost-1@3.00 3.00\n";
    let spans = read(apart);
    assert_eq!(spans.len(), 3, "one host may execute twice: {spans:?}");
    assert_eq!((spans[0].first, spans[0].last), (1.0, 1.5));
    assert!(overlaps(&spans).is_empty());
    for late in ["host-1@1.00 2.50\n", "host-1@1.00 2.00\n", "host-1@1.00 9.00\n"] {
        let found = overlaps(&read(&format!("{apart}{late}")));
        assert!(!found.is_empty(), "{late}");
        assert!(found.iter().all(|[one, _]| one.who == "host-1@1.00"), "{found:?}");
    }
}
