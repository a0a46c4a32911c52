//! What the record's keys and values look like on etcd, read by hand: one byte of version, and a
//! message of protobuf.

use std::collections::BTreeMap;

use super::Of;

/// The version that all values have which are read here.
const VERSION: u8 = 1;

/// A field of a message; the last one of its number counts.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Field {
    Number(u64),
    Bytes(Vec<u8>),
}

/// The application that a key belongs to, and what the key holds; `None` for a key that tells
/// nothing of a fence.
pub(super) fn of_key(key: &str, prefix: &str) -> Option<(String, Of)> {
    let (application, rest) = key.strip_prefix(prefix)?.split_once('/')?;
    let of = match rest {
        "attempt" => Of::Attempt,
        "cluster" => Of::Cluster,
        _ if rest.starts_with("event/") => Of::Event,
        _ => return None,
    };
    Some((application.to_owned(), of))
}

/// The generation, the number and the writer in a value.
pub(super) fn read(value: &[u8], of: Of) -> Option<(u64, u64, String)> {
    let (&version, message) = value.split_first()?;
    let fields = fields(message).filter(|_| version == VERSION)?;
    let number = |tag| match fields.get(&tag) {
        None => Some(0),
        Some(Field::Number(number)) => Some(*number),
        Some(Field::Bytes(_)) => None,
    };
    let text = |tag| match fields.get(&tag) {
        None => Some(String::new()),
        Some(Field::Bytes(bytes)) => String::from_utf8(bytes.clone()).ok(),
        Some(Field::Number(_)) => None,
    };
    match of {
        Of::Attempt | Of::Cluster => Some((number(2)?, number(1)?, text(3)?)),
        Of::Event => Some((number(3)?, number(9)?, text(8)?)),
    }
}

/// The fields of a message by their tags; `None` if this is no message.
fn fields(mut message: &[u8]) -> Option<BTreeMap<u64, Field>> {
    let mut fields = BTreeMap::new();
    while !message.is_empty() {
        let key = varint(&mut message)?;
        let field = match key & 7 {
            0 => Field::Number(varint(&mut message)?),
            1 => Field::Bytes(taken(&mut message, 8)?),
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                Field::Bytes(taken(&mut message, length)?)
            }
            5 => Field::Bytes(taken(&mut message, 4)?),
            _ => return None,
        };
        fields.insert(key >> 3, field);
    }
    Some(fields)
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for place in 0..10 {
        let (&byte, rest) = message.split_first()?;
        *message = rest;
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn taken(message: &mut &[u8], length: usize) -> Option<Vec<u8>> {
    let (bytes, rest) = message.split_at_checked(length)?;
    *message = rest;
    Some(bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use super::{Of, of_key, read};

    /// What prost writes for `{ epoch: 300, generation: 2, holder: "h/r" }`, behind its version.
    const ATTEMPT: [u8; 11] = [1, 0x08, 0xac, 0x02, 0x10, 2, 0x1a, 3, b'h', b'/', b'r'];

    #[test]
    fn fences_and_events_are_told_from_other_keys() {
        let of = |rest: &str| of_key(&format!("/p/a/{rest}"), "/p/a/");
        assert_eq!(of("x/attempt"), Some(("x".to_owned(), Of::Attempt)));
        assert_eq!(of("x/cluster"), Some(("x".to_owned(), Of::Cluster)));
        assert_eq!(of("x/event/00000000000000ff"), Some(("x".to_owned(), Of::Event)));
        for other in ["x/events", "x/head", "x/g/0000000000000001/state", "attempt"] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn a_fence_is_read_and_what_is_none_is_not() {
        assert_eq!(read(&ATTEMPT, Of::Attempt), Some((2, 300, "h/r".to_owned())));
        assert_eq!(read(&[1], Of::Attempt), Some((0, 0, String::new())), "zeroes are left out");
        // Source is field 8, epoch field 9; a field that is not asked for is passed over.
        let event = [1, 0x0d, 0, 0, 0, 0, 0x18, 7, 0x42, 1, b's', 0x48, 5];
        assert_eq!(read(&event, Of::Event), Some((7, 5, "s".to_owned())));
        let mut another = ATTEMPT;
        another[0] = 2;
        for none in [&another[..], &ATTEMPT[..9], &[], &[1, 0x0b]] {
            assert_eq!(read(none, Of::Attempt), None, "{none:?}");
        }
    }
}
