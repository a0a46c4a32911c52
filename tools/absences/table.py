"""What must not be where: the data of `tools/absences`.

The order is that of ARCHITECTURE's section "Invariants of absence". A place is a file, or a
directory with a `/` at its end. Each place that may do what others must not has its reason, and a
permission that its place does not need any more is an error, too, so these lists only shrink.
"""

import dataclasses

SERVICES = ["app-runner", "artifact-fetcher", "jobgraph-store", "leader-elector", "lifecycle"]
ENGINES = ["jobs-service", "mainspring-datafusion", "mainspring-flink"]

# The crates that only tests link, so all that they hold is test code.
OF_TESTS = ["e2e", "sim", "trespass"]

# The crates of the workspace that each crate depends on, in what ships.
CRATES = {
    "proto": [],
    "record": ["proto"],
    "chassis": ["proto"],
    "redb-file": ["chassis"],
    "etcd": ["chassis"],
    "client": ["chassis", "proto", "record"],
    "app-runner": ["chassis", "client", "proto", "record"],
    "artifact-fetcher": ["chassis", "client", "proto"],
    "jobgraph-store": ["chassis", "client", "etcd", "proto", "record", "redb-file"],
    "leader-elector": ["chassis", "client", "etcd", "proto", "redb-file"],
    "lifecycle": ["chassis", "client", "proto", "record"],
    "jobs-service": ["chassis", "client", "proto", "record"],
    "mainspring-datafusion": ["chassis", "client", "jobs-service", "proto", "record"],
    "mainspring-flink": ["chassis", "client", "jobs-service", "proto", "record"],
    "mainspring-sdk": ["chassis", "client", "mainspring-datafusion", "proto"],
    "mainspring": [*SERVICES, "chassis", "client", "proto"],
    "delays": ["mainspring-sdk"],
    "sim": ["chassis"],
    "trespass": ["chassis", "proto"],
    "e2e": [],
}

# The crates that the tests of any crate may link besides, each with its reason.
FOR_TESTS = {
    "app-runner": "sim runs its contenders",
    "chassis": "e2e speaks to the built binaries over its channels",
    "client": "e2e asks the services as their callers do",
    "e2e": "starts the servers of backends, and issues certificates",
    "etcd": "sim leads its stores and electors to an etcd in memory",
    "jobgraph-store": "the tests of its callers run over the real record",
    "leader-elector": "sim runs its service over an etcd in memory",
    "proto": "e2e reads and writes the contract",
    "record": "e2e asks for the record as leaders do",
    "sim": "serves an etcd in memory, on a clock that a law moves",
    "trespass": "tries every method of a service with every kind of token",
}

# The crates that link a library which is the affair of one crate, or of a few.
LIBRARIES = {
    "datafusion": ["mainspring-datafusion", "mainspring-sdk"],
    "redb": ["jobgraph-store", "leader-elector", "redb-file"],
    "etcd-client": ["etcd", "jobgraph-store", "leader-elector", "sim"],
    "opendal": ["jobgraph-store"],
    "opendal-http-transport-reqwest": ["jobgraph-store"],
    "reqwest": ["artifact-fetcher", "jobgraph-store"],
    "axum": ["mainspring-flink"],
    "opentelemetry-prometheus": ["chassis"],
    "prometheus": ["chassis"],
    "rustls": ["chassis"],
    "tokio-rustls": ["chassis"],
    "rcgen": ["e2e", "mainspring"],
    "x509-parser": ["mainspring"],
}

# The files that every service has, below its directory.
ROOMS = [
    "README.md",
    "src/lib.rs",
    "src/config.rs",
    "src/model.rs",
    "src/service.rs",
    "src/grpc.rs",
    "src/grpc/status.rs",
    "src/error.rs",
]


@dataclasses.dataclass(frozen=True)
class Absence:
    """A pattern of code that stands in a few places only."""

    name: str
    # The pattern that is looked for, in code without comments, texts and tests.
    pattern: str
    # What a contributor does instead, as the message says it.
    remedy: str
    # The files that may have the pattern, each with its reason.
    places: dict[str, str] = dataclasses.field(default_factory=dict)
    # The files that are looked at, and the rooms that may have the pattern in every crate.
    within: str = r"\.rs$"
    rooms: str = r"$^"


GRPC = r"/grpc(\.rs$|/)"
MODEL = r"/model(\.rs$|/.*\.rs$)"
GENERATED = r"\b(?!etcd_)\w+_(?:client|server)::"

