"""Tries the Java side against real Flink processes, with the test double in double.py for `jobs`
and the front.

A part of `make test`. By itself, after `mainspring-flink setup` and `cargo build --workspace --example jvm_arguments`:

    MAINSPRING_BIN=target/debug/mainspring python3 -m unittest discover -v -s engines/flink/tests/real

Its control, an ended job that is run again, is one of the tests. Another one was seen to go red by
hand: with the pointer's `savepoint` ignored in CheckpointPointer.properties, "the savepoint was
deleted".
"""
import contextlib
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCES = f"{HERE}/../../java/io/mainspring/flink"
# How long no process answers the JobManager, which is the time of eight of its checkpoints.
SILENCE_S = 4
TOOL = os.path.join(os.path.dirname(os.path.abspath(os.environ.get("MAINSPRING_BIN", "target/debug/mainspring"))), "examples/jvm_arguments")


def read(path):
    return pathlib.Path(path).read_text()


def write(path, text):
    pathlib.Path(path).write_text(text)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def jvm(role, *memory):
    return subprocess.check_output([TOOL, role, *map(str, memory)], text=True).splitlines()


def class_path():
    arguments = jvm("main", 64)
    return arguments[arguments.index("-cp") + 1]


def home_jar():
    return class_path().split(":")[0]


def until(what, condition, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            if found := condition():
                return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")


class Cluster:
    def __init__(self, work):
        self.work = work
        self.rpc, self.rest, self.ha, self.front = (free_port() for _ in range(4))
        for directory in ["state", "checkpoints"]:
            os.makedirs(f"{work}/{directory}", exist_ok=True)
        write(f"{work}/token", "secret\n")
        write(f"{work}/config.yaml", self.config())
        self.environment = os.environ | {
            "MAINSPRING_ADDRESS_JOBS_HA": f"127.0.0.1:{self.ha}",
            "MAINSPRING_TOKEN_FILE": f"{work}/token",
            "FLINK_REST_CLIENT_HEADERS": "Authorization:Bearer front",
            "FLINK_PLUGINS_DIR": os.path.join(os.path.dirname(home_jar()), "plugins"),
        }
        self.processes = {}
        # What stands before mainspring's jar on the JobManager's class path.
        self.instead = None

    def config(self):
        memory = {"framework.heap.size": "128m", "task.heap.size": "256m", "framework.off-heap.size": "128m",
                  "task.off-heap.size": "0b", "network.min": "160m", "network.max": "160m", "managed.size": "128m",
                  "jvm-metaspace.size": "256m", "jvm-overhead.min": "192m", "jvm-overhead.max": "192m"}
        lines = [f"taskmanager.memory.{key}: {value}" for key, value in memory.items()]
        return "\n".join(lines) + f"""
jobmanager.rpc.address: 127.0.0.1
jobmanager.rpc.port: {self.rpc}
jobmanager.bind-host: 127.0.0.1
high-availability.type: io.mainspring.flink.MainspringHaServicesFactory
high-availability.jobmanager.port: {self.rpc}
high-availability.storageDir: file://{self.work}/ha
rest.address: 127.0.0.1
rest.port: {self.rest}
rest.bind-address: 127.0.0.1
rest.bind-port: {self.rest}
io.tmp.dirs: {self.work}/tmp
taskmanager.host: 127.0.0.1
taskmanager.bind-host: 127.0.0.1
taskmanager.numberOfTaskSlots: 2
taskmanager.cpu.cores: 2.0
execution.checkpointing.dir: file://{self.work}/checkpoints
cluster.registration.error-delay: 100
cluster.registration.initial-timeout: 100
cluster.registration.max-timeout: 1000
web.refresh-interval: 100
"""

    def start(self, name, command):
        with open(f"{self.work}/{name}.log", "a") as log:
            self.processes[name] = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, cwd=self.work)

    def kill(self, *names):
        for name in names:
            if process := self.processes.pop(name, None):
                process.kill()
                process.wait()

    def start_jobs(self):
        ports = map(str, [self.ha, self.front, self.rest])
        self.start("double", [sys.executable, f"{HERE}/double.py", f"{self.work}/state", *ports])

    def start_flink(self):
        arguments = jvm("jobmanager", 512)
        if self.instead:
            at = arguments.index("-cp") + 1
            arguments[at] = f"{self.instead}:{arguments[at]}"
        self.start("jm", arguments + ["--configDir", self.work])
        self.start("tm", jvm("taskmanager", 384, 288) + ["--configDir", self.work])
        until("a TaskManager is registered", lambda: self.get("/overview")["taskmanagers"] == 1)

    def main(self, *arguments, program="programs.jar", options=()):
        java, *others = jvm("main", 256)
        command = [java, *options, *others] + ["-Drest.address=127.0.0.1", f"-Drest.port={self.front}"]
        command += ["--jar", f"{self.work}/{program}", *arguments]
        return subprocess.run(command, env=self.environment, cwd=self.work, capture_output=True, text=True, timeout=240)

    def get(self, path):
        return json.load(urllib.request.urlopen(f"http://127.0.0.1:{self.rest}{path}", timeout=5))

    def post_again(self, job):
        plan = pathlib.Path(f"{self.work}/state/{job}.plan").read_bytes()
        kind = read(f"{self.work}/state/{job}.type")
        request = urllib.request.Request(f"http://127.0.0.1:{self.rest}/v1/jobs", plan, {"content-type": kind})
        try:
            return urllib.request.urlopen(request, timeout=60).status
        except urllib.error.HTTPError as refused:
            return refused.status

    def kept(self):
        return json.loads(read(f"{self.work}/state/state.json"))["jobs"]

    def calls(self, text):
        return [c for line in read(f"{self.work}/state/calls.jsonl").splitlines() if text in (c := json.loads(line)).get("path", "")]

    def behave(self, text):
        write(f"{self.work}/state/behave", text)

    def named(self, name):
        return {kept.get("name"): job for job, kept in self.kept().items()}[name]

    def latest(self, job):
        return max(map(int, self.kept()[job]["checkpoints"]), default=0)


