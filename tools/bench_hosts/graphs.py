"""What a fenced write of 30 KiB costs, beside a plain put of as many bytes into the same etcd.

The writes are made by jobgraph-store/examples/fenced.rs, which says what the kinds are, against a
store alone: no host starts anything for the applications. All kinds take turns in each round, so
the ratio of one kind to another is that of pairs."""

import statistics

from bench_flink.machine import Processes

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
    throughput = statistics.median(raw / ours for (ours, _), (raw, _) in zip(found[kind], found["etcd"]))
    p99 = {of: quantile([ms for _, each in found[of] for ms in each], 0.99) for of in (kind, "etcd")}
    return throughput, p99[kind] / p99["etcd"]


def run(place: Place) -> None:
    """Prints throughput and latency of each kind, and the ratios."""
    root = place.below("store")
    with Etcd(root) as etcd:
        host = Host(place.binaries, root, {"MAINSPRING_ETCD": etcd.url})
        store = Processes(root / "store.log")
        try:
            store.start([host.binary, "serve", "jobgraph-store", "--state-dir", str(host.state)], env=host.env)
            for clients, puts in place.amounts.puts:
                arguments = [str(host.state), etcd.url, *map(str, (clients, puts, place.amounts.rounds))]
                found = rounds(place.example("fenced", host.env, *arguments))
                print(f"writes of 30 KiB, {clients} at once:")
                for kind, name in KINDS.items():
                    rate = statistics.median(len(each) / seconds for seconds, each in found[kind])
                    times = [ms for _, each in found[kind] for ms in each]
                    print(f"    {name:<13} {rate:.0f}/s, {shown(times, 'ms')}")
                for kind in ["value", "graph"]:
                    throughput, p99 = compared(found, kind)
                    print(f"    {KINDS[kind]:<13} {throughput:.2f} of the plain put's throughput   {judged(throughput, '≥', 0.8)}; "
                          f"{p99:.2f} of its p99   {judged(p99, '≤', 1.3)}", flush=True)
        finally:
            store.end()
