#!/usr/bin/env python3
"""Runs all tests and says at the end, in one line, how many passed, failed and were skipped.

    tools/run_tests.py --bin DIRECTORY [--locked] [-- ARGUMENTS OF cargo nextest run]

The steps are, in this order: what Flink and hosts in namespaces need, cargo nextest, documentation
tests, the Python tests (test_*.py under engines/, examples/, e2e/ and tools/), and a search for
processes that any of them left behind. That search counts as one test. `make test` calls this with
the pinned tools on PATH.

All state of a run lives under one temporary directory of its own, which the tests get as TMPDIR and
MAINSPRING_TEST_ROOT. The directory is removed unless something failed. Python tests find
`mainspring` as MAINSPRING_BIN.
"""

import argparse
import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import leaks

HERE = pathlib.Path(__file__).resolve().parent.parent
PYTHON_TESTS = ["engines", "examples", "e2e", "tools"]


@dataclasses.dataclass
class Sum:
    """Counts of tests."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: "Sum") -> "Sum":
        return Sum(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def run(command: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """Runs a command, passes its output on line by line, and returns its exit code and output."""
    lines = []
    with subprocess.Popen(
        command, cwd=HERE, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
    ) as process:  # fmt: skip
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            lines.append(line)
    return process.returncode, "".join(lines)


def counted(pairs: list[tuple[str, str]]) -> dict[str, int]:
    """Makes a table of `[("3", "passed"), …]`."""
    return {what: int(number) for number, what in pairs}


def judged(name: str, code: int, result: Sum) -> Sum:
    """Counts a step that exits non-zero without a failed test (it did not compile) as a failure."""
    if code != 0 and result.failed == 0:
        print(f"test: {name} exited {code}")
        return result + Sum(failed=1)
    return result


def nextest(output: str) -> Sum:
    """Reads `Summary [ 1.2s] 11/12 tests run: 9 passed (1 slow), 1 failed, 2 skipped`."""
    found = re.search(r"Summary \[[^]]*\]\s+(\d+)(?:/(\d+))? tests? run: (.*)", output)
    if not found:
        return Sum()
    ran, planned, rest = found.groups()
    counts = counted(re.findall(r"(\d+) ([a-z ]+)", re.sub(r"\([^)]*\)", "", rest)))
    counts = {what.strip(): number for what, number in counts.items()}
    passed, skipped = counts.get("passed", 0), counts.get("skipped", 0)
    # A test that was planned and did not pass counts as failed, be it that it failed, timed out,
    # could not be executed or was never reached.
    return Sum(passed, int(planned or ran) - passed, skipped)


def doctests(output: str) -> Sum:
    """Reads one `test result: ok. 1 passed; 0 failed; 2 ignored; …` per crate."""
    total = Sum()
    for found in re.findall(r"^test result: .*", output, re.MULTILINE):
        counts = counted(re.findall(r"(\d+) (passed|failed|ignored)", found))
        total += Sum(counts["passed"], counts["failed"], counts["ignored"])
    return total


def unittest(output: str) -> Sum:
    """Reads `Ran 4 tests in 1.2s`, then `FAILED (failures=1, errors=1, skipped=1)` or `OK`."""
    ran = re.search(r"^Ran (\d+) tests? in", output, re.MULTILINE)
    if not ran:
        return Sum()
    end = re.findall(r"^(?:OK|FAILED)(?: \((.*)\))?$", output, re.MULTILINE)
    counts = {what: int(number) for what, number in re.findall(r"(\w+)=(\d+)", end[-1] if end else "")}
    failed = counts.get("failures", 0) + counts.get("errors", 0)
    skipped = counts.get("skipped", 0)
    return Sum(max(int(ran[1]) - failed - skipped, 0), failed, skipped)


def python_directories() -> list[pathlib.Path]:
    """Every directory that holds Python tests."""
    return sorted({file.parent for top in PYTHON_TESTS for file in (HERE / top).rglob("test_*.py")})


def environment(root: pathlib.Path, binaries: pathlib.Path) -> dict[str, str]:
    """The environment of tests, whose state is below `root` and away from the user's own host."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MAINSPRING_") and k != "XDG_RUNTIME_DIR"}
    places = {"XDG_STATE_HOME": "state", "XDG_DATA_HOME": "data", "XDG_CACHE_HOME": "cache"}
    return kept | {name: str(root / place) for name, place in places.items()} | {
        "TMPDIR": str(root),
        "MAINSPRING_TEST_ROOT": str(root),
        "MAINSPRING_BIN": str(binaries / "mainspring"),
        "CARGO_TERM_COLOR": "never",
        "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip


NEEDS_FLINK = "package(e2e) and binary(flink)"
NEEDS_NETWORK = "package(e2e) and binary(network)"
# The versions of Flink whose examples the tests run, as tools/setup pins them.
FLINK_EXAMPLES = ["2.3.0", "1.20.0"]


def flink(binaries: pathlib.Path) -> dict[str, str] | None:
    """Sets Flink up; answers the variables that tell tests where it is, None if it cannot be."""
    home = printed([str(binaries / "mainspring-flink"), "setup"])
    fetched = home and all(printed(["tools/setup", "flink-examples", version]) for version in FLINK_EXAMPLES)
    return {"MAINSPRING_ENGINE_FLINK_HOME": home} if home and fetched else None


def network() -> bool:
    """Whether hosts can have networks of their own here; says why not."""
    return printed(["tools/setup", "network"]) is not None


def without(left_out: list[str]) -> list[str]:
    """The arguments of cargo nextest that leave tests out, which it counts as skipped."""
    return ["-E", " and ".join(f"not ({tests})" for tests in left_out)] if left_out else []


def printed(command: list[str]) -> str | None:
    """What a command prints on stdout; None if the command failed or cannot be run."""
    try:
        result = subprocess.run(command, cwd=HERE, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False)
    except OSError as error:
        print(f"test: {error}")
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def tests(binaries: pathlib.Path, locked: list[str], chosen: list[str], root: pathlib.Path) -> Sum:
    """Runs all steps. A selection of Rust tests leaves the other steps out."""
    around = environment(root, binaries)
    # The tests are compiled in the plain environment, because a compiler's daemon must not look
    # like something that a test left behind.
    code, _ = run(["cargo-nextest", "nextest", "run", "--workspace", *locked, "--no-run", *chosen], dict(os.environ))
    if code != 0:
        return judged("compiling the tests", code, Sum())
    found, left_out = flink(binaries), []
    if found:
        around |= found
    else:
        print("test: SKIPPED: Flink could not be set up here (see above); its end-to-end tests are left out")
        left_out.append(NEEDS_FLINK)
    if not network():
        print("test: SKIPPED: hosts cannot have networks of their own here (see above); the tests that cut them are left out")
        left_out.append(NEEDS_NETWORK)
    # Tests that a caller has chosen run nevertheless, and say themselves what is missing.
    selection = chosen or without(left_out)
    code, output = run(["cargo-nextest", "nextest", "run", "--workspace", *locked, *selection], around)
    total = judged("cargo nextest", code, nextest(output))
    if not chosen:
        code, output = run(["cargo", "test", "--workspace", "--doc", "--quiet", *locked], around)
        total += judged("documentation tests", code, doctests(output))
        for directory in python_directories():
            code, output = run([sys.executable, "-m", "unittest", "discover", "-v", "-s", str(directory)], around)
            total += judged(f"Python tests of {directory.relative_to(HERE)}", code, unittest(output))
    left = leaks.wait_until_gone(root)
    leaks.end(left)
    for process in left:
        print(f"test: left behind: {process}")
    return total + (Sum(failed=1) if left else Sum(passed=1))


def main() -> int:
    """Parses the arguments, runs the tests and prints their sum."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, required=True, help="where the built binaries are")
    parser.add_argument("--locked", action="store_const", const=["--locked"], default=[])
    parser.add_argument("chosen", nargs="*", help="arguments of cargo nextest run")
    given = parser.parse_args()
    # The prefix is short, because the path of a socket below it may have 107 bytes at most.
    root = pathlib.Path(tempfile.mkdtemp(prefix="ms-")).resolve()
    total = tests(given.bin, given.locked, given.chosen, root)
    if total.failed:
        print(f"test: what the tests left is in {root}")
    else:
        shutil.rmtree(root, ignore_errors=True)
    print(total)
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
