"""Tests that the tools of `make test` are able to fail."""

import hashlib
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import leaks
import run_tests
from run_tests import Sum


class LeakCheck(unittest.TestCase):
    """Each trace of a directory gives a process away; a namesake does not."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = pathlib.Path(directory.name).resolve()

    def found(self, environment=None, cwd="/", stdout=subprocess.DEVNULL, argument=""):
        """Whether the check sees a waiting process that was started with these traces."""
        command = ["sh", "-c", "read -r forever", "sh", argument]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=stdout, cwd=cwd, env={"PATH": os.environ["PATH"], **(environment or {})}
        )
        try:
            return process.pid in [other.pid for other in leaks.belonging(self.root)]
        finally:
            process.kill()
            process.communicate()

    def test_a_stranger_is_not_seen(self):
        self.assertFalse(self.found())
        self.assertFalse(self.found(environment={"TMPDIR": f"{self.root}-2"}))
        self.assertFalse(self.found(environment={"MAINSPRING_OWNER": "00000000/orders/1/1/1"}))

    def test_its_environment_gives_it_away(self):
        self.assertTrue(self.found(environment={"TMPDIR": str(self.root)}))

    def test_its_owner_mark_gives_it_away(self):
        state = self.root / "a" / "state"
        state.mkdir(parents=True)
        tag = hashlib.sha256(os.fsencode(state)).hexdigest()[:8]
        self.assertTrue(self.found(environment={"MAINSPRING_OWNER": f"{tag}/orders/1/1/1"}))

    def test_its_command_line_gives_it_away(self):
        self.assertTrue(self.found(argument=f"--state-dir={self.root}/state"))

    def test_its_working_directory_gives_it_away(self):
        self.assertTrue(self.found(cwd=self.root))

    def test_an_open_file_gives_it_away(self):
        with (self.root / "log").open("w") as log:
            self.assertTrue(self.found(stdout=log))

    def test_waiting_ends_with_the_process(self):
        process = subprocess.Popen(["sleep", "0.3"], cwd=self.root)
        self.addCleanup(process.wait)
        seen = leaks.wait_until_gone(self.root, grace_s=0)
        self.assertEqual([process.pid], [other.pid for other in seen])
        # The zombie that is left until its parent asks for the exit code is not alive.
        self.assertEqual([], leaks.wait_until_gone(self.root))


class Counting(unittest.TestCase):
    """The last words of every tool become a sum."""

    def test_nextest(self):
        for said, want in [
            ("Summary [   0.006s] 2 tests run: 2 passed, 0 skipped", Sum(2, 0, 0)),
            ("Summary [  61.2s] 9 tests run: 6 passed (1 slow, 1 leaky), 2 failed, 1 timed out, 4 skipped", Sum(6, 3, 4)),
            ("Summary [   1.2s] 3/9 tests run: 2 passed, 1 failed, 0 skipped", Sum(2, 7, 0)),
            ("error: no such package", Sum()),
        ]:
            with self.subTest(said):
                self.assertEqual(want, run_tests.nextest(f"noise\n     {said}\n"))

    def test_documentation(self):
        line = "test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n"
        self.assertEqual(Sum(4, 0, 2), run_tests.doctests(line + line))

    def test_unittest(self):
        for said, want in [
            ("Ran 3 tests in 0.1s\n\nOK\n", Sum(3, 0, 0)),
            ("Ran 1 test in 0.1s\n\nOK (skipped=1)\n", Sum(0, 0, 1)),
            ("Ran 5 tests in 0.1s\n\nFAILED (failures=1, errors=2, skipped=1)\n", Sum(1, 3, 1)),
        ]:
            with self.subTest(said):
                self.assertEqual(want, run_tests.unittest(said))

    def test_a_step_that_dies_without_a_failed_test_has_failed(self):
        self.assertEqual(Sum(3, 1, 0), run_tests.judged("nextest", 101, Sum(3, 0, 0)))
        self.assertEqual(Sum(3, 1, 0), run_tests.judged("nextest", 100, Sum(3, 1, 0)))

    def test_what_cannot_run_here_is_left_out_by_its_name_and_nothing_else_is(self):
        self.assertEqual([], run_tests.without([]))
        both = [run_tests.NEEDS_FLINK, run_tests.NEEDS_NETWORK]
        said = "not (package(e2e) and binary(flink)) and not (package(e2e) and binary(network))"
        self.assertEqual(["-E", said], run_tests.without(both))
        for name in re.findall(r"binary\((\w+)\)", said):
            self.assertTrue((run_tests.HERE / "e2e" / "tests" / f"{name}.rs").is_file(), name)


if __name__ == "__main__":
    unittest.main()