def javac(work, *sources):
    classes = f"{work}/classes-{os.path.basename(sources[0])}"
    java_bin = os.path.dirname(jvm("main", 64)[0])
    subprocess.check_call([f"{java_bin}/javac", "--release", "17", "-cp", class_path(), "-d", classes, *sources])
    return classes


def build_program(work):
    classes = javac(work, f"{HERE}/program/Programs.java")
    java_bin = os.path.dirname(jvm("main", 64)[0])
    subprocess.check_call([f"{java_bin}/jar", "--create", "--file", f"{work}/programs.jar", "--main-class", "Programs", "-C", classes, "."])


def without_our_store_of_results(work):
    """The services as they would be with Flink's own default: the same source without one
    method."""
    name = "MainspringHaServices.java"
    source = read(f"{SOURCES}/{name}")
    method = r"    @Override\n    public synchronized JobResultStore getJobResultStore\(\) \{\n.*?\n    \}\n"
    less, cut = re.subn(method, "", source, flags=re.DOTALL)
    assert cut == 1, source
    os.makedirs(f"{work}/instead")
    write(f"{work}/instead/{name}", less)
    return javac(work, f"{work}/instead/{name}")


def programs_end_as_they_should(c):
    for kind, code, out, err in [
        ("collect", 0, r"sum 10100", ""),
        ("same-name", 0, r"same id false", ""),
        ("at-once", 0, r"(?s)done .*done ", ""),
        ("throws", 1, "", r"\Aerror: main\(\) of Programs threw java.io.IOException: no such file: orders.csv\n"),
        ("job-fails", 1, "", r"\Aerror: a job of Programs failed: java.lang.ArithmeticException: / by zero\n"),
        ("no-job", 1, "", r"\Aerror: .* never called execute\(\)"),
        ("exit", 7, "", r"\A\Z"),
    ]:
        done = c.main("--", kind)
        stderr = "\n".join(line for line in done.stderr.split("\n") if " WARN " not in line)
        assert done.returncode == code and re.search(out, done.stdout) and re.search(err, stderr), (kind, done)
    assert c.kept()[c.named("divides by zero")]["ended"]["message"] == "java.lang.ArithmeticException: / by zero"
    for path, wanted in [("none.jar", "is no file"), ("config.yaml", "is not a jar")]:
        done = c.main("--", "collect", program=path)
        assert done.returncode == 2 and wanted in done.stderr and done.stderr.count("\n") == 1, done


