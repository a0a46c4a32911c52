"""Several hosts of one deployment on one machine: one etcd, and one directory that all share."""

import contextlib
import pathlib
import shutil
from collections.abc import Iterator

from bench_flink.machine import free_port

from bench_hosts.etcd import Etcd
from bench_hosts.host import Host

# The key that all hosts of a deployment have.
KEY = "deployment.key"


class Deployment:
    """Hosts on one record."""

    def __init__(
        self, binaries: pathlib.Path, root: pathlib.Path, etcd: Etcd, settings: dict[str, str]
    ):
        self.shared, self.hosts = root / "shared", []
        payloads = root / "payloads"
        for directory in [self.shared, payloads]:
            directory.mkdir()
        common = settings | {
            "MAINSPRING_ETCD": etcd.url,
            "MAINSPRING_BLOBS": f"file://{payloads}",
            "MAINSPRING_SHARED_DIR": str(self.shared),
        }
        self._new = lambda place: Host(
            binaries, place, common | {"MAINSPRING_NETWORK": f"tcp://127.0.0.1:{free_port()}"}
        )
        self._root = root

    def join(self) -> None:
        """Starts one more host, which has the key of the first one."""
        place = self._root / f"h{len(self.hosts)}"
        place.mkdir()
        host = self._new(place)
        if self.hosts:
            host.state.mkdir(mode=0o700)
            shutil.copy(self.hosts[0].state / KEY, host.state / KEY)
        self.hosts.append(host)
        host.up()

    def host(self, name: str) -> Host:
        """The host that has this name."""
        return next(host for host in self.hosts if host.name == name)


@contextlib.contextmanager
def deployed(
    binaries: pathlib.Path, root: pathlib.Path, hosts: int, settings: dict[str, str]
) -> Iterator[Deployment]:
    """A deployment of so many hosts, of which nothing is left afterwards."""
    with Etcd(root) as etcd:
        deployment = Deployment(binaries, root, etcd, settings)
        try:
            for _ in range(hosts):
                deployment.join()
            yield deployment
        finally:
            for host in deployment.hosts:
                host.kill()
