"""WordCount, command to exit: through mainspring with its host up, and through Flink's own standalone application mode.

CPU is that of the whole machine meanwhile: processes of both sides outlive or precede the command, and this counts them all."""

import statistics
import sys
import time

from bench import Bench
from home import Program
from machine import busy
from native import Native
from ours import Ours

CLASS = "org.apache.flink.streaming.examples.wordcount.WordCount"


def ours(host: Ours, program: Program) -> None:
    """`mainspring run`, to its exit."""
    host.call("run", "-q", "-t", "local", "-c", program.main, str(program.jar))


def theirs(cluster: Native, program: Program) -> None:
    """`StandaloneApplicationClusterEntryPoint` and a TaskManager, started together; the job's end ends the first."""
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
    """Prints both, and their ratio."""
    program = Program(bench.examples, CLASS)
    cluster = Native(bench.home, bench.place("wordcount"), {"execution.attached": "true"})
    with bench.host() as host:
        sides = {"mainspring": lambda: ours(host, program), "flink": lambda: theirs(cluster, program)}
        # The first of each warms caches and starts the host.
        for side in sides.values():
            side()
        figures = bench.in_turn({name: lambda side=side: measured(side) for name, side in sides.items()})
    for name, pairs in figures.items():
        walls, cpus = zip(*pairs)
        print(f"    {name:<10} wall p50 {statistics.median(walls):.2f} s (min {min(walls):.2f}), "
              f"CPU p50 {statistics.median(cpus):.2f} s (n={len(pairs)})")
    for index, what in enumerate(["wall", "CPU"]):
        ratio = statistics.median(ours[index] / theirs[index] for ours, theirs in zip(figures["mainspring"], figures["flink"]))
        print(f"    ratio of pairs, {what}: {ratio:.2f}   goal 0.45")
