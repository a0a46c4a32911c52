"""What a fenced write of 30 KiB costs, beside a plain put of as many bytes into the same etcd.

The writes are made by jobgraph-store/examples/fenced.rs, which says what the kinds are, against a
store alone: no host starts anything for the applications. All kinds take turns in each round, so
the ratio of one kind to another is that of pairs."""

import statistics

from bench_flink.machine import Processes, eventually

from bench_hosts.deployment import KEY
from bench_hosts.etcd import Etcd
from bench_hosts.figures import judged, quantile, shown
from bench_hosts.host import Host
from bench_hosts.place import Place

# What each kind of write is called.
KINDS = {
    "etcd": "plain put",
    "value": "journal step",
    "graph": "job graph",
}


def rounds(printed: str) -> dict[str, list[tuple[float, list[float]]]]:
    """By kind: the seconds of each round, and the milliseconds of each write in the round."""
    found = {kind: [] for kind in KINDS}
    for line in printed.splitlines():
        kind, seconds, *each = line.split()
        found[kind].append((float(seconds), [float(ms) for ms in each]))
    return found


def compared(found: dict[str, list[tuple[float, list[float]]]], kind: str) -> tuple[float, float]:
    """Throughput in the median of pairs, and the 99th percentile, as parts of the plain put's."""
    pairs = zip(found[kind], found["etcd"])
    throughput = statistics.median(raw / ours for (ours, _), (raw, _) in pairs)
    ours, raw = (quantile(times(found[of]), 0.99) for of in (kind, "etcd"))
    return throughput, ours / raw


def times(of_rounds: list[tuple[float, list[float]]]) -> list[float]:
    """The milliseconds of all writes of all rounds."""
    return [ms for _, each in of_rounds for ms in each]


def told(clients: int, found: dict[str, list[tuple[float, list[float]]]]) -> None:
    """Prints what was measured with so many clients."""
    print(f"writes of 30 KiB, {clients} at once:")
    for kind, name in KINDS.items():
        rate = statistics.median(len(each) / seconds for seconds, each in found[kind])
        print(f"    {name:<13} {rate:.0f}/s, {shown(times(found[kind]), 'ms')}")
    for kind in ["value", "graph"]:
        throughput, p99 = compared(found, kind)
        print(
            f"    {KINDS[kind]:<13} {throughput:.2f} of the plain put's throughput"
            f"   {judged(throughput, '≥', 0.8)}; "
            f"{p99:.2f} of its p99   {judged(p99, '≤', 1.3)}",
            flush=True,
        )


def run(place: Place) -> None:
    """Prints throughput and latency of each kind, and the ratios."""
    root = place.below("store")
    with Etcd(root) as etcd:
        host = Host(place.binaries, root, {"MAINSPRING_ETCD": etcd.url})
        store = Processes(root / "store.log")
        try:
            serve = [host.binary, "serve", "jobgraph-store", "--state-dir", str(host.state)]
            store.start(serve, env=host.env)
            # The example waits until the store answers, and needs the key that the store makes.
            eventually("the store has made the key", (host.state / KEY).exists, 60)
            for clients, puts in place.amounts.puts:
                asked = [str(number) for number in (clients, puts, place.amounts.rounds)]
                printed = place.example("fenced", host.env, str(host.state), etcd.url, *asked)
                told(clients, rounds(printed))
        finally:
            store.end()
