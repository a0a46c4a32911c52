"""kill -9 of the leading runner while a job runs: the largest gap between the job's checkpoints.

The gap is measured before and around the kill. Flink's own statistics say when each checkpoint was
complete. There is no peer to compare with, because in Flink's application mode main() lives in the
JobManager, whose end `recovery` measures."""

import statistics
import time

import rest
from bench import Bench, shown
from home import Program
from machine import eventually
from ours import Ours


def watched(host: Ours, seconds: float) -> dict[int, float]:
    """When each checkpoint was completed, in seconds, by the checkpoint's id."""
    seen, end = {}, time.monotonic() + seconds
    while time.monotonic() < end:
        for checkpoint in rest.checkpoints(host.rest())["history"]:
            if checkpoint["status"] == "COMPLETED":
                seen[checkpoint["id"]] = checkpoint["latest_ack_timestamp"] / 1000
        # The history has the last ten checkpoints, which are two seconds of them.
        time.sleep(0.25)
    return seen


def largest_gap(times: list[float]) -> float:
    """The largest gap between one time and the next."""
    ordered = sorted(times)
    return max(later - earlier for earlier, later in zip(ordered, ordered[1:]))


def disturbed(host: Ours, program: Program, seconds: float) -> dict[str, float]:
    """Runs one job, kills the leading runner, and answers what the job noticed."""
    try:
        host.start(program)
        eventually("all tasks run", lambda: rest.is_running(host.rest()))
        eventually("two runners are there", lambda: host.runners() == 2)
        # The first checkpoints are left out, because the JVM has not compiled its code yet.
        watched(host, 5)
        jobmanager, _ = host.jobmanager()
        before = watched(host, seconds)
        killed, at = host.kill_leader(), time.time()
        after = watched(host, seconds)
        eventually("another runner leads", lambda: int(host.status()["leadership"]["leaderPid"] or killed) != killed)
        around = [max(before.values()), *(moment for moment in after.values())]
        ids = sorted(before | after)
        return {
            "gap before": largest_gap(list(before.values())),
            "gap around": largest_gap(around),
            "ids missing": len(range(ids[0], ids[-1] + 1)) - len(ids),
            "checkpoints after": sum(moment > at for moment in after.values()),
            "restarts": rest.restarts(host.rest()) + (host.jobmanager()[0] != jobmanager),
        }
    finally:
        host.end()


def run(bench: Bench) -> None:
    """Prints both gaps, and counts what must not have happened."""
    counted = Program(bench.counting, "ExactlyOnce", ("1000000000", str(bench.place("runner-out")), "1"), parallelism=2)
    with bench.host("--contenders", "2") as host:
        figures = bench.in_turn({"mainspring": lambda: disturbed(host, counted, bench.seconds)})["mainspring"]
    for name in ["gap before", "gap around"]:
        print(f"    largest {name} the kill, checkpoints every 0.2 s: {shown([figure[name] for figure in figures])}")
    paired = statistics.median(figure["gap around"] / figure["gap before"] for figure in figures)
    print(f"    ratio of pairs: {paired:.2f}   goal 1: the job notices nothing")
    for name in ["restarts", "ids missing", "checkpoints after"]:
        print(f"    {name}: {[figure[name] for figure in figures]}")
