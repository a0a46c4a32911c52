"""Records a second of a running job, through mainspring and in Flink's own application mode.

Both sides run the same jar with the same settings. The job is Endless.java beside this file: keyed
state, a checkpoint every 2 s, parallelism 1 (two tasks, two busy threads). Flink's own endless
examples pass a rate limiter, with a change of threads for each record, and would measure that. The
count is of the records that the source has sent on, by Flink's metrics. Flink's side runs without
high availability, and so writes nothing for a checkpoint but the checkpoint.

Both sides run at the same time, the JobManager and the TaskManager of each on one core of its own,
and change cores from run to run. So what else this machine does, and how fast it is at the moment,
is the same for both. One after the other, two runs of one side differ by up to a half.

Both run for a minute before they are measured. mainspring has a TaskManager's JVM compile later,
which spares a short job a second of CPU, so that its compilers are still at work when those of the
other side have finished."""

import dataclasses
import os
import sys
import time

import rest
from bench import Bench, ratio, shown
from home import Program
from machine import cpu_of, eventually, pin
from native import Native


@dataclasses.dataclass(frozen=True)
class Mark:
    """How many records a side had sent on at one time, and with how much CPU."""

    at: float
    count: int
    cpu: float


def now(side) -> Mark:
    """Marks where a side is as soon as its counter moves for the second time.

    The first answer is as old as the last question of any client, so a rate between first answers
    would be wrong.
    """
    count = -1
    for _ in range(2):
        count = eventually("the counter moves", lambda seen=count: (answer := rest.written(side.rest())) != seen and answer, pause=0.01)
    return Mark(time.monotonic(), count, cpu_of(side.taskmanager()))


def rates(sides: dict, program: Program, cores: dict[str, int], bench: Bench) -> dict[str, tuple[float, float]]:
    """Million records of each side a second, and for each CPU second of its TaskManager."""
    try:
        for side in sides.values():
            side.start(program)
        for name, side in sides.items():
            eventually("all tasks run", lambda side=side: rest.is_running(side.rest()))
            for pid in side.jvms():
                pin(pid, cores[name])
        time.sleep(bench.warm)
        begins = {name: now(side) for name, side in sides.items()}
        time.sleep(bench.seconds)
        ends = {name: now(side) for name, side in sides.items()}
    finally:
        for side in sides.values():
            side.end()
    both = {name: (begins[name], ends[name]) for name in sides}
    return {name: ((end.count - begin.count) / 1e6 / (end.at - begin.at), (end.count - begin.count) / 1e6 / (end.cpu - begin.cpu))
            for name, (begin, end) in both.items()}


def run(bench: Bench) -> None:
    """Prints the rates of both sides, and their ratios."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        sys.exit("throughput: each side needs a core of its own, and there is one")
    program = Program(bench.endless, "Endless")
    with bench.host() as host:
        sides = {"mainspring": host, "flink": Native(bench.home, bench.place("throughput"))}
        figures = [rates(sides, program, dict(zip(sides, cores if number % 2 else reversed(cores))), bench) for number in range(bench.runs)]
    for index, unit in enumerate(["million records/s", "million records per CPU-s of the TaskManager"]):
        of = {name: [figure[name][index] for figure in figures] for name in sides}
        for name, values in of.items():
            print(f"    {name:<10} {shown(values, unit, 3)}")
        pairs = [ours / theirs for ours, theirs in zip(of["mainspring"], of["flink"])]
        print(f"    ratio of pairs: {ratio(of['mainspring'], of['flink']):.2f} (min {min(pairs):.2f}, max {max(pairs):.2f})   goal 1.0")
