#!/usr/bin/env python3
"""Measures how fast mainspring is on this machine.

    python3 tools/bench.py --bin target/release [--runs 30] [--only NAME]

`make bench` runs this with a release build and prints the figures that docs/benchmarks.md shows.
The sections of bench_hosts/ need etcd on PATH; with --quick they measure so little that they only
show whether they work.
Nothing here is a test, because figures depend on the machine and on what else the machine does.
Figures that are compared come from runs in turn, in one go.
"""

import argparse
import concurrent.futures
import dataclasses
import datetime
import functools
import http.server
import json
import multiprocessing
import os
import pathlib
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import leaks
from bench_hosts import graphs, many, submits, take_over
from bench_hosts.place import QUICK, Amounts, Place

GIB = 1024 * 1024 * 1024
# Seconds after the last application until memory is looked at, so that caches and allocators have
# given back what they ever give back.
SETTLED = 15
# The phases in the order in which a run passes them. Each is the time since the one before.
PHASES = ["submitted", "leader", "artifact", "main", "ended", "clean"]
# The sections that need an etcd, or more than one host.
OF_HOSTS = {"take-over": take_over, "graphs": graphs, "submits": submits, "many": many}
SECTIONS = ["trivial", "memory", "crowd", "ended", "list", "transfer", *OF_HOSTS]


class Bench:
    """One state directory and the binary."""

    def __init__(self, binaries: pathlib.Path, root: pathlib.Path):
        self.binary = str(binaries / "mainspring")
        self.root = root
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("MAINSPRING_")}
        self.env |= {"MAINSPRING_STATE_DIR": str(root / "state"), "MAINSPRING_HOST_LINGER": "10m", "NO_COLOR": "1"}

    def call(self, *arguments: str) -> subprocess.CompletedProcess:
        """Runs one command to its end, and keeps what the command says."""
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
    """Median, 90th percentile and minimum, in milliseconds."""
    ordered = sorted(value * 1000 for value in values)
    p90 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.9))]
    return f"p50 {statistics.median(ordered):.0f} ms, p90 {p90:.0f} ms, min {ordered[0]:.0f} ms (n={len(ordered)})"


def trivial(bench: Bench, runs: int) -> None:
    """Measures `SELECT 1` from command to exit: with the host cold, with the host up, by phase."""
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


def processes(bench: Bench) -> list[tuple[list[str], int]]:
    """Command line and PSS in KiB of every process of the host and of its applications."""
    found, state = [], str(bench.root / "state").encode()
    for entry in pathlib.Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes()
            if state not in command and state not in (entry / "environ").read_bytes():
                continue
            lines = (entry / "smaps_rollup").read_text().splitlines()
            pss = next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        except (OSError, ValueError, IndexError, StopIteration):
            continue
        found.append((command.decode(errors="replace").split("\0"), pss))
    return found


def memory(bench: Bench) -> None:
    """Measures the PSS of the four idle services and one contender."""
    program = bench.root / "wait"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    bench.call("run", "-d", "--application-id", "idle", str(program))
    bench.call("wait", "idle", "--for", "running")
    time.sleep(2)
    served = [(command[2], pss) for command, pss in processes(bench) if command[1] == "serve"]
    for name, pss in served:
        print(f"    {name:<17} {pss / 1024:.1f} MiB")
    total = sum(pss for _, pss in served)
    print(f"four idle services and one contender: {total / 1024:.1f} MiB PSS   goal 60 MB")
    bench.call("cancel", "idle")
    subprocess.run([bench.binary, "wait", "idle"], env=bench.env, capture_output=True, timeout=60)


def resident(bench: Bench) -> dict[str, int]:
    """PSS in KiB of the host's own processes, by name."""
    return {command[2] if command[1] == "serve" else "up": pss for command, pss in processes(bench) if command[1] in ("serve", "up")}


def on_disk(directory: pathlib.Path) -> int:
    """Bytes that a directory takes on its disk."""
    return sum(path.lstat().st_blocks * 512 for path in directory.rglob("*"))


