"""Tests of what the sections of bench_hosts/ compute, and of how they end a host."""

import math
import os
import pathlib
import signal
import subprocess
import tempfile
import unittest
from unittest import mock

from bench_flink.machine import cost
from bench_hosts import figures, graphs, take_over
from bench_hosts.etcd import Etcd
from bench_hosts.host import Host


class Figures(unittest.TestCase):
    """A goal is judged by the value that is shown."""

    def test_a_quantile_is_one_of_the_values(self):
        hundred = [float(number) for number in range(100, 0, -1)]
        for part, value in [(0.5, 50), (0.99, 99), (1, 100), (0, 1)]:
            with self.subTest(part):
                self.assertEqual(value, figures.quantile(hundred, part))
        self.assertEqual(2, figures.quantile([1, 2], 0.99))

    def test_a_goal_that_is_just_met_is_reached(self):
        for value, sign, verdict in [
            (1.0, "≤", "reached"),
            (1.1, "≤", "missed"),
            (math.inf, "≤", "missed"),
            (1.0, "≥", "reached"),
            (0.9, "≥", "missed"),
        ]:
            with self.subTest(f"{value} {sign} 1"):
                self.assertEqual(f"goal {sign} 1: {verdict}", figures.judged(value, sign, 1))
        self.assertEqual("goal p99 ≤ 0.3 s: missed", figures.judged(1, "≤", 0.3, "p99", "s"))

    def test_pairs_of_rounds_are_compared(self):
        # The second pair has a slow machine on both sides.
        found = graphs.rounds("etcd 1 5 10\nvalue 2 10 20\ngraph 4 1 1\netcd 3 9 9\nvalue 6 9 9\n")
        self.assertEqual((0.5, 2.0), graphs.compared(found, "value"))
        self.assertEqual([(1.0, [5.0, 10.0]), (3.0, [9.0, 9.0])], found["etcd"])


class TakeOver(unittest.TestCase):
    """The times of a take-over are those of the next leader."""

    def test_a_time_of_the_record_has_nine_digits_or_none(self):
        whole = take_over.moment("2026-11-30T13:56:19Z")
        self.assertEqual(1796046979, whole)
        part = take_over.moment("2026-11-30T13:56:19.250000001Z") - whole
        self.assertAlmostEqual(0.25, part, places=6)

    def test_the_next_epoch_counts_and_no_later_one(self):
        self.assertEqual(7.0, take_over.first_after(2, {1: 5.0, 2: 6.0, 3: 7.0, 4: 8.0}))
        self.assertRaises(ValueError, take_over.first_after, 4, {4: 8.0})


class Metrics(unittest.TestCase):
    """A metric is the sum over its labels."""

    PAGE = b"""# HELP size a comment that names size 9
size_total 5
size 2.5e+01
sent{grpc_method="LeaseKeepAlive",grpc_type="bidi"} 17
sent{grpc_method="Put",grpc_type="unary"} 4
"""

    def test_a_metric_is_found_by_its_whole_name(self):
        etcd = Etcd.__new__(Etcd)
        with mock.patch.object(Etcd, "_asked", return_value=self.PAGE):
            self.assertEqual(25, etcd.metric("size"))
            self.assertEqual(21, etcd.metric("sent"))
            self.assertEqual(17, etcd.metric("sent", 'grpc_method="LeaseKeepAlive"'))
            self.assertRaises(RuntimeError, etcd.metric, "total")


class Cost(unittest.TestCase):
    """What a command reads is counted, or no bytes of an artifact would mean nothing."""

    def test_a_file_that_a_command_reads_is_seen(self):
        with tempfile.TemporaryDirectory() as directory:
            file, log = pathlib.Path(directory, "file"), pathlib.Path(directory, "log")
            file.write_bytes(bytes(1 << 20))
            read = [
                cost(command, dict(os.environ), log)["read"]
                for command in (["sha256sum", str(file)], ["sha256sum", "/dev/null"])
            ]
        self.assertGreaterEqual(read[0] - read[1], 1 << 20)


class LostHost(unittest.TestCase):
    """A host is lost with all that belongs to it, and alone."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = pathlib.Path(directory.name).resolve()

    def host(self, name):
        """A host that was never started."""
        root = self.root / name
        root.mkdir()
        return Host(self.root, root, {})

    def started(self, environment):
        """A process that waits, with these variables."""
        process = subprocess.Popen(["sleep", "60"], env={"PATH": os.environ["PATH"], **environment})
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def test_what_belongs_to_a_host_ends_and_a_namesake_lives(self):
        host, other = self.host("h1"), self.host("h10")
        state, mark = "MAINSPRING_STATE_DIR", "MAINSPRING_OWNER"
        service = self.started({state: str(host.state)})
        main = self.started({mark: f"{host._mark()}/orders/1/attempt/1"})
        strangers = [
            self.started({state: str(other.state)}),
            self.started({state: f"{host.state}-2"}),
            self.started({mark: f"{other._mark()}/orders/1/attempt/1"}),
            self.started({"TMPDIR": str(host.state)}),
        ]
        self.assertEqual({service.pid, main.pid}, set(host.alive()))
        # The test is the parent, so that the dead are alive to /proc until they are waited for.
        with mock.patch("bench_hosts.host.eventually"):
            host.kill()
        for process in [service, main]:
            self.assertEqual(-signal.SIGKILL, process.wait(timeout=10))
        self.assertEqual([], host.alive())
        self.assertEqual([None] * len(strangers), [process.poll() for process in strangers])

    def test_contenders_are_those_of_one_application(self):
        host = self.host("h")
        line = b"mainspring\0serve\0app-runner\0"
        seen = [
            (1, line, b"m/orders/1/contender/0"),
            (2, b"mainspring\0tether\0", b"m/orders/1/contender/0"),
            (3, line, b"m/orders-2/1/contender/0"),
            (4, b"sleep\0", b"m/orders/1/attempt/1"),
        ]
        with (
            mock.patch.object(Host, "_processes", return_value=seen),
            mock.patch.object(Host, "_mark", return_value="m"),
        ):
            self.assertEqual([1], host.contenders("orders"))


if __name__ == "__main__":
    unittest.main()
