//! What of a text stays from one execution of a program to the next. A part that looks like a
//! moment, an id or a number drawn by chance does not stay; the names of jobs and of operators are
//! made of such parts.

use std::fmt::Write as _;
use std::ops::Range;

use proto::{Digest, api};

/// The character that stands for a part that varies; no text of people holds it.
const VARYING: char = '\0';

/// A number with so many digits may be another one the next time; shorter numbers count things.
const PERHAPS_DIGITS: usize = 4;

/// A date, or seconds since 1970, has at least so many digits.
const SURELY_DIGITS: usize = 8;

/// Words of a moment that are no numbers. The first 19 are days and months.
const CALENDAR: [&str; 30] = [
    "mon", "tue", "wed", "thu", "fri", "sat", "sun", "jan", "feb", "mar", "apr", "may", "jun",
    "jul", "aug", "sep", "oct", "nov", "dec", "am", "pm", "utc", "gmt", "cet", "cest", "est",
    "edt", "pst", "pdt", "z",
];

/// How sure it is that a part is another one the next time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Varies {
    Never,
    /// Sure enough for two texts that have all else in common.
    Perhaps,
    /// Sure enough for one text alone.
    Surely,
}

/// The first part of a name that is surely another one when main() is executed again: a date, a
/// time, a UUID, or seconds since 1970.
pub(super) fn unstable_part(name: &str) -> Option<&str> {
    groups(name)
        .into_iter()
        .find(|group| varies(&name[group.clone()]) == Varies::Surely)
        .map(|group| &name[group])
}

/// Whether two names are the same except for parts that vary, of which there is at least one.
pub(super) fn alike(one: &str, other: &str) -> bool {
    let one = skeleton(one);
    one.contains(VARYING) && one == skeleton(other)
}

/// The operators of a graph and how they are connected, as a digest; empty for a graph that is not
/// described. Parts that vary in the operators' names do not count, nor does the parallelism,
/// because its default follows the machine.
pub(super) fn shape(description: Option<&api::GraphDescription>) -> String {
    let Some(described) = description.filter(|described| !described.vertices.is_empty()) else {
        return String::new();
    };
    let mut text = String::new();
    for api::Vertex { id, name, detail, .. } in &described.vertices {
        // Writing to a string never fails.
        let _ = writeln!(text, "{id} {:?} {:?}", skeleton(name), skeleton(detail));
    }
    for api::Edge { from, to } in &described.edges {
        let _ = writeln!(text, "{from}-{to}");
    }
    Digest::of(text.as_bytes()).to_string()
}

fn skeleton(text: &str) -> String {
    let mut skeleton = String::with_capacity(text.len());
    let mut at = 0;
    for group in groups(text) {
        if varies(&text[group.clone()]) > Varies::Never {
            skeleton.push_str(&text[at..group.start]);
            skeleton.push(VARYING);
            at = group.end;
        }
    }
    skeleton.push_str(&text[at..]);
    skeleton
}

/// Neighbouring words that may be parts of one moment, id or number, with what is between them.
fn groups(text: &str) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    for word in words(text).into_iter().filter(|word| may_vary(&text[word.clone()])) {
        match groups.last_mut() {
            Some(last) if joins(&text[last.end..word.start]) => last.end = word.end,
            _ => groups.push(word),
        }
    }
    groups
}

fn words(text: &str) -> Vec<Range<usize>> {
    let mut words: Vec<Range<usize>> = Vec::new();
    for (at, char) in text.char_indices().filter(|(_, char)| char.is_alphanumeric()) {
        let end = at + char.len_utf8();
        match words.last_mut() {
            Some(last) if last.end == at => last.end = end,
            _ => words.push(at..end),
        }
    }
    words
}

fn may_vary(word: &str) -> bool {
    let is_hex = word.len() >= 4 && word.chars().all(|char| char.is_ascii_hexdigit());
    is_hex || digits(word) > 0 || is_calendar(word)
}

/// Whether the word is a month or a day, abbreviated or written in full.
fn is_calendar(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    let in_full = |short: &&str| short.len() == 3 && word.len() > 5 && word.starts_with(*short);
    CALENDAR.contains(&word.as_str())
        || CALENDAR[..19].iter().any(|short| {
            in_full(short)
                && (word.ends_with("day")
                    || word.ends_with("ry")
                    || word.ends_with("ber")
                    || word == "august")
        })
        || ["march", "april", "june", "july"].contains(&word.as_str())
}

