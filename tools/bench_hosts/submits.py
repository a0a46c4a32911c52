"""How many submissions a second one host accepts, durably, and what they cost its store.

The host has room for one application, which sleeps, so all others are queued, and nothing but
their acceptance is measured. client/examples/submits.rs submits them. Afterwards the store is
killed with kill -9, and every accepted application has to be in the record of the next one.

How much of an artifact passes through the command line follows from what the kernel counts as read
by `mainspring run` (rchar): one submission names an artifact that another does not."""

import os
import signal

from bench_flink.machine import cost, cpu_of, eventually

from bench_hosts.etcd import Etcd
from bench_hosts.figures import judged, shown
from bench_hosts.host import Host, memory_of
from bench_hosts.place import Place

CALLERS = 64
MIB = 1 << 20
ARTIFACT_MIB = 64

# How long the host gets to start another store, which reads a record of many applications.
PATIENCE = 120


def fill(host: Host) -> str:
    """Submits the application that has the one place, and answers the path of its program."""
    program = host.root / "sleep"
    program.write_text("#!/bin/sh\nexec sleep 3600\n")
    program.chmod(0o755)
    host.call("run", "-d", "--application-id", "first", str(program))
    host.call("wait", "first", "--for", "running")
    return str(program)


def recorded(host: Host) -> int:
    """How many submitted applications the record has."""
    names = host.call("list", "-o", "name", seconds=600).splitlines()
    return sum(name.startswith("submitted-") for name in names)


def through_cli(host: Host, program: str) -> int:
    """Bytes that a submission reads more for an artifact that it names."""
    artifact = host.root / "artifact"
    artifact.write_bytes(os.urandom(ARTIFACT_MIB * MIB))
    command = [host.binary, "run", "-d"]
    more = [["--artifact", str(artifact)], []]
    log = host.root / "run.log"
    reads = [cost([*command, *options, program], host.env, log)["read"] for options in more]
    return int(reads[0] - reads[1])


def measure(place: Place, name: str, host: Host, etcd: Etcd | None) -> None:
    """Prints the figures of one backend."""
    program = fill(host)
    store, up = host.pid("jobgraph-store"), host.pid("up")
    spent = {"store": store, "up": up} | ({"etcd": etcd.pid} if etcd else {})
    before = {who: cpu_of(pid) for who, pid in spent.items()}
    memory = memory_of(store)
    asked = [str(number) for number in (CALLERS, place.amounts.submissions)]
    printed = place.example("submits", host.env, str(host.state), *asked)
    seconds, *each = map(float, printed.split())
    cores = {who: (cpu_of(pid) - before[who]) / seconds for who, pid in spent.items()}
    rate, cpu = len(each) / seconds, cores["store"] * seconds / len(each) * 1000
    print(f"Submit, {name}, {CALLERS} at once: {shown(each, 'ms')}")
    print(f"    {rate:.0f} a second   {judged(rate, '≥', 1000, unit='a second')}")
    shares = ", ".join(f"{who} {share:.2f}" for who, share in cores.items())
    print(f"    cores in use: {shares}; the store {cpu:.2f} CPU-ms a submission")
    print(f"    memory of the store, MiB of RSS (PSS): {memory}, later {memory_of(store)}")
    os.kill(store, signal.SIGKILL)
    eventually("another store serves", lambda: host.pid("jobgraph-store") != store, PATIENCE)
    found = recorded(host)
    kept = judged(found, "≥", len(each))
    print(f"    recorded after kill -9 of the store: {found} of {len(each)} accepted   {kept}")
    read = through_cli(host, program)
    # The name of the artifact is no part of its bytes.
    none = judged(read // MIB, "≤", 0, unit="MiB")
    print(
        f"    `mainspring run` reads {read} bytes more "
        f"with an artifact of {ARTIFACT_MIB} MiB   {none}",
        flush=True,
    )


def run(place: Place) -> None:
    """Prints the figures of both backends."""
    room = {"MAINSPRING_MAX_RUNNING": "1"}
    embedded = Host(place.binaries, place.below("embedded"), room)
    try:
        embedded.up()
        measure(place, "embedded", embedded, None)
    finally:
        embedded.kill()
    root = place.below("etcd")
    with Etcd(root) as etcd:
        host = Host(place.binaries, root, room | {"MAINSPRING_ETCD": etcd.url})
        try:
            host.up()
            measure(place, "etcd", host, etcd)
        finally:
            host.kill()
