#!/usr/bin/env python3
"""An example client of mainspring.api.v1: submits, lists and follows applications. Needs grpcio and
grpcio-tools.

    mainspring_client.py submit PROGRAM [--id ID] [--artifact FILE]… [-- ARGUMENT…]   submit, print ID@GENERATION
    mainspring_client.py follow ID                                                    its states and events until it is clean
    mainspring_client.py list                                                         all applications

The host of the state directory has to run; `mainspring up` starts one. Exit code: 0, or 1 with the error on stderr;
`follow` mirrors the application (0 succeeded, 1 failed, 3 cancelled, 4 deadline exceeded).
"""

import argparse
import hashlib
import hmac
import json
import os
import pathlib
import random
import sys
import time
import typing
import uuid

import grpc
from google.protobuf import json_format

HERE = pathlib.Path(__file__).resolve().parent
# grpcio-tools makes the stubs from the .proto files when they are imported, and looks for the files
# in both directories.
sys.path += [str(HERE.parent.parent / "proto"), str(HERE)]
pb, services = grpc.protos_and_services("mainspring/api/v1/applications.proto")
app_pb = grpc.protos("mainspring/api/v1/application.proto")
spec_pb = grpc.protos("mainspring/api/v1/spec.proto")
rpc_pb = grpc.protos("google_rpc.proto")

DOMAIN = "mainspring"
EXIT_CODES = {
    app_pb.OUTCOME_SUCCEEDED: 0,
    app_pb.OUTCOME_FAILED: 1,
    app_pb.OUTCOME_CANCELLED: 3,
    app_pb.OUTCOME_DEADLINE_EXCEEDED: 4,
}


class Refused(Exception):
    """A call that the service answered with an error: the gRPC code, the stable reason, and what
    else the service said."""

    def __init__(self, error: grpc.RpcError):
        super().__init__(error.details())
        self.code: grpc.StatusCode = error.code()
        self.reason, self.metadata, self.retry_after_s, self.fields = "", {}, 0.0, []
        for key, value in error.trailing_metadata() or ():
            if key != "grpc-status-details-bin":
                continue
            for detail in rpc_pb.Status.FromString(value).details:
                if detail.Is(rpc_pb.ErrorInfo.DESCRIPTOR):
                    info = rpc_pb.ErrorInfo.FromString(detail.value)
                    if info.domain == DOMAIN:
                        self.reason, self.metadata = info.reason, dict(info.metadata)
                elif detail.Is(rpc_pb.RetryInfo.DESCRIPTOR):
                    self.retry_after_s = rpc_pb.RetryInfo.FromString(detail.value).retry_delay.ToTimedelta().total_seconds()
                elif detail.Is(rpc_pb.BadRequest.DESCRIPTOR):
                    violations = rpc_pb.BadRequest.FromString(detail.value).field_violations
                    self.fields = [(violation.field, violation.description) for violation in violations]

    def __str__(self) -> str:
        head = f"error[{self.reason}]" if self.reason else f"error[{self.code.name}]"
        return "\n".join([f"{head}: {self.args[0]}", *(f"  {path}: {what}" for path, what in self.fields)])


def state_directory() -> pathlib.Path:
    """The directory where the CLI keeps state, by the CLI's own rules."""
    chosen = os.environ.get("MAINSPRING_STATE_DIR")
    base = os.environ.get("XDG_STATE_HOME")
    return pathlib.Path(chosen or (pathlib.Path(base) / "mainspring" if base else pathlib.Path.home() / ".local/state/mainspring"))


def token(key_file: pathlib.Path) -> str:
    """The deployment's token: a claim and its HMAC under the deployment key (64 hex digits in a
    file of mode 0600)."""
    key = bytes.fromhex(key_file.read_text().strip())
    claim = "ms1.deployment"
    return f"{claim}.{hmac.new(key, claim.encode(), hashlib.sha256).hexdigest()}"