def ended(bench: Bench, counts: list[int]) -> None:
    """Measures what ended applications that wrote nothing leave in memory and on disk."""
    # The past is short, so that the store has given it up when memory is looked at.
    bench.env["MAINSPRING_PAST_SECONDS"] = str(SETTLED // 2)
    script = bench.root / "nothing"
    script.write_text("#!/bin/sh\nexit 0\n")
    script.chmod(0o755)
    up = subprocess.Popen([bench.binary, "up", "--state-dir", str(bench.root / "state"), "--host-linger", "1h"],
                          env=bench.env, stderr=subprocess.DEVNULL)
    begin = time.monotonic()
    while not (bench.root / "state" / "host.json").exists() and time.monotonic() < begin + 60:
        time.sleep(0.1)
    new, empty, done = None, 0, 0
    for count in counts:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: bench.call("run", "-q", "--application-id", f"ended-{n}", str(script)), range(done, count)))
        done = max(done, count)
        time.sleep(SETTLED)
        sizes = resident(bench)
        total, disk = sum(sizes.values()), on_disk(bench.root / "state")
        if new is None:
            new, empty = total, disk
        each = f", {(disk - empty) / count / 1024:.1f} KiB each   goal 8" if count else ""
        print(f"{count} ended: {total / 1024:.1f} MiB PSS, {total / new:.2f} of new   goal 1.5; state directory {disk / 1024:.0f} KiB{each}")
        print("    " + ", ".join(f"{name} {pss / 1024:.1f}" for name, pss in sorted(sizes.items())))
    up.terminate()
    up.wait(timeout=60)


def listing(bench: Bench, count: int) -> None:
    """Measures `list` over many applications that have ended, which the record alone answers."""
    with Services(bench, "jobgraph-store") as services:
        begin = time.monotonic()
        while not (services.state / "jobgraph-store" / "record.redb").exists() and time.monotonic() < begin + 60:
            time.sleep(0.1)
        services.tool("past", str(services.state), str(count))
        bench.env["MAINSPRING_STATE_DIR"] = str(services.state)
        answered = [bench.timed("list", *options) for options in [["--limit", "100"]] * 3 + [[]] * 5]
        bench.down()
        bench.env["MAINSPRING_STATE_DIR"] = str(bench.root / "state")
    print(f"list with {count} ended applications: {quantiles(answered[3:])}   goal 200 ms; with --limit 100: {quantiles(answered[1:3])}")


def crowd(bench: Bench) -> None:
    """Measures what 200 applications need at once, and how long `list` takes meanwhile."""
    script = bench.root / "two.sql"
    script.write_text("SELECT count(*) FROM (SELECT unnest(generate_series(1, 1000000)));\nSELECT 2 AS two;\n")
    bench.timed("run", "-q", str(script))
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        submit = lambda run: bench.call("run", "-q", "-d", "--application-id", f"crowd-{run}", "--label", f"team={run % 5}", str(script))
        submits = [pool.submit(submit, run) for run in range(200)]
        most, most_kib, took, states = 0, 0, [], {}
        while True:
            before = time.monotonic()
            listed = json.loads(bench.call("list", "--limit", "500", "-o", "json").stdout)["applications"]
            took.append(time.monotonic() - before)
            for application in listed:
                states.setdefault(application["phase"], set()).add(application["applicationId"])
            found = processes(bench)
            most, most_kib = max(most, len(found)), max(most_kib, sum(pss for _, pss in found))
            if all(one.done() for one in submits) and all(one["phase"] == "PHASE_ENDED" for one in listed):
                break
            time.sleep(0.2)
        for one in submits:
            one.result()
    wall = time.monotonic() - start
    queued = len(states.get("PHASE_QUEUED", []))
    print(f"200 applications of two jobs, submitted at once: {wall:.0f} s, at most {most} processes with {most_kib / 1024:.0f} MiB PSS, {queued} seen QUEUED")
    print(f"    mainspring list of all of them meanwhile, command to exit: {quantiles(took)}   goal 100 ms")


