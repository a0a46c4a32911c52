"""An etcd of one member, and what its metrics say."""

import pathlib
import re
import shutil
import sys
import urllib.request

from bench_flink.machine import Processes, eventually, free_port

# How often a member is started anew whose ports another process has taken meanwhile.
TRIES = 5


class Etcd:
    """A member with a directory of its own."""

    def __init__(self, root: pathlib.Path):
        if not shutil.which("etcd"):
            sys.exit("etcd is not on PATH; use make bench, or PATH=$(tools/setup etcd):$PATH")
        self.root, self.url = root, ""
        self.processes = Processes(root / "etcd.log")

    def __enter__(self) -> "Etcd":
        for _ in range(TRIES):
            if self._is_started():
                return self
            self.processes.end()
        raise RuntimeError(f"etcd does not start: {(self.root / 'etcd.log').read_text()[-2000:]}")

    def __exit__(self, *_) -> None:
        self.processes.end()

    def _is_started(self) -> bool:
        self.url, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        process = self.processes.start(
            [
                "etcd",
                "--name",
                "bench",
                "--log-level",
                "error",
                "--data-dir",
                str(self.root / "etcd"),
                "--listen-client-urls",
                self.url,
                "--advertise-client-urls",
                self.url,
                "--listen-peer-urls",
                peer,
                "--initial-advertise-peer-urls",
                peer,
                "--initial-cluster",
                f"bench={peer}",
            ]
        )
        eventually(
            "etcd serves, or has ended", lambda: process.poll() is not None or self.is_well(), 60
        )
        return process.poll() is None

    @property
    def pid(self) -> int:
        """The process of the member."""
        return self.processes.all[-1].pid

    def is_well(self) -> bool:
        """Whether the member answers."""
        return b"true" in self._asked("health")

    def metric(self, name: str, label: str = "") -> float:
        """The sum of a metric's values, of those with this label if one is named."""
        found = re.findall(
            rf"^{name}(\{{.*\}})? (\S+)$", self._asked("metrics").decode(), re.MULTILINE
        )
        values = [float(value) for labels, value in found if label in labels]
        if not values:
            raise RuntimeError(f"etcd has no metric {name} {label}")
        return sum(values)

    def renewals(self) -> float:
        """How many renewals of leases the member has been sent so far."""
        return self.metric("grpc_server_msg_received_total", 'grpc_method="LeaseKeepAlive"')

    def _asked(self, path: str) -> bytes:
        with urllib.request.urlopen(f"{self.url}/{path}", timeout=5) as answer:
            return answer.read()
