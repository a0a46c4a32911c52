#!/usr/bin/env python3
"""How fast it is, on this machine: `make bench` (release build) prints what docs/benchmarks.md shows.

    python3 tools/bench.py --bin target/release [--runs 30]

Nothing here is a test: figures depend on the machine and on what else it does. What is compared is run in turn, in one go.
"""

import argparse
import datetime
import http.server
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

GIB = 1024 * 1024 * 1024
# The order in which a run passes them; a phase is the time since the one before.
PHASES = ["submitted", "leader", "artifact", "main", "ended", "clean"]


class Bench:
    """One state directory and the binary."""

    def __init__(self, binaries: pathlib.Path, root: pathlib.Path):
        self.binary = str(binaries / "mainspring")
        self.root = root
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("MAINSPRING_")}
        self.env |= {"MAINSPRING_STATE_DIR": str(root / "state"), "MAINSPRING_HOST_LINGER": "10m", "NO_COLOR": "1"}

    def call(self, *arguments: str) -> subprocess.CompletedProcess:
        """One command, to its end; what it says is kept."""
        done = subprocess.run([self.binary, *arguments], env=self.env, cwd=self.root, capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            sys.exit(f"{' '.join(done.args)}: exit {done.returncode}\n{done.stderr}")
        return done

    def timed(self, *arguments: str) -> float:
        """Wall time of one command in seconds."""
        start = time.monotonic()
        self.call(*arguments)
        return time.monotonic() - start

    def down(self) -> None:
        """Ends the host."""
        self.call("down", "--yes")


def quantiles(values: list[float]) -> str:
    """Median and the ends, in milliseconds."""
    ordered = sorted(value * 1000 for value in values)
    p90 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.9))]
    return f"p50 {statistics.median(ordered):.0f} ms, p90 {p90:.0f} ms, min {ordered[0]:.0f} ms (n={len(ordered)})"


def trivial(bench: Bench, runs: int) -> None:
    """`SELECT 1`, command to exit: host cold, host up, by phase."""
    script = bench.root / "one.sql"
    script.write_text("SELECT 1 AS one;\n")
    cold = []
    for _ in range(max(3, runs // 5)):
        cold.append(bench.timed("run", "-q", str(script)))
        bench.down()
    print(f"SELECT 1, host cold: {quantiles(cold)}   goal 600 ms")
    bench.timed("run", "-q", str(script))
    warm, phases = [], {phase: [] for phase in PHASES[1:]}
    for run in range(runs):
        name = f"bench-{run}"
        warm.append(bench.timed("run", "-q", "--application-id", name, str(script)))
        for phase, seconds in by_phase(bench, name).items():
            phases[phase].append(seconds)
    print(f"SELECT 1, host up:   {quantiles(warm)}   goal 300 ms")
    for phase, seconds in phases.items():
        if seconds:
            print(f"    to {phase:<9} +{statistics.median(seconds) * 1000:.0f} ms")


def by_phase(bench: Bench, name: str) -> dict[str, float]:
    """Seconds from one phase to the next, from the application's own events."""
    first: dict[str, float] = {}
    for line in bench.call("events", name, "-o", "jsonl").stdout.splitlines():
        event = json.loads(line)
        at = event["at"].replace("Z", "+00:00")
        whole, _, fraction = at.partition(".")
        digits, zone = fraction[:-6], fraction[-6:]
        moment = datetime.datetime.fromisoformat(whole + zone if fraction else at).timestamp()
        moment += float(f"0.{digits}") if digits else 0.0
        first.setdefault(event["kind"], moment)
    times = [(phase, first[phase]) for phase in PHASES if phase in first]
    return {phase: at - before for (phase, at), (_, before) in zip(times[1:], times)}


def memory(bench: Bench) -> None:
    """PSS of the four idle services and one contender."""
    program = bench.root / "wait"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    bench.call("run", "-d", "--application-id", "idle", str(program))
    bench.call("wait", "idle", "--for", "running")
    time.sleep(2)
    total = 0
    for entry in pathlib.Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            environment = (entry / "environ").read_bytes()
            if len(command) < 3 or command[1] != "serve" or str(bench.root / "state").encode() not in environment:
                continue
            lines = (entry / "smaps_rollup").read_text().splitlines()
            pss = next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        except (OSError, ValueError, IndexError, StopIteration):
            continue
        print(f"    {command[2]:<17} {pss / 1024:.1f} MiB")
        total += pss
    print(f"four idle services and one contender: {total / 1024:.1f} MiB PSS   goal 60 MB")
    bench.call("cancel", "idle")
    subprocess.run([bench.binary, "wait", "idle"], env=bench.env, capture_output=True, timeout=60)


def transfer(bench: Bench) -> None:
    """1 GiB over HTTP: a program's artifact against `curl -o`, in turn; the SHA-256 limit of one core beside it."""
    big = bench.root / "served" / "big.bin"
    big.parent.mkdir()
    with big.open("wb") as out:
        block = os.urandom(1024 * 1024)
        for index in range(1024):
            out.write(index.to_bytes(8, "big") + block[8:])
    handler = lambda *a, **k: Quiet(*a, directory=str(big.parent), **k)  # noqa: E731
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.handle_error = lambda *_: None  # a client that leaves is no news here
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/big.bin"
    script = bench.root / "one.sql"
    base = statistics.median(bench.timed("run", "-q", str(script)) for _ in range(3))
    curl, ours = [], []
    for run in range(3):
        start = time.monotonic()
        subprocess.run(["curl", "-sfo", str(bench.root / "curl.bin"), address], check=True)
        curl.append(time.monotonic() - start)
        ours.append(bench.timed("run", "-q", "--artifact", f"{address}?run={run}", str(script)) - base)
    start = time.monotonic()
    subprocess.run(["sha256sum", str(big)], check=True, capture_output=True)
    digest = time.monotonic() - start
    best_curl, best = min(curl), min(ours)
    print(f"1 GiB over HTTP: curl -o {1 / best_curl:.2f} GiB/s, an artifact to pinned {1 / best:.2f} GiB/s "
          f"({best_curl / best:.2f} of curl, goal 0.9), sha256sum alone {1 / digest:.2f} GiB/s")
    server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *_):
        pass


def main() -> None:
    """Parses and runs all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--only", choices=["trivial", "memory", "transfer"])
    given = parser.parse_args()
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    print(f"{datetime.date.today()}  {os.cpu_count()} cores {model}  Linux {platform.release()}")
    root = pathlib.Path(tempfile.mkdtemp(prefix="msb-"))
    bench = Bench(given.bin.resolve(), root)
    try:
        for name, measure in [("trivial", lambda: trivial(bench, given.runs)), ("memory", lambda: memory(bench)),
                              ("transfer", lambda: transfer(bench))]:
            if given.only in (None, name):
                measure()
    finally:
        subprocess.run([bench.binary, "down", "--yes"], env=bench.env, capture_output=True, timeout=120)
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