ABSENCES = [
    Absence(
        "assembly",
        r"(?<!:)\b(?:app_runner|artifact_fetcher|jobgraph_store|leader_elector|lifecycle)::",
        "speak proto to the service, or add to `cli/src/serve.rs` what has to run inside it",
        {"cli/src/serve.rs": "the one file that links the services"},
        within=r"^cli/.*\.rs$",
    ),
    Absence(
        "model",
        rf"\b(?:tonic|tokio|fs|net|thread|env)::|{GENERATED}|\basync\b|\.await\b|"
        r"\b(?:Shared)?Clock\b|\b(?:Instant|SystemTime)::now\b|\bprocess::Command\b",
        "pass the fact into the model as a value, and act on its decision in service.rs",
        within=MODEL,
    ),
    Absence(
        "wire",
        rf"\btonic(?:_\w+)?::|{GENERATED}",
        "translate in grpc.rs, or call the peer through `client`; codes are `proto::Code`",
        {
            "proto/": "makes and holds the generated modules, and what a refusal is on the wire",
            "chassis/src/": "the server and client stacks",
            "client/src/": "the typed clients",
            "etcd/src/error.rs": "etcd's refusals are read from a status",
            "record/src/error.rs": "the record's errors are read from a status and become one",
            "app-runner/src/error.rs": "asks for one gRPC code",
            "app-runner/src/lib.rs": "builds the routes that grpc.rs could build",
        },
        rooms=GRPC,
    ),
    Absence(
        "refusals",
        r"\bfor (?:tonic::)?Status\b",
        "map the crate's errors to statuses in grpc/status.rs",
        {
            "proto/src/problem.rs": "a problem becomes the status that carries it",
            "record/src/error.rs": "the record's errors become what the store answers with",
            "chassis/src/tasks.rs": "a task that failed ends the stream that waits for it",
        },
        rooms=r"/grpc/status\.rs$",
    ),
    Absence(
        "redb-file",
        r"\bDatabase::(?:builder|create|open)|\bredb::Builder\b",
        "open the file through `redb-file`, which looks whether it is whole",
        {"redb-file/src/lib.rs": "opens the files of store and elector"},
    ),
    Absence(
        "etcd",
        r"\betcd_client::",
        "call etcd in the backend of the store or of the elector, through the crate `etcd`",
        {
            "etcd/src/": "finds a member that answers",
            "jobgraph-store/src/store/etcd/": "the record's transactions",
            "jobgraph-store/src/store/etcd.rs": "the record's transactions",
            "leader-elector/src/election/etcd/board.rs": "the transactions of elections",
            "leader-elector/src/election/etcd/seats.rs": "reads the keys of elections",
            "leader-elector/src/election/standbys/roll.rs": "tells the other electors who waits here",
            "leader-elector/src/hosts/etcd/register.rs": "reads and takes the seats of hosts",
        },
    ),
    Absence(
        "renames",
        r"\bfs::(?:rename|hard_link)\b",
        "use `chassis::disk`, which makes the name durable",
        {
            "chassis/src/disk.rs": "makes names durable",
            "app-runner/src/ports/workspace.rs": "a directory that each runner fills anew",
            "artifact-fetcher/src/cache.rs": "a cache: what is lost is fetched again",
            "artifact-fetcher/src/cache/incoming.rs": "a cache: what is lost is fetched again",
            "artifact-fetcher/src/cache/place.rs": "a directory that each runner fills anew",
            "cli/src/host/file.rs": "host.json tells of processes, and none outlives a power loss",
            "client/src/outbox.rs": "moves a whole directory, which is found in either place",
            "engines/datafusion/src/publish.rs": "syncs each directory once, after all its files",
            "engines/flink/src/setup.rs": "set-up: what is not whole is made again",
            "engines/flink/src/setup/plugin.rs": "set-up: what is not whole is fetched again",
            "engines/flink/src/setup/wheel.rs": "set-up: what is not whole is unpacked again",
        },
    ),
    Absence(
        "processes",
        r"\bprocess::(?:Command\b|\{[^}]*\bCommand\b)|\bCommand::new\b",
        "have lifecycle start it as a role, or `client::tether` as a tether",
        {
            "client/src/tether.rs": "starts tethers",
            "lifecycle/src/tether/tree.rs": "starts what a tether keeps",
            "cli/src/host/ensure.rs": "starts `up`, which outlives its caller",
            "cli/src/host/service.rs": "starts the services of the host, which outlive `up`",
            "cli/src/engine.rs": "asks an engine's executable, which ends with the command",
            "cli/src/context/credential.rs": "a context's command, which ends with this one",
            "engines/flink/src/launch.rs": "becomes a JVM, under the tether it has",
            "engines/flink/src/setup/command.rs": "set-up runs compilers and installers",
        },
    ),
    Absence(
        "sockets",
        r"\b(?:Tcp|Unix)(?:Listener|Stream|Datagram|Socket)\b|\bUdpSocket\b",
        "listen and connect through the injected `chassis::transport::Transport`",
        {"chassis/src/transport/os.rs": "binds and connects"},
    ),
    Absence(
        "clocks",
        r"\b(?:Instant|SystemTime)::now\b|\btokio::time\b|\bthread::sleep\b|\bclock_gettime\b",
        "take a `SharedClock`, and ask for `boot()`, `wall()` or `sleep()`",
        {
            "chassis/src/clock/system.rs": "the system's clock behind the trait",
            "chassis/src/tasks/watchdog.rs": "a thread that has to work when no task does",
        },
    ),
    Absence(
        "tasks",
        r"\btokio::spawn\b|\btask::spawn(?:_local)?\b|\bJoinSet::new\b|"
        r"\bruntime::(?:Builder|Handle)\b",
        "spawn on a `chassis::tasks::TaskSet`, or as `owned` or `fed`",
        {
            "chassis/src/tasks.rs": "spawns, under a name and an owner",
            "chassis/src/runtime.rs": "the runtime of every process",
            "chassis/src/http.rs": "one task for a connection, ended with its server",
            "app-runner/src/service/attempt.rs": "verbs under way, ended with the attempt",
            "cli/src/host/reconcile.rs": "calls under way, ended with the reconciler",
            "cli/src/live/follow.rs": "streams, ended with what follows them",
            "cli/src/live/watch.rs": "calls under way, ended with the watch",
            "engines/datafusion/src/execute.rs": "a runtime whose threads carry deep recursion",
            "engines/datafusion/src/worker/queries.rs": "one query, awaited or dropped",
            "lifecycle/src/tether.rs": "a runtime of one thread: a tether is tiny",
        },
    ),
    Absence(
        "threads",
        r"\bspawn_blocking\b|\bblock_in_place\b|\bthread::(?:spawn|scope|Builder)\b",
        "use the async form; where there is none, name the file and what bounds the thread",
        {
            "artifact-fetcher/src/cache/incoming.rs": "digests beside writing, within one call",
            "artifact-fetcher/src/service.rs": "the cache's files; awaited",
            "artifact-fetcher/src/service/transfer.rs": "the cache's files; awaited",
            "chassis/src/tasks/watchdog.rs": "a thread that has to work when no task does",
            "chassis/src/telemetry.rs": "flushes traces within a bound; awaited",
            "chassis/src/telemetry/metrics.rs": "flushes numbers within a bound; awaited",
            "cli/src/host/retention.rs": "removes and counts directories; awaited",
            "cli/src/verb/forget.rs": "removes directories; awaited",
            "engines/datafusion/src/describe/grpc.rs": "publishes and sweeps files; awaited",
            "engines/flink/src/describe/grpc.rs": "sweeps directories; awaited",
            "jobgraph-store/src/blobs/fs.rs": "syncs files; awaited",
            "jobgraph-store/src/blobs/fs/mount.rs": "looks at a mount, which may hang; awaited",
            "jobgraph-store/src/examine.rs": "looks at every payload, within a bound; awaited",
            "jobgraph-store/src/store/embedded.rs": "the one writer, whose end is the process's",
            "leader-elector/src/election/single/desk.rs": "writes a grant durably; awaited",
            "lifecycle/src/substrate/local.rs": "reads what a dead tether left; awaited",
            "lifecycle/src/tether/grpc.rs": "reads output; awaited",
            "lifecycle/src/tether/output.rs": "writes output; awaited",
            "lifecycle/src/tether/tree.rs": "becomes what the child is to be, within one call",
            "sdk/src/executor/by_hand.rs": "publishes files; awaited",
        },
    ),
    Absence(
        "panics",
        r"\.unwrap(?:_err)?\(\)|\b(?:panic|todo|unimplemented|unreachable)!",
        "return an error; where it cannot fail, `expect` says why",
    ),
    Absence(
        "expects",
        # `self.expect(…)` is a method of this workspace.
        r"(?<!\bself)\.expect(?:_err)?\(",
        "return an error, or name the file and what makes the case impossible",
        {
            "chassis/src/clock/manual.rs": "a channel whose other end is held",
            "chassis/src/credential.rs": "a credential was checked when it was made",
            "chassis/src/credential/key.rs": "HMAC takes keys of any length",
            "chassis/src/server/connection.rs": "a semaphore that is never closed",
            "chassis/src/server/reflection.rs": "descriptors of this build",
            "cli/src/json.rs": "descriptors and types of one build",
            "cli/src/verb/savepoint.rs": "the record holds no malformed id",
            "client/src/election/talk.rs": "a new queue has room",
            "engines/datafusion/src/defaults.rs": "a constant",
            "engines/datafusion/src/execute/stage.rs": "a path that was found below its root",
            "engines/datafusion/src/graph/wire.rs": "a buffer that grows",
            "engines/datafusion/src/script.rs": "a list that begins with one element",
            "engines/datafusion/src/session.rs": "a constant",
            "engines/datafusion/src/worker/job.rs": "a semaphore that is never closed",
            "engines/datafusion/src/worker/queries.rs": "a runtime that only `drop` takes",
            "engines/flink/src/describe/grpc.rs": "plain data as JSON",
            "jobgraph-store/src/blobs/fs.rs": "a digest's hex digits",
            "jobgraph-store/src/keys.rs": "a buffer that grows",
            "leader-elector/src/election/embedded.rs": "a file that was opened above; plain data",
            "leader-elector/src/grpc.rs": "a lease of seconds",
            "leader-elector/src/service.rs": "a campaign that was asked for above",
            "lifecycle/src/service/detail.rs": "plain data as JSON",
            "lifecycle/src/tether/tree.rs": "a child that was started with pipes",
            "sdk/src/executor/by_hand.rs": "a constant",
        },
    ),
    Absence(
        "jvm",
        r"\bio\.grpc\b",
        "speak HTTP to `mainspring-flink` on the same host",
        within=r"\.java$",
    ),
]
