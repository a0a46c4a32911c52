//! How an application is named on the command line: `ID` is its latest generation, `ID@GENERATION`
//! exactly that one.

use std::fmt;
use std::str::FromStr;

use proto::{ApplicationId, Generation};

/// An application, and which generation of it a verb is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    /// The application.
    pub(crate) id: ApplicationId,
    /// The generation; `None` is the latest.
    pub(crate) generation: Option<Generation>,
}

impl Named {
    /// One generation of an application.
    pub(crate) fn exactly(id: ApplicationId, generation: u64) -> Self {
        Self { id, generation: Some(Generation(generation)) }
    }

    /// The generation as the API expects it, where 0 is the latest.
    pub(crate) fn generation_or_latest(&self) -> u64 {
        self.generation.map_or(0, Generation::get)
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.generation {
            Some(generation) => write!(f, "{}@{generation}", self.id),
            None => self.id.fmt(f),
        }
    }
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (id, generation) = match text.split_once('@') {
            None => (text, None),
            Some((id, number)) => {
                let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
                let number: Option<u64> =
                    plain.then(|| number.parse().ok()).flatten().filter(|&n| n > 0);
                let number = number.ok_or_else(|| {
                    format!("{text:?}: the generation after @ is a number from 1")
                })?;
                (id, Some(Generation(number)))
            }
        };
        let id = id.parse::<ApplicationId>().map_err(|error| error.to_string())?;
        Ok(Self { id, generation })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_id_is_the_latest_and_a_number_any_generation() {
        let latest: Named = "orders".parse().unwrap();
        assert_eq!((latest.generation, latest.generation_or_latest()), (None, 0));
        let fourth: Named = "orders@4".parse().unwrap();
        assert_eq!((fourth.generation_or_latest(), fourth.to_string().as_str()), (4, "orders@4"));
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for text in [
            "",
            "@1",
            "orders@",
            "orders@0",
            "orders@x",
            "orders@-1",
            "orders@+1",
            "Orders",
            "a@1@2",
            "a_b",
            "-a",
        ] {
            assert!(text.parse::<Named>().is_err(), "{text:?} was taken");
        }
    }
}