def logs_are_ours_unless_a_configuration_is_named(c):
    for name in ["jm", "tm"]:
        log = read(f"{c.work}/{name}.log")
        assert re.search(r"(?m)^\d\d:\d\d:\d\d\.\d{3} INFO  o\.a\.f\.\S+ \S", log) and "StatusLogger" not in log, log[:2000]
    assert " INFO " not in c.main("--", "collect").stderr
    write(f"{c.work}/log4j.properties", """
rootLogger.level = INFO
rootLogger.appenderRef.all.ref = all
appender.all.name = all
appender.all.type = Console
appender.all.target = SYSTEM_ERR
appender.all.layout.type = PatternLayout
appender.all.layout.pattern = theirs %p %c %m%n
""")
    done = c.main("--", "collect", options=[f"-Dlog4j.configurationFile={c.work}/log4j.properties"])
    assert done.returncode == 0 and "theirs INFO org.apache.flink." in done.stderr, done


def an_ended_job_is_refused(c):
    job = c.named("collected")
    assert c.post_again(job) == 500
    c.kill("jm", "tm")
    c.start_flink()
    assert c.post_again(job) == 500
    assert len(c.calls(f"{job}/end")) == 1


def control_an_ended_job_is_run_again_without_our_store_of_results(c):
    """Proves that an_ended_job_is_refused looks at the right thing: with Flink's default the
    JobManager no longer knows of the end."""
    c.kill("jm", "tm")
    c.instead = without_our_store_of_results(c.work)
    c.start_flink()
    done = c.main("--", "result")
    assert done.returncode == 0, done
    job = c.named("one")
    assert not c.calls(f"{job}/end")
    c.kill("jm", "tm")
    c.start_flink()
    assert c.post_again(job) == 202
    until("it has run again", lambda: c.get(f"/jobs/{job}")["state"] == "FINISHED")
    c.kill("jm", "tm")
    c.instead = None
    c.start_flink()


def a_streaming_job_outlives_its_cluster_and_jobs(c):
    c.start("main", jvm("main", 256) + ["-Drest.address=127.0.0.1", f"-Drest.port={c.front}", "--jar", f"{c.work}/programs.jar", "--", "stream"])
    job = until("the job is reserved", lambda: c.named("stream"))
    until("checkpoints", lambda: c.latest(job) >= 3)
    c.kill("main")

    for silence in ["503 next-checkpoint-id", "503 checkpoints/"]:
        c.behave(silence)
        time.sleep(SILENCE_S)
        c.behave("")
        seen = c.latest(job)
        until("checkpoints go on", lambda: c.latest(job) > seen + 1)
    c.kill("double")
    time.sleep(SILENCE_S)
    c.start_jobs()
    seen = c.latest(job)
    until("checkpoints go on", lambda: c.latest(job) > seen + 1)
    # The JobManager fetches metrics only when it is asked for them, so that the first answer is
    # empty.
    restarts = until("metrics", lambda: c.get(f"/jobs/{job}/metrics?get=numRestarts"))
    assert restarts[0]["value"] == "0" and not c.get(f"/jobs/{job}/exceptions")["exceptionHistory"]["entries"], restarts

    c.kill("jm", "tm")
    seen = c.latest(job)
    c.start_flink()
    assert c.post_again(job) == 202
    until("it runs from its latest checkpoint", lambda: c.get(f"/jobs/{job}/checkpoints")["latest"]["restored"]["id"] == seen)
    until("checkpoints go on", lambda: c.latest(job) > seen + 1)
    assert c.post_again(job) == 500

    urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{c.rest}/jobs/{job}?mode=cancel", method="PATCH"))
    until("it is clean", lambda: c.kept()[job]["clean"])
    assert c.kept()[job]["ended"]["status"] == "CANCELED" and len(c.calls(f"{job}/end")) == 1
    ended = c.calls(f"{job}/end")[0]["at"]
    last = [call for call in c.calls(f"{job}/checkpoints") if call["method"] == "DELETE"][-1]
    assert last["at"] >= ended, "a checkpoint was dropped before the end was recorded"


