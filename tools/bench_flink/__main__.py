#!/usr/bin/env python3
"""Flink jobs through mainspring and through Flink's own processes, in turn, in one go.

    python3 tools/bench_flink --bin target/release --jar flink-examples-streaming-2.3.0.jar \\
        [--only NAME] [--runs 5]

    wordcount    command to exit, against Flink's standalone application mode
    recovery     kill -9 of the JobManager until all tasks run again, against Flink's high
                 availability with ZooKeeper
    runner       kill -9 of the leading runner: what the running job notices
    throughput   records a second of a running job, beside Flink's standalone application mode on
                 another core
    submission   bytes and CPU of the process that submits, against `flink run -d`

Nothing else may run meanwhile. Both sides have the same memory settings and one TaskManager with
four slots.
"""

import argparse
import importlib
import pathlib
import signal
import sys
import tempfile

from bench import Bench
from home import Home

TOOLS = pathlib.Path(__file__).resolve().parent.parent
sys.path.append(str(TOOLS))
import leaks  # noqa: E402

SECTIONS = ["wordcount", "recovery", "runner", "throughput", "submission"]


def kill_what_is_left(root: pathlib.Path) -> None:
    """Kills every process that a section has left behind, and names it."""
    left = leaks.wait_until_gone(root)
    for process in left:
        print(f"left over, killed: {process}", file=sys.stderr)
    leaks.end(left)


def main() -> None:
    """Parses the arguments, and runs the sections that they choose."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, required=True, help="directory of mainspring, mainspring-flink and examples/jvm_arguments")
    parser.add_argument("--jar", type=pathlib.Path, required=True, help="flink-examples-streaming 2.3.0")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=15, help="how long `runner` and `throughput` watch")
    parser.add_argument("--warm", type=float, default=60, help="seconds that a job runs before `throughput` watches it")
    parser.add_argument("--only", choices=SECTIONS)
    given = parser.parse_args()
    # SIGTERM becomes an exit, so that the processes that were started are ended then too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="ms-bench-", ignore_cleanup_errors=True) as directory:
        root = pathlib.Path(directory).resolve()
        home = Home.find(given.bin.resolve())
        counting = home.compiled(TOOLS.parent / "e2e" / "java" / "ExactlyOnce.java", root)
        endless = home.compiled(TOOLS / "bench_flink" / "Endless.java", root)
        try:
            for name in SECTIONS:
                if given.only in (None, name):
                    section = importlib.import_module(name)
                    place = root / name
                    place.mkdir()
                    print(f"{name}: {section.__doc__.splitlines()[0]}", flush=True)
                    section.run(Bench(given.bin.resolve(), given.jar.resolve(), counting, endless, home, place, given.runs, given.seconds, given.warm))
        finally:
            kill_what_is_left(root)


if __name__ == "__main__":
    main()