def transfer(bench: Bench) -> None:
    """Measures 1 GiB over HTTP into the cache, in turn with `curl -o`, and on into the record.

    The SHA-256 limit of one core is shown beside the first figure.
    """
    served = bench.root / "served"
    served.mkdir()
    big = served / "big.bin"
    with big.open("wb") as out:
        block = os.urandom(1024 * 1024)
        for index in range(1024):
            out.write(index.to_bytes(8, "big") + block[8:])
    (served / "small.sql").write_text("SELECT 1;\n")
    handler = functools.partial(Quiet, directory=str(served))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.handle_error = lambda *_: None  # a client that leaves is no news here
    # The server is a process of its own, because it must not wait for this one.
    serving = multiprocessing.get_context("fork").Process(target=server.serve_forever, daemon=True)
    serving.start()
    address = f"http://127.0.0.1:{server.server_port}"
    with Services(bench, "artifact-fetcher", "jobgraph-store") as services:
        curl, fetch, pin = [], [], []
        for run in range(5):
            start = time.monotonic()
            subprocess.run(["curl", "-sfo", str(bench.root / "curl.bin"), f"{address}/big.bin"], check=True)
            curl.append(time.monotonic() - start)
            (bench.root / "curl.bin").unlink()
            fetch += services.moved(1, "fetch", f"{address}/big.bin?{run}")
            services.forget()
        for run in range(3):
            pin += services.moved(1, "pin", f"{address}/big.bin?pin-{run}")
            services.forget()
        cached = sorted(services.moved(2001, "fetch", f"{address}/small.sql")[1:])
        # A `local:` file is only read and digested, so this is the limit that the digest sets.
        digest = min(services.moved(3, "fetch", f"local://{big}"))
    serving.terminate()
    paired = statistics.median(one / other for one, other in zip(curl, fetch))
    print(f"1 GiB over HTTP: curl -o {1 / min(curl):.2f} GiB/s, fetched {1 / min(fetch):.2f} GiB/s "
          f"({paired:.2f} of curl in the median of {len(fetch)} pairs, goal 0.9), digested alone by one core {1 / digest:.2f} GiB/s")
    print(f"from the cache into the record, durable: {1 / min(pin):.2f} GiB/s")
    print(f"cached fetch: p50 {cached[len(cached) // 2] * 1000:.2f} ms, p99 {cached[len(cached) * 99 // 100] * 1000:.2f} ms   goal p99 1 ms")


class Services:
    """Some services alone, in a state directory of their own."""

    def __init__(self, bench: Bench, *names: str):
        self.bench, self.names, self.state = bench, names, bench.root / "alone"
        self.processes: list[subprocess.Popen] = []

    def __enter__(self) -> "Services":
        for name in self.names:
            command = [self.bench.binary, "serve", name, "--state-dir", str(self.state)]
            self.processes.append(subprocess.Popen(command, env=self.bench.env, stderr=subprocess.DEVNULL))
        return self

    def __exit__(self, *_) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(timeout=30)

    def tool(self, name: str, *arguments: str) -> str:
        """Runs one of client/examples/, and answers what the example prints."""
        tool = pathlib.Path(self.bench.binary).parent / "examples" / name
        command = [str(tool), *arguments]
        return subprocess.run(command, env=self.bench.env, check=True, capture_output=True, text=True, timeout=600).stdout

    def moved(self, runs: int, what: str, address: str) -> list[float]:
        """Seconds of each of some transfers by client/examples/transfer.rs."""
        return [float(line) / 1000 for line in self.tool("transfer", str(self.state), str(runs), what, address).split()]

    def forget(self) -> None:
        """Removes what was moved and syncs the disk, so no transfer pays for the one before."""
        for blobs in [self.state / "artifact-fetcher" / "blobs", self.state / "jobgraph-store" / "payloads"]:
            for file in blobs.rglob("*"):
                if file.is_file():
                    file.unlink()
        os.sync()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *_):
        pass


def main() -> None:
    """Parses the arguments, and measures what they choose."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--only", choices=SECTIONS)
    parser.add_argument("--ended", type=int, nargs="+", default=[0, 200, 1000], help="after how many ended applications")
    parser.add_argument("--take-overs", type=int, help="how many of each kind `take-over` measures")
    parser.add_argument("--quick", action="store_true", help="see bench_hosts/place.py")
    given = parser.parse_args()
    # SIGTERM becomes an exit, so that the processes that were started are ended then too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    machine = f"{os.cpu_count()} cores {model}  Linux {platform.release()}"
    print(f"{datetime.date.today()}  {machine}", flush=True)
    root = pathlib.Path(tempfile.mkdtemp(prefix="msb-")).resolve()
    bench = Bench(given.bin.resolve(), root)
    amounts = QUICK if given.quick else Amounts()
    if given.take_overs:
        amounts = dataclasses.replace(amounts, take_overs=given.take_overs)
    try:
        for name, measure in [("trivial", lambda: trivial(bench, given.runs)), ("memory", lambda: memory(bench)),
                              ("crowd", lambda: crowd(bench)), ("ended", lambda: ended(bench, given.ended)),
                              ("list", lambda: listing(bench, 10_000)), ("transfer", lambda: transfer(bench))]:
            if given.only in (None, name):
                measure()
        for name, section in OF_HOSTS.items():
            if given.only in (None, name):
                section.run(Place(given.bin.resolve(), root / name, amounts))
    finally:
        subprocess.run([bench.binary, "down", "--yes"], env=bench.env, capture_output=True, timeout=120)
        left = leaks.wait_until_gone(root)
        for process in left:
            print(f"left over, killed: {process}", file=sys.stderr)
        leaks.end(left)
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
