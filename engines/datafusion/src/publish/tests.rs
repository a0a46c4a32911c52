use super::*;
use crate::manifest::{MARKER, StagedFile, staging_of};

const JOB: &str = "00112233445566778899aabbccddeeff";
const OTHER: &str = "ffeeddccbbaa99887766554433221100";

struct Target {
    directory: tempfile::TempDir,
}

impl Target {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("t")
    }

    fn write(&self, below: &str) {
        let path = self.path().join(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, below).unwrap();
    }

    fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        let mut open = vec![self.path()];
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten() {
                let entry = entry.unwrap();
                match entry.file_type().unwrap().is_dir() {
                    true => open.push(entry.path()),
                    false => files.push(
                        entry.path().strip_prefix(self.path()).unwrap().display().to_string(),
                    ),
                }
            }
        }
        files.sort();
        files
    }

    fn staged(&self, names: &[(&str, &str)]) -> Output {
        let staging = staging_of(JOB, 3);
        for (staged, _) in names {
            self.write(&format!("{staging}/{staged}"));
        }
        let file = |(staged, to): &(&str, &str)| StagedFile {
            staged: (*staged).to_owned(),
            r#final: (*to).to_owned(),
            size_bytes: 1,
        };
        Output {
            target: "t".to_owned(),
            location: self.path(),
            staging,
            files: names.iter().map(file).collect(),
            append: false,
            format: "csv".to_owned(),
            rows: 1,
        }
    }
}

fn own() -> HashSet<String> {
    HashSet::from([JOB.to_owned()])
}

#[test]
fn staged_files_get_their_names_and_staging_goes() {
    let target = Target::new();
    let output = target.staged(&[("x_0.csv", "part-a-0.csv"), ("d=1/x.csv", "d=1/part-a-1.csv")]);
    assert_eq!(publish(&[output], &own()).unwrap(), Published { published: 2, found: 0 });
    assert_eq!(target.files(), ["_SUCCESS", "d=1/part-a-1.csv", "part-a-0.csv"]);
    assert!(!target.path().join(STAGING).exists());
}

/// A publisher that is cut off after any number of renames is followed by one that finishes.
#[test]
fn publishing_again_after_any_cut_ends_the_same() {
    for cut in 0..=2 {
        let target = Target::new();
        let names = [("x_0.csv", "part-a-0.csv"), ("x_1.csv", "part-a-1.csv")];
        let output = target.staged(&names);
        for (staged, to) in &names[..cut] {
            fs::rename(target.path().join(&output.staging).join(staged), target.path().join(to))
                .unwrap();
        }
        let done = publish(std::slice::from_ref(&output), &own()).unwrap();
        assert_eq!(done, Published { published: 2 - cut as u32, found: cut as u32 });
        let again = publish(&[output], &own()).unwrap();
        assert_eq!(again, Published { published: 0, found: 2 });
        assert_eq!(target.files(), ["_SUCCESS", "part-a-0.csv", "part-a-1.csv"]);
    }
}

#[test]
fn an_output_is_marked_only_when_all_of_it_is_there() {
    let target = Target::new();
    let names: Vec<_> =
        (0..200).map(|n| (format!("x_{n}.csv"), format!("part-{JOB}-{n}.csv"))).collect();
    let names: Vec<_> = names.iter().map(|(staged, to)| (staged.as_str(), to.as_str())).collect();
    let output = target.staged(&names);
    let last = target.path().join(&output.staging).join("x_199.csv");
    fs::rename(&last, target.directory.path().join("away")).unwrap();
    publish(std::slice::from_ref(&output), &own()).unwrap_err();
    assert!(target.files().len() >= 199, "most of it is there");
    assert!(!target.path().join(MARKER).exists(), "and nothing says that all is");

    fs::rename(target.directory.path().join("away"), &last).unwrap();
    publish(&[output], &own()).unwrap();
    assert_eq!(target.files().len(), 201);
    assert_eq!(
        fs::metadata(target.path().join(MARKER)).unwrap().len(),
        0,
        "tables read no rows from it"
    );
}

#[test]
fn each_job_that_adds_to_a_target_marks_its_own_parts_and_leaves_what_is_there() {
    let target = Target::new();
    let mut output = target.staged(&[("x_0.csv", "part-a-0.csv")]);
    output.append = true;
    target.write(MARKER);
    publish(&[output], &own()).unwrap();
    assert_eq!(
        target.files(),
        [MARKER.to_owned(), format!("{MARKER}-{JOB}"), "part-a-0.csv".to_owned()]
    );
    assert_eq!(
        fs::read_to_string(target.path().join(MARKER)).unwrap(),
        MARKER,
        "it was not the job's own"
    );
}

#[test]
fn a_file_that_is_nowhere_is_lost_by_name() {
    let target = Target::new();
    let output = target.staged(&[("x_0.csv", "part-a-0.csv")]);
    fs::remove_file(target.path().join(&output.staging).join("x_0.csv")).unwrap();
    let error = publish(&[output], &own()).unwrap_err();
    assert!(matches!(error, PublishError::Lost { .. }), "{error}");
    assert!(error.to_string().contains("part-a-0.csv"));
}

#[test]
fn parts_of_another_run_refuse_the_target_unless_it_is_appended_to() {
    for foreign in [format!("part-{OTHER}-0.csv"), format!("d=1/part-{OTHER}-0.csv")] {
        let target = Target::new();
        let mut output = target.staged(&[("x_0.csv", "part-a-0.csv")]);
        target.write(&foreign);
        let error = publish(std::slice::from_ref(&output), &own()).unwrap_err();
        assert!(matches!(error, PublishError::Taken(_)), "{error}");
        assert!(!target.files().contains(&"part-a-0.csv".to_owned()), "nothing is renamed");
        output.append = true;
        publish(&[output], &own()).unwrap();
    }
}

#[test]
fn own_parts_and_files_of_the_user_are_no_foreign_parts() {
    let target = Target::new();
    let output = target.staged(&[("x_0.csv", "part-a-0.csv")]);
    target.write(&format!("part-{JOB}-0.csv"));
    target.write("notes.txt");
    publish(&[output], &own()).unwrap();
}

#[test]
fn a_manifest_that_leaves_its_target_is_refused() {
    let target = Target::new();
    for (staged, to) in [("../../x", "part-a-0.csv"), ("x", "../part"), ("x", "/etc/x")] {
        let mut output = target.staged(&[]);
        output.files.push(StagedFile {
            staged: staged.to_owned(),
            r#final: to.to_owned(),
            size_bytes: 1,
        });
        assert!(matches!(publish(&[output], &own()).unwrap_err(), PublishError::Escapes { .. }));
    }
}

#[test]
fn a_sweep_takes_only_what_it_names() {
    let target = Target::new();
    for (job, incarnation) in [(JOB, 1), (JOB, 2), (JOB, 3), (OTHER, 1)] {
        target.write(&format!("{}/x.csv", staging_of(job, incarnation)));
    }
    let locations = [target.path(), target.directory.path().join("missing")];
    assert_eq!(sweep(&locations, &[(JOB.to_owned(), 2)]).unwrap(), 2);
    assert_eq!(sweep(&locations, &[(JOB.to_owned(), 2)]).unwrap(), 0);
    assert_eq!(
        target.files(),
        [format!("{}/x.csv", staging_of(JOB, 3)), format!("{}/x.csv", staging_of(OTHER, 1))]
    );
    assert_eq!(sweep(&locations, &[(JOB.to_owned(), 9), (OTHER.to_owned(), 9)]).unwrap(), 2);
    assert!(!target.path().exists(), "a target that was only staged in goes with its staging");
}
