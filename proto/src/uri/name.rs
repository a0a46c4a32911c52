//! The name of the file behind a URI.

/// The name of a file by the part of a URI that stands for it: as people write it, `ä b.sql`, not
/// `%C3%A4%20b.sql`. A part that would not decode to a plain name (a slash, nothing at all, no
/// UTF-8) stays as it is written.
pub fn file_name(part: &str) -> String {
    decoded(part).filter(|name| is_plain(name)).unwrap_or_else(|| part.to_owned())
}

fn is_plain(name: &str) -> bool {
    !["", ".", ".."].contains(&name) && !name.contains(|c: char| c == '/' || c.is_control())
}

/// The decoded text; `None` when an escape is broken, or when the bytes are no UTF-8.
fn decoded(part: &str) -> Option<String> {
    let digit = |byte: Option<u8>| {
        char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
    };
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => bytes.push(digit(rest.next())? << 4 | digit(rest.next())?),
            plain => bytes.push(plain),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn a_file_has_the_name_that_people_gave_it() {
        for (part, name) in [
            ("daily.sql", "daily.sql"),
            ("%C3%A4%20b.sql", "ä b.sql"),
            ("100%25.sql", "100%.sql"),
            ("%E6%97%A5.jar", "日.jar"),
            ("a+b.sql", "a+b.sql"),
        ] {
            assert_eq!(file_name(part), name, "{part}");
        }
    }

    #[test]
    fn what_is_no_name_of_a_file_stays_as_it_is_written() {
        for part in ["a%2Fb", "%2E%2E", "%00", "%0A", "50%", "%zz", "%C3", ""] {
            assert_eq!(file_name(part), part);
        }
    }
}