/// Whether this can stand between the parts of a date, a time or a UUID.
fn joins(between: &str) -> bool {
    between.len() <= 2 && between.chars().all(|char| " -:./_,+".contains(char))
}

fn varies(group: &str) -> Varies {
    let is_time = group.split_once(':').is_some_and(|(hours, rest)| {
        hours.ends_with(|char: char| char.is_ascii_digit())
            && rest.starts_with(|char: char| char.is_ascii_digit())
    });
    let by_chance = words(group).into_iter().any(|word| is_by_chance(&group[word]));
    match digits(group) {
        count if count >= SURELY_DIGITS || is_time || by_chance => Varies::Surely,
        count if count >= PERHAPS_DIGITS => Varies::Perhaps,
        _ => Varies::Never,
    }
}

/// Whether letters and digits take turns as in no word of a language: `x7Kq2P`.
fn is_by_chance(word: &str) -> bool {
    let kinds: Vec<bool> = word.chars().map(|char| char.is_ascii_digit()).collect();
    word.len() >= 6 && kinds.windows(2).filter(|pair| pair[0] != pair[1]).count() >= 3
}

fn digits(text: &str) -> usize {
    text.chars().filter(char::is_ascii_digit).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_holds_a_moment_or_an_id_is_told_and_a_name_that_people_gave_is_not() {
        for (name, part) in [
            ("nightly 2026-11-29T10:02:03.123Z", Some("2026-11-29T10:02:03.123Z")),
            ("nightly Sun Nov 29 10:28:44 UTC 2026", Some("Sun Nov 29 10:28:44 UTC 2026")),
            ("load_20261129", Some("20261129")),
            ("at 10:02", Some("10:02")),
            ("etl-1764412345678", Some("1764412345678")),
            (
                "etl-6f1c2a3e-9d4b-4c11-bf0e-abcdefabcdef",
                Some("6f1c2a3e-9d4b-4c11-bf0e-abcdefabcdef"),
            ),
            ("nightly-x7Kq2P", Some("x7Kq2P")),
            ("orders of 2026", None),
            ("tenant-48213", None),
            ("step 3 of 12", None),
            ("Flink Streaming Job", None),
            ("insert-into_default_catalog.default_database.t1", None),
            ("v1.20.3", None),
            ("May and March, added", None),
            ("", None),
        ] {
            assert_eq!(unstable_part(name), part, "{name}");
        }
    }

    #[test]
    fn names_are_alike_if_they_differ_in_such_parts_only() {
        for (one, other, expected) in [
            ("nightly 2026-11-29T10:02:03.123", "nightly 2026-11-30T00:00", true),
            (
                "etl-6f1c2a3e-9d4b-4c11-bf0e-abcdefabcdef",
                "etl-00000000-0000-4000-8000-000000000000",
                true,
            ),
            ("job of pid 4133", "job of pid 20781", true),
            ("Mon Nov 30 10:00:00 UTC 2026: a", "Tuesday, December 1 10:00:00 2026: a", true),
            ("load orders", "load customers", false),
            ("part-3", "part-4", false),
            ("orders 2026-11-29", "customers 2026-11-29", false),
            ("orders 2026-11-29", "orders", false),
            ("same", "same", false),
        ] {
            assert_eq!(alike(one, other), expected, "{one} / {other}");
            assert_eq!(alike(other, one), expected, "{other} / {one}");
        }
    }

    #[test]
    fn graphs_have_one_shape_if_their_operators_and_edges_are_the_same() {
        let graph = |sink: &str, parallelism: u32, from: u32| api::GraphDescription {
            vertices: [(0, "Source: in"), (1, "Map"), (2, sink)]
                .map(|(id, name)| api::Vertex {
                    id,
                    name: name.into(),
                    parallelism,
                    ..Default::default()
                })
                .into(),
            edges: vec![api::Edge { from, to: 2 }],
            ..Default::default()
        };
        let shape = |sink, parallelism, from| shape(Some(&graph(sink, parallelism, from)));
        let first = shape("Sink: out/2026-11-29T10:02:03", 4, 1);
        assert_eq!(first, shape("Sink: out/2026-11-30T00:00:01", 8, 1));
        assert_ne!(first, shape("Sink: print", 4, 1));
        assert_ne!(first, shape("Sink: out/2026-11-29T10:02:03", 4, 0));
        assert_eq!(super::shape(None), "");
        assert_eq!(super::shape(Some(&api::GraphDescription::default())), "");
    }
}
