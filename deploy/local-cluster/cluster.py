"""A cluster: its router, its members of etcd and its hosts, and the directory that they share."""

import json
import os
import pathlib
import secrets
import shutil
import subprocess
import sys
import time

import network
from machine import Failure, Machine

# These places are at the same paths in every machine, whatever the cluster's directory is called.
STATE = "/srv/state"
SHARED = "/srv/shared"
# How long a program may take until it serves.
READY_S = 60.0
LOOK_S = 0.1
# Where the stores of the hosts reach each other.
NETWORK_PORT = 7070

# Asks a member of etcd, from where the member is, whether its cluster has a leader.
HEALTHY = """
import http.client, sys
try:
    asked = http.client.HTTPConnection(sys.argv[1], 2379, timeout=2)
    asked.request("GET", "/health")
    sys.exit(0 if b'"true"' in asked.getresponse().read() else 1)
except OSError:
    sys.exit(1)
"""


def say(text: str) -> None:
    """Tells what is done."""
    print(text, file=sys.stderr, flush=True)


def wait_until(holds, machine: Machine) -> None:
    """Looks again and again whether a machine serves, within a bound."""
    deadline = time.monotonic() + READY_S
    while not holds():
        if time.monotonic() > deadline:
            raise machine.failure(f"does not serve {READY_S:.0f} s after its start")
        time.sleep(LOOK_S)


class Cluster:
    """The cluster of one directory, whether it is there or not."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory.resolve()
        self.router = self.machine("router")

    @property
    def file(self) -> pathlib.Path:
        """Says what the cluster is made of, and that the directory is a cluster's."""
        return self.directory / "cluster.json"

    def about(self) -> dict:
        """What the cluster is made of."""
        try:
            return json.loads(self.file.read_text())
        except FileNotFoundError:
            raise Failure(f"no cluster is in {self.directory}: local-cluster up 3") from None

    def machine(self, name: str) -> Machine:
        """The machine of a name."""
        return Machine(self.directory / name)

    def members(self) -> list[str]:
        """The names of the members of etcd."""
        return [f"etcd-{number + 1}" for number in range(self.about()["members"])]

    def hosts(self) -> list[str]:
        """The names of the hosts."""
        return [f"host-{number + 1}" for number in range(self.about()["hosts"])]

    def known(self, name: str) -> str:
        """The name, if a machine of the cluster has it."""
        names = [*self.members(), *self.hosts()]
        if name not in names:
            raise Failure(f"{name} is no machine of this cluster: {', '.join(names)}")
        return name

    def up(self, hosts: int, members: int, path: str) -> None:
        """Makes the cluster, and waits until everything serves. What fails leaves nothing."""
        if self.file.exists():
            raise Failure(f"a cluster is in {self.directory} already: local-cluster down")
        for program in ("mainspring", "etcd"):
            if shutil.which(program, path=path) is None:
                way_out = "mainspring with --bin target/debug, etcd by PATH=$(tools/setup etcd):$PATH"
                raise Failure(f"{program} is not on PATH: {way_out}")
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if any(self.directory.iterdir()):
            raise Failure(f"{self.directory} is not empty, and down would remove it: name another")
        about = {"hosts": hosts, "members": members, "path": path, "key": secrets.token_hex(32)}
        self.file.touch(mode=0o600)
        self.file.write_text(json.dumps(about))
        try:
            # A store makes no place for payloads by itself, because a mount could be absent.
            (self.directory / "shared" / "payloads").mkdir(parents=True)
            say(f"router: in {self.directory}")
            self.router.boot(["sleep", "infinity"], {}, self.environment(), forwards=True)
            network.be_silent(self.router)
            for name in [*self.members(), *self.hosts()]:
                self.start(name)
                if name == f"etcd-{members}":
                    self.wait_for_etcd()
            for name in self.hosts():
                self.wait_for_host(name, None)
        except BaseException:
            self.down()
            raise

    def start(self, name: str) -> None:
        """Starts a machine, as switching the power on does."""
        machine = self.machine(name)
        if machine.pid is not None:
            raise Failure(f"{name} runs already")
        say(f"{name}: starts at {network.address(name)}")

        def plug_in(pid: int) -> None:
            network.plug_in(self.router, name, pid)

        if name in self.members():
            data = machine.directory / "data"
            data.mkdir(parents=True, exist_ok=True, mode=0o700)
            command = self.etcd(name)
            machine.boot(command, {"data": str(data)}, self.environment(), plug_in)
            return
        state = machine.directory / "state"
        if not state.exists():
            state.mkdir(parents=True, mode=0o700)
            key = state / "deployment.key"
            key.touch(mode=0o600)
            key.write_text(self.about()["key"])
        shared = str(self.directory / "shared")
        places = {"state": str(state), "shared": shared, "run": None, "tmp": None}
        network_of_stores = f"tcp://{network.address(name)}:{NETWORK_PORT}"
        environment = {"MAINSPRING_NETWORK": network_of_stores} | self.environment()
        machine.boot(["mainspring", "up"], places, environment, plug_in)

    def etcd(self, name: str) -> list[str]:
        """The command line of a member."""
        at = network.address
        together = ",".join(f"{member}=http://{at(member)}:2380" for member in self.members())
        client, peer = f"http://{at(name)}:2379", f"http://{at(name)}:2380"
        return [
            "etcd", "--name", name, "--data-dir", "/srv/data", "--log-level", "warn",
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", together,
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        """The environment of every program: the caller's own, and what makes a host one of several.
        A context would lead the verbs away from the host that they are run on."""
        members = [f"http://{network.address(member)}:2379" for member in self.members()]
        ours = {
            "PATH": self.about()["path"],
            "TMPDIR": "/srv/tmp",
            "XDG_RUNTIME_DIR": "/srv/run",
            "MAINSPRING_STATE_DIR": STATE,
            "MAINSPRING_SHARED_DIR": SHARED,
            "MAINSPRING_ETCD": ",".join(members),
            "MAINSPRING_BLOBS": f"file://{SHARED}/payloads",
            "MAINSPRING_INSECURE_NETWORK": "true",
        }
        kept = {name: value for name, value in os.environ.items() if name != "MAINSPRING_CONTEXT"}
        return kept | ours

    def wait_for_etcd(self) -> None:
        """Returns once every member says that it is well."""
        for name in self.members():
            machine = self.machine(name)
            ask = machine.inside(sys.executable, "-c", HEALTHY, network.address(name))

            def healthy(ask: list[str] = ask) -> bool:
                return subprocess.run(ask, capture_output=True, check=False).returncode == 0

            wait_until(healthy, machine)
        say("etcd: serves")

    def served(self, name: str) -> tuple[int, int] | None:
        """Which host.json a host has, if any: `up` writes a new one when everything serves."""
        try:
            stat = (self.machine(name).directory / "state" / "host.json").stat()
        except FileNotFoundError:
            return None
        return stat.st_ino, stat.st_mtime_ns

    def wait_for_host(self, name: str, before: tuple[int, int] | None) -> None:
        """Returns once a host serves that had this host.json before it was started."""
        wait_until(lambda: self.served(name) not in (None, before), self.machine(name))
        say(f"{name}: serves")

    def down(self) -> None:
        """Ends every machine, and removes the directory."""
        names = [*self.hosts(), *self.members(), self.router.name]
        for name in names:
            if self.machine(name).pid is not None:
                say(f"{name}: ends")
                self.machine(name).cut_power()
        # No mount of a machine is to be seen here, so this removes files of the cluster alone.
        shutil.rmtree(self.directory)
        say(f"{self.directory}: removed")
