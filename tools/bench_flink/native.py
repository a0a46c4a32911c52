"""Flink's own processes, started as its scripts would start them.

They get the memory that mainspring gives by default.
"""

import itertools
import json
import os
import pathlib
import signal
import subprocess

import rest
from home import Home, Program
from machine import Processes, eventually, free_port, jvm

# What mainspring gives by default, in MiB (engines/flink/src/memory.rs and jvm.rs). The least and
# the most of a heap are one size.
HEAP_JOBMANAGER, HEAP_TASKMANAGER, DIRECT_TASKMANAGER, METASPACE = 1024, 480, 288, 256
MEMORY = {
    "taskmanager.memory.framework.heap.size": "128m",
    "taskmanager.memory.task.heap.size": "352m",
    "taskmanager.memory.framework.off-heap.size": "128m",
    "taskmanager.memory.task.off-heap.size": "0m",
    "taskmanager.memory.network.min": "160m",
    "taskmanager.memory.network.max": "160m",
    "taskmanager.memory.managed.size": "512m",
    "taskmanager.memory.jvm-metaspace.size": "256m",
    "taskmanager.memory.jvm-overhead.min": "192m",
    "taskmanager.memory.jvm-overhead.max": "192m",
    "taskmanager.cpu.cores": "4.0",
    "taskmanager.numberOfTaskSlots": "4",
}
# These do not change how Flink behaves, but how old its REST answers are: by default 3 s and 10 s,
# which is too coarse to measure with. mainspring has the same settings.
WATCHED = {"web.refresh-interval": "100", "metrics.fetcher.update-interval": "1000"}
APPLICATION = "org.apache.flink.container.entrypoint.StandaloneApplicationClusterEntryPoint"
SESSION = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
WORKER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
ZOOKEEPER = "org.apache.flink.shaded.zookeeper3.org.apache.zookeeper.server.ZooKeeperServerMain"


class Native:
    """A cluster of Flink's own with one TaskManager. One life at a time: `start`, then `end`."""

    def __init__(self, home: Home, root: pathlib.Path, settings: dict[str, str] | None = None):
        self.home, self.root, self.settings = home, root, settings or {}
        self.root.mkdir(parents=True)
        self.processes = Processes(root / "log")
        self.jobmanagers: list[tuple[subprocess.Popen, str]] = []
        self.lives = itertools.count()

    def jvm(self, flags: list[str], jar: pathlib.Path | None, *arguments: str) -> subprocess.Popen:
        """Starts one JVM with Flink's class path."""
        path = ":".join(self.home.libraries() + ([str(jar)] if jar else []))
        return self.processes.start([self.home.java, *flags, *self.home.opens, "-cp", path, *arguments], cwd=self.root)

    def start(self, program: Program | None) -> None:
        """Starts a cluster for this program alone, or a session cluster if there is none."""
        life = self.root / f"life-{next(self.lives)}"
        rpc = str(free_port())
        for index, more in enumerate(self.high_availability(life)):
            if index == 1:
                # The standby waits, so that the first JobManager leads.
                eventually("Flink's REST API answers", lambda: rest.ask(self.rest(), "/jobs"))
            # A later JobManager is a standby: it has the same settings but a port of its own.
            rest_port = str(free_port())
            conf = self.configured(life / f"conf-{index}", program, {"jobmanager.rpc.port": rpc, "rest.port": rest_port} | more)
            flags = [f"-Xmx{HEAP_JOBMANAGER}m", f"-Xms{HEAP_JOBMANAGER}m", f"-XX:MaxMetaspaceSize={METASPACE}m"]
            what = [APPLICATION, "--configDir", str(conf), "--job-classname", program.main, *program.arguments] if program else \
                [SESSION, "--configDir", str(conf)]
            process = self.jvm(flags, program and program.jar, *what)
            self.jobmanagers.append((process, f"127.0.0.1:{rest_port}"))
            if index == 0:
                flags = [f"-Xmx{HEAP_TASKMANAGER}m", f"-Xms{HEAP_TASKMANAGER}m", f"-XX:MaxDirectMemorySize={DIRECT_TASKMANAGER}m",
                         f"-XX:MaxMetaspaceSize={METASPACE}m"]
                # Application mode's user classes are on every class path, as in Flink's usrlib.
                self.jvm(flags, program and program.jar, WORKER, "--configDir", str(conf))

    def high_availability(self, _life: pathlib.Path) -> list[dict[str, str]]:
        """Further settings of each JobManager. Here there is one JobManager, without any."""
        return [{}]

    def configured(self, conf: pathlib.Path, program: Program | None, more: dict[str, str]) -> pathlib.Path:
        """Makes a directory with Flink's configuration."""
        (conf / "tmp").mkdir(parents=True)
        settings = MEMORY | WATCHED | {
            "jobmanager.rpc.address": "127.0.0.1",
            "rest.address": "127.0.0.1",
            "execution.checkpointing.dir": f"file://{conf.parent}/checkpoints",
            "parallelism.default": str(program.parallelism if program else 1),
            "io.tmp.dirs": str(conf / "tmp"),
        } | self.settings | more
        (conf / "config.yaml").write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in settings.items()))
        return conf

    def rest(self) -> str:
        """The address where the first living JobManager serves its REST API."""
        for process, address in self.jobmanagers:
            if process.poll() is None:
                return address
        raise OSError("there is no JobManager")

    def taskmanager(self) -> int:
        """The pid of the TaskManager."""
        return jvm(WORKER, self.root)[0]

    def jvms(self) -> list[int]:
        """The pids of the JobManagers and of the TaskManager."""
        return [process.pid for process, _ in self.jobmanagers] + [self.taskmanager()]

    def kill_jobmanager(self) -> None:
        """Kills the living JobManager with SIGKILL, and returns once it is gone."""
        process = next(process for process, _ in self.jobmanagers if process.poll() is None)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    def end(self) -> None:
        """Ends all processes of the cluster."""
        self.processes.end()
        self.jobmanagers.clear()


class HighlyAvailable(Native):
    """A cluster with the ZooKeeper that Flink ships and a standby JobManager.

    A standby takes over faster than a dead JobManager could be started again.
    """

    def __init__(self, home: Home, root: pathlib.Path, settings: dict[str, str] | None = None, tick: int = 2000):
        super().__init__(home, root, settings)
        self.tick = tick

    def high_availability(self, life: pathlib.Path) -> list[dict[str, str]]:
        port = free_port()
        life.mkdir()
        # Flink's own zoo.cfg has ticks of 2 s. Sessions live for 2 to 20 ticks, even if a client
        # asks for another time.
        (life / "zoo.cfg").write_text(f"tickTime={self.tick}\ndataDir={life}/zookeeper\nclientPort={port}\nclientPortAddress=127.0.0.1\n")
        self.jvm(["-Xmx256m", "-Dzookeeper.admin.enableServer=false"], None, ZOOKEEPER, str(life / "zoo.cfg"))
        shared = {
            "high-availability.type": "zookeeper",
            "high-availability.zookeeper.quorum": f"127.0.0.1:{port}",
            "high-availability.storageDir": f"file://{life}/ha",
            "high-availability.cluster-id": f"/{life.name}",
        }
        return [shared, shared]
