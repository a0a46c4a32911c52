"""Records a second of a running job, the same jar with the same settings: through mainspring, and in Flink's own application mode.

The job is Endless.java beside this: keyed state, a checkpoint every 2 s, parallelism 1 (two tasks, two busy threads). Flink's own endless examples
pass a rate limiter, with a change of threads for each record, and would measure that. Counted is what the source sent on, by Flink's metrics. What
else runs on the machine shows in the rate, and less in the records for each CPU second. Flink's side runs without high availability, and so writes
nothing for a checkpoint but the checkpoint.

Both sides run for a minute first: mainspring has a TaskManager's JVM compile later, which spares a short job a second of CPU, so that its compilers
are still at work when those of the other side have finished."""

import time

import rest
from bench import Bench, ratio, shown
from home import Program
from machine import cpu_of, eventually
from native import Native


def changed(side, than: int) -> tuple[float, int]:
    """When the counter, which moves once a second, shows another number than this; and that number."""
    count = eventually("the counter moves", lambda: (now := rest.written(side.rest())) != than and now, pause=0.01)
    return time.monotonic(), count


def rate(side, program: Program, warm: float, seconds: float) -> tuple[float, float]:
    """Records a second in steady state, and records for each CPU second of the TaskManager."""
    try:
        side.start(program)
        eventually("all tasks run", lambda: rest.is_running(side.rest()))
        time.sleep(warm)
        pid = side.taskmanager()
        _, seen = changed(side, -1)
        start, first = changed(side, seen)
        cpu = cpu_of(pid)
        time.sleep(seconds)
        _, seen = changed(side, first)
        end, last = changed(side, seen)
        return (last - first) / (end - start), (last - first) / (cpu_of(pid) - cpu)
    finally:
        side.end()


def run(bench: Bench) -> None:
    """Prints both, and their ratios."""
    program = Program(bench.endless, "Endless")
    with bench.host() as host:
        sides = {"mainspring": host, "flink": Native(bench.home, bench.place("throughput"))}
        figures = bench.in_turn({name: lambda side=side: rate(side, program, bench.warm, bench.seconds) for name, side in sides.items()})
    for index, unit in enumerate(["million records/s", "million records per CPU-s of the TaskManager"]):
        of = {name: [both[index] / 1e6 for both in rates] for name, rates in figures.items()}
        for name, values in of.items():
            print(f"    {name:<10} {shown(values, unit, 3)}")
        print(f"    ratio of pairs: {ratio(of['mainspring'], of['flink']):.2f}   goal 1.0")
