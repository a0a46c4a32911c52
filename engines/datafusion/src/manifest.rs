//! What a finished job staged, in neutral words: which file gets which final name.

use std::path::{Component, Path, PathBuf};

/// Sub-directory of a target in which jobs stage. Listing tables skip sub-directories, so nobody reads it.
pub const STAGING: &str = ".mainspring-staging";

/// What says that an output is whole, by the name that other tools look for. Empty, so that tables
/// over the target do not take it for data.
pub const MARKER: &str = "_SUCCESS";

/// One target of a job and the files staged for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// As the program wrote it, for people.
    pub target: String,
    /// Absolute directory that will hold the parts.
    pub location: PathBuf,
    /// Staging directory, relative to `location`: `.mainspring-staging/<job id>-<incarnation>`.
    pub staging: String,
    /// The files, in a stable order.
    pub files: Vec<StagedFile>,
    /// Parts of other generations may be in the target.
    pub append: bool,
    /// `parquet`, `csv` or `json`.
    pub format: String,
    /// Rows in all files together.
    pub rows: u64,
}

impl Output {
    /// The empty file that is made last, when every part of the job has its final name. A target
    /// that others may add to has one for each job.
    pub fn marker(&self) -> String {
        let job = self.staging.rsplit('/').next().and_then(|own| own.rsplit_once('-')).map(|(job, _)| job);
        match job {
            Some(job) if self.append => format!("{MARKER}-{job}"),
            _ => MARKER.to_owned(),
        }
    }
}

/// One staged file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedFile {
    /// Relative to the staging directory.
    pub staged: String,
    /// Relative to the target; the file name contains the job id.
    pub r#final: String,
    /// Size in bytes.
    pub size_bytes: u64,
}

/// The staging directory of one life of a job, relative to the target.
pub fn staging_of(job_id: &str, incarnation: u64) -> String {
    format!("{STAGING}/{job_id}-{incarnation}")
}

/// `part-<job id>-<n>.<extension>`; the extension may hold several dots (`csv.gz`).
pub fn part_name(job_id: &str, n: usize, extension: &str) -> String {
    format!("part-{job_id}-{n}.{extension}")
}

/// The job id in a part's file name, `None` for files that are not parts of ours.
pub fn job_of_part(file_name: &str) -> Option<&str> {
    let id = file_name.strip_prefix("part-")?.get(..32)?;
    let rest = &file_name["part-".len() + 32..];
    let hex = id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    (hex && rest.starts_with('-')).then_some(id)
}

/// True for a relative path that stays below its directory.
pub fn stays_below(path: &str) -> bool {
    let path = Path::new(path);
    !path.as_os_str().is_empty() && path.components().all(|c| matches!(c, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "00112233445566778899aabbccddeeff";

    #[test]
    fn a_part_name_gives_its_job_id_back() {
        assert_eq!(job_of_part(&part_name(ID, 12, "csv.gz")), Some(ID));
    }

    #[test]
    fn files_of_others_are_no_parts() {
        for name in [
            "part-0.parquet",
            "data.csv",
            "part-",
            &format!("part-{ID}.csv"),
            "part-ÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄ-0.csv",
        ] {
            assert_eq!(job_of_part(name), None, "{name}");
        }
    }

    #[test]
    fn a_manifest_path_may_not_leave_its_directory() {
        assert!(stays_below("a=1/part.csv"));
        for path in ["", "/etc/passwd", "../x", "a/../../x"] {
            assert!(!stays_below(path), "{path}");
        }
    }
}
