"""The application `delays`, run by mainspring. MAINSPRING_BIN names the binary, `delays` lies
beside it; all state is below TMPDIR."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import expected_delays

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
MAINSPRING = pathlib.Path(os.environ.get("MAINSPRING_BIN", REPOSITORY / "target/debug/mainspring"))
DELAYS = MAINSPRING.parent / "delays"
PATIENCE_S = 60


class TestDelays(unittest.TestCase):
    """Each run has a host of its own, which leaves by itself; `mainspring down` makes sure of
    it."""

    def setUp(self):
        root = tempfile.TemporaryDirectory(prefix="dl")
        self.addCleanup(root.cleanup)
        self.root = pathlib.Path(root.name).resolve()
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("MAINSPRING_")} | {
            "MAINSPRING_STATE_DIR": str(self.root / "state"),
            "MAINSPRING_HOST_LINGER": "0s",
            "NO_COLOR": "1",
        }
        self.addCleanup(self.mainspring, "down", "--yes")

    def mainspring(self, *arguments: str) -> subprocess.CompletedProcess:
        """The CLI, called from the repository's root as the README has it."""
        command = [str(MAINSPRING), *arguments]
        return subprocess.run(command, env=self.environment, cwd=REPOSITORY, timeout=PATIENCE_S, capture_output=True, text=True)

    def run_delays(self, *arguments: str) -> subprocess.CompletedProcess:
        """The README's command."""
        data = "examples/flights/flights-2013-01.csv"
        own = ["--application-id", "delays", "--output", str(self.root / "out"), "--artifact", data]
        return self.mainspring("run", *own, str(DELAYS), *arguments)

    def test_two_jobs_and_the_expected_answer(self):
        done = self.run_delays("--year", "2013")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout, expected_delays.table(expected_delays.by_hour()) + "\n")
        status = json.loads(self.mainspring("status", "delays", "-o", "json").stdout)
        jobs = [(job["name"], job["end"]["outcome"]) for job in status["jobs"]]
        self.assertEqual(jobs, [("clean", "JOB_OUTCOME_SUCCEEDED"), ("report", "JOB_OUTCOME_SUCCEEDED")])
        self.assertEqual(len((self.root / "out/announced.txt").read_text().splitlines()), 1)
        self.assertEqual(len(list((self.root / "out/clean").glob("*.parquet"))), 1)

    def test_a_wrong_column_ends_it_failed_and_is_named(self):
        done = self.run_delays("--column", "dep_dely")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn('no column "dep_dely"', done.stderr)
        self.assertIn("MAIN_EXITED", done.stderr)

    def test_a_missing_artifact_says_what_to_do(self):
        done = self.mainspring("run", str(DELAYS))
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("--artifact", done.stderr)


if __name__ == "__main__":
    sys.exit(unittest.main())
