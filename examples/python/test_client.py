"""The example client against a host of its own. MAINSPRING_BIN names the binary; all state is below
TMPDIR."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest
import uuid

import grpc
from google.protobuf import json_format

import mainspring_client as ms

BINARY = os.environ.get("MAINSPRING_BIN", str(ms.HERE.parent.parent / "target/debug/mainspring"))
GOOD = "-- job: kept\nCOPY (SELECT 1 AS n) TO 'kept' STORED AS CSV;\n-- job: shown\nSELECT 41 + 1 AS answer;\n"
BAD = "-- job: broken\nSELECT 1 / (n - 1) AS never FROM (VALUES (1)) AS t(n);\n"
PATIENCE_S = 60


class TestClient(unittest.TestCase):
    """All tests use one host: `mainspring up`, ended with `mainspring down`."""

    @classmethod
    def setUpClass(cls):
        root = tempfile.TemporaryDirectory(prefix="py")
        cls.addClassCleanup(root.cleanup)
        cls.root = pathlib.Path(root.name).resolve()
        cls.state = cls.root / "state"
        cls.environment = {k: v for k, v in os.environ.items() if not k.startswith("MAINSPRING_")}
        cls.environment |= {"MAINSPRING_STATE_DIR": str(cls.state), "MAINSPRING_HOST_LINGER": "0s", "NO_COLOR": "1"}
        up = subprocess.Popen([BINARY, "up", "--host-linger", "10m"], env=cls.environment, cwd=cls.root)
        cls.addClassCleanup(cls.end, up)
        deadline = time.monotonic() + PATIENCE_S
        while not (cls.state / "host.json").exists():
            if up.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the host did not become ready; up: {up.poll()}")
            time.sleep(0.02)
        cls.client = ms.Client(cls.state, stream_timeout_s=PATIENCE_S)
        cls.addClassCleanup(cls.client.channel.close)

    @classmethod
    def end(cls, up: subprocess.Popen):
        """Ends the host, whether the tests have passed or failed."""
        try:
            cls.mainspring("down", "--yes")
            up.wait(PATIENCE_S)
        finally:
            up.kill()
            up.wait()

    @classmethod
    def mainspring(cls, *arguments: str) -> str:
        """Runs the CLI, and answers its stdout."""
        command = [BINARY, *arguments]
        done = subprocess.run(command, env=cls.environment, cwd=cls.root, timeout=PATIENCE_S, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{command}: {done.returncode}\n{done.stderr}")
        return done.stdout

    def script(self, text: str) -> str:
        """Writes a program into a file of its own."""
        path = self.root / f"s{uuid.uuid4().hex[:8]}.sql"
        path.write_text(text)
        return str(path)

    def submitted(self, text: str = GOOD, **spec):
        """Submits an application."""
        return self.client.submit(ms.spec_of(self.script(text), **spec)).application

    def ended(self, application):
        """Waits for the application until it is clean."""
        states = list(self.client.follow(application.application_id, application.generation))
        return states[-1]

    def refusal(self, call, *arguments) -> ms.Refused:
        """The refusal of a call that must be refused."""
        with self.assertRaises(ms.Refused) as caught:
            call(*arguments)
        return caught.exception

    def test_a_run_is_followed_from_its_submission_to_clean(self):
        application = self.submitted()
        states = list(self.client.follow(application.application_id))
        last = states[-1]
        self.assertTrue(last.clean and last.terminal)
        self.assertEqual(ms.word(last, "outcome"), "SUCCEEDED", last.message)
        self.assertFalse(any(state.clean for state in states[:-1]))
        self.assertEqual([job.name for job in sorted(last.jobs, key=lambda job: job.ordinal)], ["kept", "shown"])

        events = list(self.client.events(application.application_id))
        kinds = [event.kind for event in events]
        self.assertEqual((kinds[0], kinds[-1]), ("submitted", "clean"))
        self.assertEqual(sorted({event.event_id for event in events}), [event.event_id for event in events])
        self.assertLess({"leader", "artifact", "cluster", "main", "job", "published", "ended"}, set(kinds))
        middle = events[len(events) // 2].event_id
        self.assertEqual(events[len(events) // 2 + 1 :], list(self.client.events(application.application_id, after=middle)))
        self.assertIn(b"42", self.client.output(application.application_id))

    def test_a_repeated_submission_answers_the_first_one(self):
        request_id, spec = str(uuid.uuid4()), ms.spec_of(self.script(GOOD))
        first = self.client.submit(spec, request_id)
        again = self.client.submit(spec, request_id)
        self.assertEqual((first.accepted_earlier, again.accepted_earlier), (False, True))
        self.assertEqual(first.application.application_id, again.application.application_id)
        self.assertEqual(first.application.generation, again.application.generation)
        other = ms.spec_of(self.script(BAD))
        refused = self.refusal(self.client.submit, other, request_id)
        self.assertEqual((refused.code, refused.reason), (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED"))
        self.ended(first.application)

    def test_list_then_watch_has_no_gap(self):
        before = self.ended(self.submitted())
        applications, revision = self.client.list(page_size=1)
        self.assertIn(before.application_id, [application.application_id for application in applications])
        later = self.submitted()
        seen = []
        for application in self.client.watch(after_revision=revision):
            self.assertGreater(application.revision, revision)
            seen.append(application.application_id)
            if application.application_id == later.application_id and application.clean:
                break
        self.assertNotIn(before.application_id, seen, "it had not changed since")

    def test_a_failed_application_says_why(self):
        application = self.submitted(BAD)
        last = self.ended(application)
        self.assertEqual(ms.word(last, "outcome"), "FAILED")
        self.assertEqual(last.reason, "MAIN_EXITED")
        command = [sys.executable, str(ms.HERE / "mainspring_client.py"), "follow", application.application_id]
        done = subprocess.run(command, env=self.environment, timeout=PATIENCE_S, capture_output=True, text=True)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(json.loads(done.stdout.splitlines()[-1])["kind"], "clean")

    def test_a_bad_spec_is_refused_with_the_path_of_the_field(self):
        refused = self.refusal(self.client.submit, ms.spec_pb.ApplicationSpec(engine="datafusion"))
        self.assertEqual((refused.code, refused.reason), (grpc.StatusCode.INVALID_ARGUMENT, "SPEC_INVALID"))
        self.assertIn("spec.program", [path for path, _ in refused.fields])

    def test_what_does_not_exist_is_not_found(self):
        refused = self.refusal(self.client.get, "nobody-made-this")
        self.assertEqual((refused.code, refused.reason), (grpc.StatusCode.NOT_FOUND, "APPLICATION_NOT_FOUND"))

    def test_a_call_without_the_deployments_credential_is_refused(self):
        stranger = ms.Client(self.state)
        self.addCleanup(stranger.channel.close)
        for metadata, reason in [
            ([], "CREDENTIAL_MISSING"),
            ([("authorization", "Bearer ms1.deployment." + "0" * 64)], "CREDENTIAL_INVALID"),
        ]:
            stranger.metadata = metadata
            refused = self.refusal(stranger.list)
            self.assertEqual((refused.code, refused.reason), (grpc.StatusCode.UNAUTHENTICATED, reason))

    def test_an_output_that_cannot_be_published_is_told_and_given_up(self):
        target = self.root / "taken"
        script = f"-- job: kept\nCOPY (SELECT 1 AS n, 2 AS m) TO '{target}/' STORED AS CSV PARTITIONED BY (m);\n"
        spec = ms.spec_of(self.script(script), application_id="taken")
        target.mkdir()
        (target / "m=2").write_text("in the way")
        application = self.client.submit(spec).application
        told = next(state for state in self.client.follow("taken") if state.terminal or ms.troubles(state))
        self.assertIn("Published not yet (OUTPUT_NOT_WRITABLE)", ms.one_line(told), told)
        self.assertIn("RUNNING", ms.one_line(told))
        self.client.call("Cancel", ms.pb.CancelRequest(application_id="taken"))
        self.client.call("Abandon", ms.pb.AbandonRequest(application_id="taken", reason="enough"))
        last = self.ended(application)
        self.assertEqual(ms.word(last, "outcome"), "CANCELLED")
        self.assertIn("left over: output of job \"kept\"", ms.one_line(last))
        self.assertEqual(ms.troubles(last), [])

    def test_the_cli_prints_the_json_mapping(self):
        last = self.ended(self.submitted())
        name = f"{last.application_id}@{last.generation}"
        printed = json.loads(self.mainspring("status", name, "-o", "json"))
        application = self.client.get(last.application_id, last.generation)
        mapped = json_format.MessageToDict(application, always_print_fields_with_no_presence=True)
        # The age in it differs from call to call.
        for answer in (printed, mapped):
            answer.pop("observation", None)
        self.assertEqual(printed, mapped)


if __name__ == "__main__":
    unittest.main()
