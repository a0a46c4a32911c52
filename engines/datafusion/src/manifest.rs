//! What a finished job has staged, in neutral words: which file gets which final name.

use std::path::{Component, Path, PathBuf};

/// The sub-directory of a target in which jobs stage. Listing tables skip sub-directories, so that
/// no query reads what is staged.
pub const STAGING: &str = ".mainspring-staging";

/// The name of the file that says that an output is whole, which is the name that other tools look
/// for. The file is empty, so that tables over the target do not take it for data.
pub const MARKER: &str = "_SUCCESS";

/// One target of a job and the files staged for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The target as the program wrote it, for people.
    pub target: String,
    /// The absolute directory that will hold the parts.
    pub location: PathBuf,
    /// The staging directory relative to `location`: `.mainspring-staging/<job id>-<incarnation>`.
    pub staging: String,
    /// The files, in a stable order.
    pub files: Vec<StagedFile>,
    /// Whether parts of other generations may be in the target.
    pub append: bool,
    /// The files' format: `parquet`, `csv` or `json`.
    pub format: String,
    /// How many rows all files hold together.
    pub rows: u64,
}

impl Output {
    /// The name of the empty file that is made last, when every part of the job has its final name.
    /// A target to which other jobs may add has one such file for each job.
    pub fn marker(&self) -> String {
        let job = self
            .staging
            .rsplit('/')
            .next()
            .and_then(|own| own.rsplit_once('-'))
            .map(|(job, _)| job);
        match job {
            Some(job) if self.append => format!("{MARKER}-{job}"),
            _ => MARKER.to_owned(),
        }
    }
}

/// One staged file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedFile {
    /// The path relative to the staging directory.
    pub staged: String,
    /// The path relative to the target; the file's name contains the job id.
    pub r#final: String,
    /// The size in bytes.
    pub size_bytes: u64,
}

/// The staging directory of one run of a job, relative to the target.
pub fn staging_of(job_id: &str, incarnation: u64) -> String {
    format!("{STAGING}/{job_id}-{incarnation}")
}

/// The name of a part, `part-<job id>-<n>.<extension>`; the extension may hold several dots
/// (`csv.gz`).
pub fn part_name(job_id: &str, n: usize, extension: &str) -> String {
    format!("part-{job_id}-{n}.{extension}")
}

/// The job id in a part's file name; `None` for a file that is no part of a job.
pub fn job_of_part(file_name: &str) -> Option<&str> {
    let id = file_name.strip_prefix("part-")?.get(..32)?;
    let rest = &file_name["part-".len() + 32..];
    let hex = id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    (hex && rest.starts_with('-')).then_some(id)
}

/// Whether a path is relative and stays below its directory.
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
