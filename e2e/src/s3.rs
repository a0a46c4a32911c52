//! A real S3 service for a test, with one bucket: it checks every signature, keeps objects as files
//! of a directory of its own, and is gone with the value.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::server::{Server, TRIES, free_address};

/// The one bucket.
pub const BUCKET: &str = "payloads";

/// The name of the key that opens the bucket.
pub const ACCESS_KEY_ID: &str = "of-the-test";

/// The key that opens the bucket.
pub const SECRET_ACCESS_KEY: &str = "known-to-the-test-alone";

/// The path that the service says at whether it serves. No bucket has such a name.
const HEALTH: &str = "/-health";

/// A service with one bucket.
pub struct S3 {
    // The process goes before its directory does.
    server: Server,
    directory: tempfile::TempDir,
    address: String,
}

impl S3 {
    /// A service that serves, with an empty bucket.
    #[track_caller]
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory for the service");
        let server = Server::new("versitygw");
        let mut s3 = Self { server, directory, address: free_address() };
        for made in [s3.objects(), s3.about_objects()] {
            std::fs::create_dir_all(&made).expect("a directory below a new one");
        }
        for _ in 0..TRIES {
            s3.launch();
            if s3.is_ready() {
                return s3;
            }
            s3.address = free_address();
        }
        panic!("versitygw does not start: {}", s3.directory.path().display());
    }

    /// Where the service is, as a setting names it.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The variables that a store finds the bucket by.
    pub fn variables(&self) -> [(&'static str, String); 4] {
        [
            ("MAINSPRING_BLOBS", format!("s3://{BUCKET}/mainspring")),
            ("MAINSPRING_BLOBS_ENDPOINT", self.endpoint()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY.to_owned()),
        ]
    }

    /// The directory of the bucket: an object's name is its path below it.
    pub fn objects(&self) -> PathBuf {
        self.all_buckets().join(BUCKET)
    }

    /// How many uploads in parts are begun, and neither completed nor given up.
    pub fn unfinished_uploads(&self) -> usize {
        let entries = |directory: PathBuf| std::fs::read_dir(directory).into_iter().flatten();
        entries(self.objects().join(".sgwtmp/multipart"))
            .flatten()
            .map(|object| entries(object.path()).count())
            .sum()
    }

    /// Ends the service as a power cut does, without starting it again.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Starts the service again, at the same place and with what it had.
    #[track_caller]
    pub fn restart(&mut self) {
        self.kill();
        self.launch();
        assert!(self.is_ready(), "versitygw does not start again");
    }

    /// Holds the service, which neither answers nor breaks a connection, or lets it go on.
    pub fn hold(&self, hold: bool) {
        self.server.hold(hold);
    }

    fn all_buckets(&self) -> PathBuf {
        self.directory.path().join("buckets")
    }

    /// What the service notes about objects, beside them, because not every file system of a test
    /// takes extended attributes.
    fn about_objects(&self) -> PathBuf {
        self.directory.path().join("notes")
    }

    fn launch(&mut self) {
        let mut command = Command::new("versitygw");
        command
            .args(["--port", &self.address, "--region", "us-east-1", "--quiet"])
            .args(["--access", ACCESS_KEY_ID, "--secret", SECRET_ACCESS_KEY])
            .args(["--health", HEALTH])
            .args(["posix", "--sidecar"])
            .arg(self.about_objects())
            .arg(self.all_buckets())
            .stdin(Stdio::null());
        self.server.launch(command);
    }

    fn is_ready(&mut self) -> bool {
        self.server.answers(&self.address, HEALTH)
    }
}