class Client:
    """The API of one host."""

    def __init__(self, state: pathlib.Path, stream_timeout_s: float | None = None):
        """`stream_timeout_s` is the longest that one stream may last, for callers that must not
        wait for ever."""
        self.stream_timeout_s = stream_timeout_s
        try:
            host = json.loads((state / "host.json").read_text())
        except FileNotFoundError:
            raise SystemExit(f"error[HOST_NOT_REACHABLE]: no host runs for {state}; start one with: mainspring up") from None
        endpoint = host["services"]["jobgraph-store"]["endpoint"]
        # grpcio would send the escaped path of a unix socket as :authority, which HTTP/2 servers
        # refuse.
        options = [("grpc.default_authority", "localhost")]
        self.channel = grpc.insecure_channel(endpoint.removeprefix("tcp://"), options)
        self.metadata = [("authorization", f"Bearer {token(state / 'deployment.key')}")]
        self.stub = services.ApplicationsServiceStub(self.channel)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_) -> None:
        self.channel.close()

    def call(self, name: str, request, patience_s: float = 10.0):
        """Makes one unary call, and repeats it while the service is away, because each call below
        is harmless to repeat."""
        deadline = time.monotonic() + patience_s
        pause_s = 0.05
        while True:
            try:
                return getattr(self.stub, name)(request, metadata=self.metadata, timeout=30)
            except grpc.RpcError as error:
                refused = Refused(error)
                if refused.code is not grpc.StatusCode.UNAVAILABLE or time.monotonic() > deadline:
                    raise refused from None
                time.sleep(max(pause_s, refused.retry_after_s) * random.uniform(0.5, 1.0))
                pause_s = min(pause_s * 2, 1.0)

    def stream(self, name: str, request) -> typing.Iterator:
        """The answers of a stream. A stream that breaks raises `Refused`; with UNAVAILABLE the
        caller asks again from where the stream broke off."""
        try:
            yield from getattr(self.stub, name)(request, metadata=self.metadata, timeout=self.stream_timeout_s)
        except grpc.RpcError as error:
            raise Refused(error) from None

    def submit(self, spec, request_id: str | None = None):
        """Submits an application. With the same request id a repeat answers what the first call
        did."""
        request = pb.SubmitRequest(
            request_id=request_id or str(uuid.uuid4()), spec=spec, requested_by=f"{os.environ.get('USER', 'nobody')}@python"
        )
        return self.call("Submit", request)

    def get(self, application_id: str, generation: int = 0):
        """One application; generation 0 is the latest."""
        return self.call("Get", pb.GetRequest(application_id=application_id, generation=generation)).application

    def list(self, page_size: int = 100) -> tuple[list, int]:
        """All applications, newest first, and the revision that all pages show."""
        found, page_token = [], ""
        while True:
            page = self.call("List", pb.ListRequest(page_size=page_size, page_token=page_token))
            found += page.applications
            page_token = page.next_page_token
            if not page_token:
                return found, page.revision

    def watch(self, application_id: str = "", generation: int = 0, after_revision: int = 0) -> typing.Iterator:
        """States that are newer than the revision, or that begin with a snapshot, without a gap,
        also while the service restarts."""
        while True:
            request = pb.WatchRequest(application_id=application_id, generation=generation, after_revision=after_revision)
            try:
                for answer in self.stream("Watch", request):
                    if answer.HasField("application"):
                        yield answer.application
                    else:
                        # Everything up to this revision was seen, so that the watch goes on from it
                        # after a break. A state is no such mark, because those of a snapshot come
                        # in no order of revisions.
                        mark = answer.snapshot_end if answer.HasField("snapshot_end") else answer.bookmark
                        after_revision = max(after_revision, mark.revision)
            except Refused as refused:
                if refused.reason == "COMPACTED":
                    after_revision = 0
                elif refused.code is not grpc.StatusCode.UNAVAILABLE:
                    raise
            time.sleep(random.uniform(0.05, 0.2))

    def follow(self, application_id: str, generation: int = 0) -> typing.Iterator:
        """The application each time that it has changed, the last time when it is clean."""
        for application in self.watch(application_id, generation):
            yield application
            if application.clean:
                return

    def events(self, application_id: str, generation: int = 0, after: int = 0, follow: bool = False) -> typing.Iterator:
        """The events, oldest first; with `follow` until the application is clean."""
        while True:
            request = pb.EventsRequest(
                application_id=application_id, generation=generation, after_event_id=after, follow=follow
            )
            try:
                for answer in self.stream("Events", request):
                    after = answer.event.event_id
                    yield answer.event
                return
            except Refused as refused:
                if refused.code is not grpc.StatusCode.UNAVAILABLE:
                    raise
            time.sleep(random.uniform(0.05, 0.2))

    def output(self, application_id: str, generation: int = 0, stream: str = "stdout") -> bytes:
        """What main() has written to stdout or stderr so far."""
        request = pb.ReadLogsRequest(application_id=application_id, generation=generation, roles=["main"])
        lines = [line for answer in self.stream("ReadLogs", request) for line in answer.lines if line.stream == stream]
        return b"".join(line.text + (b"" if line.partial else b"\n") for line in lines)


