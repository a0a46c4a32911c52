"""WordCount, command to exit: through mainspring, and in Flink's own standalone application mode.

mainspring's host is up. CPU is that of the whole machine meanwhile, because processes of both sides
outlive or precede the command, and all of them count."""

import datetime
import json
import statistics
import sys
import time

from bench import Bench
from home import Program
from machine import busy
from native import Native
from ours import Ours

CLASS = "org.apache.flink.streaming.examples.wordcount.WordCount"


# The events that the record tells of a run, in the usual order: the kind of each, and its state.
PHASES = [("leader", None), ("main", "started"), ("job", "stored"), ("cluster", "ready"), ("job", "submitted"), ("job", "ended"), ("main", "ended"),
          ("ended", None), ("clean", None)]


def ours(host: Ours, program: Program) -> str:
    """Runs `mainspring run` to its exit, and answers the application's id."""
    name = next(host.names)
    host.call("run", "-q", "-t", "local", "--application-id", name, "-c", program.main, str(program.jar))
    return name


def phases(host: Ours, name: str) -> list[float]:
    """Seconds from the submission until each of `PHASES`, as the record tells them."""
    events = json.loads(host.call("events", name, "-o", "json"))

    def at(kind: str, state: str | None) -> datetime.datetime:
        told = (event for event in events if event["kind"] == kind and state in (None, event["attributes"].get("state")))
        return datetime.datetime.fromisoformat(next(told)["at"][:26] + "+00:00")

    return [(at(kind, state) - at("submitted", None)).total_seconds() for kind, state in PHASES]


def theirs(cluster: Native, program: Program) -> None:
    """Runs Flink's application mode with a TaskManager, until the job's end ends the JobManager."""
    try:
        cluster.start(program)
        code = cluster.jobmanagers[0][0].wait(timeout=300)
    finally:
        cluster.end()
    if code != 0:
        sys.exit(f"Flink's own application mode: exit {code}, see {cluster.root / 'log'}")


def measured(side) -> tuple[float, float]:
    """Wall and CPU seconds of one run."""
    wall, cpu = time.monotonic(), busy()
    side()
    return time.monotonic() - wall, busy() - cpu


def run(bench: Bench) -> None:
    """Prints the seconds of both sides, and their ratio."""
    program = Program(bench.examples, CLASS)
    cluster = Native(bench.home, bench.place("wordcount"), {"execution.attached": "true"})
    with bench.host() as host:
        names: list[str] = []
        sides = {"mainspring": lambda: names.append(ours(host, program)), "flink": lambda: theirs(cluster, program)}
        # The first run of each side warms caches and starts the host.
        for side in sides.values():
            side()
        figures = bench.in_turn({name: lambda side=side: measured(side) for name, side in sides.items()})
        all_phases = [phases(host, name) for name in names[1:]]
    for name, pairs in figures.items():
        walls, cpus = zip(*pairs)
        print(f"    {name:<10} wall p50 {statistics.median(walls):.2f} s (min {min(walls):.2f}), "
              f"CPU p50 {statistics.median(cpus):.2f} s (n={len(pairs)})")
    for index, what in enumerate(["wall", "CPU"]):
        ratio = statistics.median(ours[index] / theirs[index] for ours, theirs in zip(figures["mainspring"], figures["flink"]))
        print(f"    ratio of pairs, {what}: {ratio:.2f}   goal 0.45")
    told = (f"{kind} {state or ''}".strip() + f" {statistics.median(at):.2f}" for (kind, state), at in zip(PHASES, zip(*all_phases)))
    print("    mainspring by phase, seconds after the submission, p50: " + ", ".join(told))
