//! Sizes of memory as Flink writes them: `1728m`, `1 gb`, `1024`.

const UNITS: [(&[&str], u64); 5] = [
    (&["", "b", "bytes"], 1),
    (&["k", "kb", "kibibytes"], 1 << 10),
    (&["m", "mb", "mebibytes"], 1 << 20),
    (&["g", "gb", "gibibytes"], 1 << 30),
    (&["t", "tb", "tebibytes"], 1 << 40),
];

/// The size in bytes, or what is wrong with the text.
pub fn parse(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size of memory, such as 1728m or 2g");
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
    let number: u64 = trimmed[..digits].parse().map_err(|_| wrong())?;
    let unit = trimmed[digits..].trim().to_ascii_lowercase();
    let (_, factor) =
        UNITS.iter().find(|(names, _)| names.contains(&unit.as_str())).ok_or_else(wrong)?;
    number.checked_mul(*factor).ok_or_else(wrong)
}

/// The size for people.
pub fn show(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_are_read_as_flink_reads_them() {
        for (text, bytes) in
            [("1728m", 1728 << 20), ("1 gb", 1 << 30), ("64", 64), ("2 KibiBytes", 2048)]
        {
            assert_eq!(super::parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "m", "-1m", "1.5g", "9999999999t", "3 parsecs"] {
            assert!(super::parse(text).is_err(), "{text}");
        }
    }
}
