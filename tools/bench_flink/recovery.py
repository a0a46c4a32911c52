"""kill -9 of the JobManager until all tasks run again, against Flink's own high availability.

The tasks run again restored from a checkpoint. The job is e2e/java/ExactlyOnce.java, which
checkpoints every 200 ms. Flink's side is its application mode with ZooKeeper and a standby
JobManager beside the leader. That is faster than to start the dead JobManager again, which would
wait for the same end of a ZooKeeper session and then for a JVM. Flink is measured as it comes, and
with mainspring's intervals and the shortest session that its ZooKeeper can grant."""

import time

import rest
from bench import Bench, ratio, shown
from home import Program
from machine import eventually
from native import HighlyAvailable

# The intervals that mainspring sets, in engines/flink/src/launch.rs.
INTERVALS = {
    "cluster.registration.error-delay": "100",
    "cluster.registration.initial-timeout": "100",
    "cluster.registration.max-timeout": "1000",
    "heartbeat.interval": "1000",
}
# Flink's standby knows a dead leader by the end of its session; mainspring sees the process end.
# With ticks of half a second, sessions of one second are the shortest.
SESSION = {
    "high-availability.zookeeper.client.session-timeout": "1000",
    "high-availability.zookeeper.client.connection-timeout": "1000",
}
CHECKPOINTS_BEFORE = 5


def recovered(side, program: Program) -> float:
    """Seconds from the kill until all tasks run again."""
    try:
        side.start(program)
        eventually("all tasks run", lambda: rest.is_running(side.rest()))
        eventually("there are checkpoints", lambda: rest.checkpoints(side.rest())["counts"]["completed"] >= CHECKPOINTS_BEFORE)
        start = time.monotonic()
        side.kill_jobmanager()
        eventually("all tasks run again", lambda: rest.is_restored(side.rest()) and rest.is_running(side.rest()))
        return time.monotonic() - start
    finally:
        side.end()


def run(bench: Bench) -> None:
    """Prints the seconds of each side, and the ratios of pairs."""
    counted = Program(bench.counting, "ExactlyOnce", ("1000000000", str(bench.place("recovery-out")), "1"), parallelism=2)
    with bench.host() as host:
        sides = {
            "mainspring": host,
            "flink, as it comes": HighlyAvailable(bench.home, bench.place("recovery-default")),
            "flink, our timeouts": HighlyAvailable(bench.home, bench.place("recovery-tuned"), INTERVALS | SESSION, tick=500),
        }
        figures = bench.in_turn({name: lambda side=side: recovered(side, counted) for name, side in sides.items()})
    for name, seconds in figures.items():
        print(f"    {name:<20} {shown(seconds)}")
    for name in list(sides)[1:]:
        print(f"    ratio of pairs, against {name}: {ratio(figures['mainspring'], figures[name]):.2f}")
