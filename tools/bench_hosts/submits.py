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
from bench_hosts.host import Host, resident_kib
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
    return sum(line.startswith("submitted-") for line in host.call("list", "-o", "name").splitlines())


def through_cli(host: Host, program: str) -> int:
    """Bytes that a submission reads more for an artifact that it names."""
    artifact = host.root / "artifact"
    artifact.write_bytes(os.urandom(ARTIFACT_MIB * MIB))
    command = [host.binary, "run", "-d"]
    more = [["--artifact", str(artifact)], []]
    with_it, without = (cost([*command, *options, program], host.env, host.root / "run.log")["read"] for options in more)
    return with_it - without


def measure(place: Place, name: str, host: Host, etcd: Etcd | None) -> None:
    """Prints the figures of one backend."""
    program = fill(host)
    store, up = host.pid("jobgraph-store"), host.pid("up")
    spent = {"store": store, "up": up} | ({"etcd": etcd.pid} if etcd else {})
    before = {who: cpu_of(pid) for who, pid in spent.items()}
    memory = resident_kib(store)
    printed = place.example("submits", host.env, str(host.state), str(CALLERS), str(place.amounts.submissions))
    after = {who: cpu_of(pid) for who, pid in spent.items()}
    seconds, *each = map(float, printed.split())
    rate = len(each) / seconds
    print(f"Submit, {name}, {CALLERS} at once: {rate:.0f} a second   {judged(rate, '≥', 1000, unit='a second')}; {shown(each, 'ms')}")
    cores = ", ".join(f"{who} {(after[who] - before[who]) / seconds:.2f}" for who in spent)
    print(f"    cores in use: {cores}; each submission {(after['store'] - before['store']) / len(each) * 1000:.2f} CPU-ms of the store")
    print(f"    the store's resident memory: {memory / 1024:.1f} MiB before, {resident_kib(store) / 1024:.1f} MiB after")
    os.kill(store, signal.SIGKILL)
    eventually("another store serves", lambda: host.pid("jobgraph-store") != store, PATIENCE)
    found = recorded(host)
    print(f"    in the record after kill -9 of the store: {found} of {len(each)} accepted   {judged(found, '≥', len(each))}")
    read = through_cli(host, program)
    print(f"    read by `mainspring run` of an artifact of {ARTIFACT_MIB} MiB: {read / MIB:.2f} MiB   {judged(max(0, read) // MIB, '≤', 0, unit='MiB')}", flush=True)


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
