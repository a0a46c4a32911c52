"""Records a second of a running job, the same jar with the same settings: through mainspring, and in Flink's own application mode.

The job is Flink's StateMachineExample with its generator unbounded: keyed state, a checkpoint every 2 s, parallelism 1
(two tasks, two busy threads). Counted is what its sources sent on, by
Flink's own metrics. A generator that never waits takes all CPU there is, so what else runs shows in the rate, and less in records for each CPU second. Flink's side runs without high availability, and so writes nothing for a checkpoint but the checkpoint."""

import time

import rest
from bench import Bench, ratio, shown
from home import Program
from machine import cpu_of, eventually
from native import Native

CLASS = "org.apache.flink.streaming.examples.statemachine.StateMachineExample"


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
    program = Program(bench.examples, CLASS, ("--error-rate", "0", "--rps", "1000000000"))
    with bench.host() as host:
        sides = {"mainspring": host, "flink": Native(bench.home, bench.place("throughput"))}
        figures = bench.in_turn({name: lambda side=side: rate(side, program, 2 * bench.seconds, bench.seconds) for name, side in sides.items()})
    for index, unit in enumerate(["million records/s", "million records per CPU-s of the TaskManager"]):
        of = {name: [both[index] / 1e6 for both in rates] for name, rates in figures.items()}
        for name, values in of.items():
            print(f"    {name:<10} {shown(values, unit, 3)}")
        print(f"    ratio of pairs: {ratio(of['mainspring'], of['flink']):.2f}   goal 1.0")