def spec_of(program: str, application_id: str = "", artifacts: typing.Sequence[str] = (), arguments: typing.Sequence[str] = ()):
    """The spec of a program for the embedded engine. Paths are made absolute, because the host has
    another working directory."""
    return spec_pb.ApplicationSpec(
        application_id=application_id,
        program=spec_pb.Program(uri=uri(program), arguments=arguments),
        artifacts=[spec_pb.ArtifactReference(uri=uri(artifact)) for artifact in artifacts],
        engine="datafusion",
        target="local",
    )


def uri(path: str) -> str:
    """A URI as it is, or an absolute path for a path."""
    return path if "://" in path else str(pathlib.Path(path).resolve())


def word(message, field: str) -> str:
    """The word for people, such as `RUNNING` for PHASE_RUNNING."""
    value = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number[getattr(message, field)]
    return value.name.removeprefix(f"{field.upper()}_")


def one_line(application) -> str:
    """An application in one line for people."""
    phase = word(application, "phase")
    said = word(application, "outcome") if application.clean else phase
    stale = " STALE" if application.observation.stale else ""
    line = f"{application.application_id}@{application.generation} {said}{stale} {application.message}".rstrip()
    return "; ".join([line, *troubles(application), *(f"left over: {what}" for what in application.leftovers)])


def troubles(application) -> list[str]:
    """What cannot be done now and is tried again, each with its way out; these are the conditions
    that are false for a reason."""
    if application.clean:
        return []
    false = [c for c in application.conditions if c.status == app_pb.CONDITION_STATUS_FALSE and c.reason]
    return [f"{condition.type} not yet ({condition.reason}): {condition.message}" for condition in false]


def follow(client: Client, application_id: str) -> int:
    """Prints events as JSON lines while they come; the exit code mirrors the application."""
    for event in client.events(application_id, follow=True):
        print(json.dumps(json_format.MessageToDict(event)), flush=True)
    for application in client.follow(application_id):
        print(one_line(application), file=sys.stderr)
    return EXIT_CODES.get(application.outcome, 1)


def main() -> int:
    """Parses the command line and runs its command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state-dir", type=pathlib.Path, default=state_directory())
    verbs = parser.add_subparsers(dest="verb", required=True)
    submit = verbs.add_parser("submit")
    submit.add_argument("program")
    submit.add_argument("--id", default="")
    submit.add_argument("--artifact", action="append", default=[])
    submit.add_argument("--request-id")
    submit.add_argument("arguments", nargs="*")
    verbs.add_parser("follow").add_argument("id")
    verbs.add_parser("list")
    given = parser.parse_args()
    with Client(given.state_dir) as client:
        try:
            if given.verb == "submit":
                spec = spec_of(given.program, given.id, given.artifact, given.arguments)
                application = client.submit(spec, given.request_id).application
                print(f"{application.application_id}@{application.generation}")
            elif given.verb == "follow":
                return follow(client, given.id)
            else:
                for application in client.list()[0]:
                    print(one_line(application))
        except Refused as refused:
            print(refused, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
