//! Durations as people write them: `500ms`, `90s`, `5m`, `2h`, `1d`, `1h30m`. A bare number is
//! refused, because it does not say what it counts.

use std::time::Duration;

const UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Reads a duration; the error says what to write instead.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let malformed = || format!("{text:?} is no duration: write 500ms, 90s, 5m, 2h, 1d or 1h30m");
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err(format!("{text} has no unit: write {text}s, {text}m or {text}h"));
    }
    let mut rest = text;
    let mut millis: u64 = 0;
    let mut last_unit = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(malformed)?;
        let number: u64 = rest[..digits].parse().map_err(|_| malformed())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit =
            UNITS.iter().find(|(name, _)| *name == &rest[..letters]).ok_or_else(malformed)?.1;
        if unit >= last_unit {
            return Err(malformed());
        }
        last_unit = unit;
        millis = number
            .checked_mul(unit)
            .and_then(|part| millis.checked_add(part))
            .ok_or_else(malformed)?;
        rest = &rest[letters..];
    }
    if last_unit == u64::MAX { Err(malformed()) } else { Ok(Duration::from_millis(millis)) }
}

/// A duration for people, two parts at most: `0.42 s`, `12.3 s`, `4m10s`, `5h`, `6d02h`.
pub(crate) fn show(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{:.2} s", duration.as_secs_f64()),
        10..60 => format!("{:.1} s", duration.as_secs_f64()),
        _ => short(duration),
    }
}

/// An age for a table's column, whole seconds at least: `0s`, `4m`, `5h`, `6d02h`.
pub(crate) fn short(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..600 if !seconds.is_multiple_of(60) => format!("{minutes}m{:02}s", seconds % 60),
        60..3600 => format!("{minutes}m"),
        3600..36_000 if !minutes.is_multiple_of(60) => format!("{hours}h{:02}m", minutes % 60),
        3600..86_400 => format!("{hours}h"),
        _ if !hours.is_multiple_of(24) => format!("{days}d{:02}h", hours % 24),
        _ => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn durations_are_read_with_their_units() {
        for (text, millis) in [
            ("500ms", 500),
            ("90s", 90_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
            ("1h30m", 5_400_000),
            ("1m1s500ms", 61_500),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_what_to_write() {
        assert_eq!(parse("90").unwrap_err(), "90 has no unit: write 90s, 90m or 90h");
        for text in [
            "",
            "s",
            "5x",
            "-5s",
            "5 s",
            "1m1h",
            "1s1s",
            "1.5.5s",
            "99999999999999999999s",
            "18446744073709551615h",
            "ü",
        ] {
            assert!(parse(text).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn durations_are_shown_in_two_parts_at_most() {
        for (millis, shown) in [
            (415, "0.41 s"),
            (12_345, "12.3 s"),
            (250_000, "4m10s"),
            (18_000_000, "5h"),
            (525_600_000, "6d02h"),
        ] {
            assert_eq!(show(Duration::from_millis(millis)), shown);
        }
        assert_eq!(short(Duration::from_millis(999)), "0s");
        assert_eq!(short(Duration::from_secs(4 * 60)), "4m");
        assert_eq!(short(Duration::from_secs(3600 + 300)), "1h05m");
    }
}
