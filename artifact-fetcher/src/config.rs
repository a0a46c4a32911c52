//! What can be set from outside: every field below is an option of `serve artifact-fetcher`.

use std::path::PathBuf;

use chassis::shared_dir::SharedArgs;
use chassis::transport::Endpoint;
use client::places::Places;

/// Fetches artifacts and keeps them by digest.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The state directory of the host; the cache is its `artifact-fetcher/`.
    #[arg(long, env = "MAINSPRING_STATE_DIR", value_name = "DIR")]
    pub state_dir: PathBuf,

    /// The endpoint to listen on: unix:/path or tcp://host:port. Default: the host's socket of this
    /// service.
    #[arg(long, env = "MAINSPRING_LISTEN", value_name = "ENDPOINT")]
    pub listen: Option<Endpoint>,

    /// How much the cache may hold before the least recently used artifacts are evicted, such as
    /// `20GiB` or `500MB`. What a live application uses stays.
    #[arg(long, env = "MAINSPRING_CACHE_LIMIT", value_name = "SIZE", default_value = "20GiB", value_parser = size)]
    pub cache_limit: u64,

    /// What this host shares with the others; each has a cache of its own.
    #[command(flatten)]
    pub shared: SharedArgs,
}

impl Args {
    /// The places of the state directory.
    pub fn places(&self) -> Places {
        Places::new(&self.state_dir).sharing(self.shared.shared_dir.clone())
    }
}

/// Parses a size with a unit into bytes.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits
        .trim()
        .parse()
        .map_err(|_| format!("{text:?} is no size: give one such as 20GiB"))?;
    let factor = match &text[digits.len()..] {
        "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        unit => {
            return Err(format!(
                "{text:?} has no unit that is known here ({unit:?}): B, kB, MB, GB, KiB, MiB, GiB, TiB"
            ));
        }
    };
    number.checked_mul(factor).ok_or_else(|| format!("{text:?} is larger than any disk"))
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn a_size_has_a_unit() {
        assert_eq!(size("20GiB"), Ok(20 << 30));
        assert_eq!(size("5MB"), Ok(5_000_000));
        for bad in ["20", "GiB", "5 parsecs", "", "99999999TiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
