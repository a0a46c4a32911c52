"""What many applications on record, and a hundred that live, take of one host and of its etcd.

The live ones have a main() that sleeps. The others have ended, and were written by
client/examples/past.rs while no `up` was there, which would have started contenders for them. The
past is short, so that what is over is compacted before the sizes are taken."""

import time

from bench_flink.machine import eventually

from bench_hosts.etcd import Etcd
from bench_hosts.figures import judged, shown
from bench_hosts.host import Host, Memory, memory_of
from bench_hosts.place import Place

# How long changes can be watched from, and the seconds after the last change until memory and sizes
# are taken.
PAST, SETTLED = 7, 20

# How long all live applications get until their main()s run.
PATIENCE = 900

# How often each verb is asked.
ASKED = 5

MAIN = """#!/bin/sh
: > "$1/$MAINSPRING_APPLICATION"
exec sleep 36000
"""


def start(host: Host, count: int) -> None:
    """Starts the live applications, and returns once all their main()s have begun."""
    program, starts = host.root / "main", host.root / "starts"
    program.write_text(MAIN)
    program.chmod(0o755)
    starts.mkdir()
    for number in range(count):
        host.call("run", "-d", "--application-id", f"live-{number}", str(program), str(starts))
    have_begun = lambda: len(list(starts.iterdir())) == count  # noqa: E731
    eventually("all main()s have begun", have_begun, PATIENCE, 0.5)


def sizes(place: Place, host: Host, etcd: Etcd, ended: int) -> None:
    """Prints memory, the size of etcd, and how often leases are renewed."""
    before, begun = etcd.renewals(), time.monotonic()
    time.sleep(place.amounts.counted)
    renewals = (etcd.renewals() - before) / (time.monotonic() - begun)
    memory = host.memory()
    of_etcd = [etcd.metric(f"etcd_mvcc_db_total_size{part}_in_bytes") for part in ("_in_use", "")]
    used, whole = (size / 2**20 for size in of_etcd)
    keys = etcd.metric("etcd_debugging_mvcc_keys_total")
    total = Memory(*map(sum, zip(*memory.values())))
    print(f"{ended} ended and {place.amounts.live} live, no goals:")
    print(f"    shared services and up, MiB of RSS (PSS): {total}")
    print("        " + ", ".join(f"{name} {each}" for name, each in memory.items()))
    print(
        f"    etcd: {used:.1f} MiB in use of {whole:.1f}, {keys:.0f} keys, "
        f"{memory_of(etcd.pid)} MiB of memory; {renewals:.0f} renewals of leases a second",
        flush=True,
    )


def latencies(host: Host, ended: int) -> None:
    """Prints how long the verbs take that look at the record, from command to exit."""
    asked = {
        "list": ["list"],
        "list --limit 100": ["list", "--limit", "100"],
        "list -o name": ["list", "-o", "name"],
        "status of a live one": ["status", "live-0"],
        "status of an ended one": ["status", f"past-{ended // 2}"],
    }
    for name, arguments in asked.items():
        took = [host.timed(*arguments) * 1000 for _ in range(ASKED + 1)][1:]
        goal = f"   {judged(max(took), '≤', 200, 'max', 'ms')}" if name == "list" else ""
        print(f"    {name}: {shown(took, 'ms', 0)}{goal}", flush=True)


def run(place: Place) -> None:
    """Prints sizes by how many applications are on record, and latencies with the most."""
    live, root = place.amounts.live, place.below("host")
    with Etcd(root) as etcd:
        host = Host(
            place.binaries,
            root,
            {
                "MAINSPRING_ETCD": etcd.url,
                "MAINSPRING_MAX_RUNNING": str(live),
                "MAINSPRING_PAST_SECONDS": str(PAST),
            },
        )
        try:
            host.up()
            start(host, live)
            done = 0
            for ended in place.amounts.ended:
                more = [str(ended - done), str(done)]
                with host.without_up():
                    place.example("past", host.env, str(host.state), *more, seconds=1800)
                done = ended
                time.sleep(SETTLED)
                sizes(place, host, etcd, ended)
            latencies(host, done)
        finally:
            host.kill()