def a_snapshot_that_is_not_the_jobs_is_kept(c):
    stream = ["-Drest.address=127.0.0.1", f"-Drest.port={c.front}", "--jar", f"{c.work}/programs.jar"]
    c.start("main", jvm("main", 256) + stream + ["--", "stream", "first"])
    first = until("the job is reserved", lambda: c.named("first"))
    until("checkpoints", lambda: c.latest(first) >= 2)
    ask = json.dumps({"target-directory": f"file://{c.work}/savepoints", "cancel-job": True}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{c.rest}/jobs/{first}/savepoints", ask, {"content-type": "application/json"})
    trigger = json.load(urllib.request.urlopen(request))["request-id"]
    done = lambda: c.get(f"/jobs/{first}/savepoints/{trigger}")["operation"]["location"]
    savepoint = until("the savepoint", done)
    until("it is clean", lambda: c.kept()[first]["clean"])
    c.kill("main")

    # The record is silent from the job's own first checkpoint on, so that the cluster dies while
    # the savepoint is all that the job has.
    until_id = c.kept()[first]["next"]
    c.behave(f"503 checkpoints/{until_id}")
    c.start("main", jvm("main", 256) + stream + ["--savepoint", savepoint, "--claim-mode", "NO_CLAIM", "--", "stream", "second"])
    second = until("the job is reserved", lambda: c.named("second"))
    until("it has tried", lambda: [x for x in c.calls(f"{second}/checkpoints/{until_id}") if x.get("status") == "503"])
    assert [x["savepoint"] for x in c.kept()[second]["checkpoints"].values()] == [True]
    c.kill("main", "jm", "tm")
    c.behave("")
    c.start_flink()
    assert c.post_again(second) == 202
    until("it has checkpoints of its own", lambda: c.latest(second) > until_id + 1)
    assert not [kept for kept in c.kept()[second]["checkpoints"].values() if kept["savepoint"]]
    assert os.path.exists(savepoint.removeprefix("file:") + "/_metadata"), "the savepoint was deleted"
    urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{c.rest}/jobs/{second}?mode=cancel", method="PATCH"))
    until("it is clean", lambda: c.kept()[second]["clean"])
    assert os.path.exists(savepoint.removeprefix("file:") + "/_metadata"), "the savepoint was deleted"


def a_superseded_cluster_halts(c):
    c.behave("409")
    with contextlib.suppress(Exception):
        c.post_again(c.named("collected"))
    assert c.processes["jm"].wait(30) == 23
    c.behave("")


class JavaSide(unittest.TestCase):
    """Runs the checks in this order, all on one cluster, which each leaves as the next one needs
    it."""

    checks = [
        programs_end_as_they_should,
        logs_are_ours_unless_a_configuration_is_named,
        an_ended_job_is_refused,
        control_an_ended_job_is_run_again_without_our_store_of_results,
        a_streaming_job_outlives_its_cluster_and_jobs,
        a_snapshot_that_is_not_the_jobs_is_kept,
        a_superseded_cluster_halts,
    ]
    succeeded = 0

    @classmethod
    def setUpClass(cls):
        try:
            jvm("main", 64)
        except (OSError, subprocess.CalledProcessError) as missing:
            if "MAINSPRING_ENGINE_FLINK_HOME" in os.environ:
                raise
            raise unittest.SkipTest(f"Flink is not set up: {missing}") from missing
        cls.cluster = Cluster(tempfile.mkdtemp(prefix="mainspring-flink-"))
        cls.addClassCleanup(cls.end)
        build_program(cls.cluster.work)
        cls.cluster.start_jobs()
        cls.cluster.start_flink()

    @classmethod
    def end(cls):
        cls.cluster.kill(*list(cls.cluster.processes))
        if cls.succeeded == len(cls.checks):
            shutil.rmtree(cls.cluster.work)
        else:
            print(f"what the JVMs said is in {cls.cluster.work}", file=sys.stderr)


def as_test(check):
    def test(self):
        check(self.cluster)
        JavaSide.succeeded += 1

    test.__doc__ = check.__doc__
    return test


for number, each in enumerate(JavaSide.checks):
    setattr(JavaSide, f"test_{number}_{each.__name__}", as_test(each))
