//! The one list of error reasons. A reason is the same word on the wire (`google.rpc.ErrorInfo`),
//! in JSON, in the record and on the terminal (`error[REASON]: …`). It is never renamed; its text
//! for people may improve.

use std::fmt;
use std::str::FromStr;

use tonic::Code;

/// A key in the metadata of `APPLICATION_NOT_FOUND`: the record once held that generation, and
/// forgot it.
pub const FORGOTTEN: &str = "forgotten";

/// Declares the reasons once: variant, the word itself, the gRPC code of a call that is refused for
/// it, `retry` where the same call may succeed later with nothing else changed, what it means, and
/// the way out.
macro_rules! reasons {
    ($($variant:ident $word:literal $code:ident $($retry:ident)? $meaning:literal $remedy:literal)*) => {
        /// Why something was refused, failed or ended. The words are stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            $(#[doc = $meaning] $variant,)*
        }

        impl Reason {
            /// Every reason there is, in the order of documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The stable word, such as `MAIN_EXITED`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// The code of a call that is refused for this reason, whichever service refuses it.
            pub fn code(self) -> Code {
                match self { $(Self::$variant => Code::$code,)* }
            }

            /// Whether the same call may succeed later although nothing else has changed.
            pub fn is_retryable(self) -> bool {
                match self { $(Self::$variant => !stringify!($($retry)?).is_empty(),)* }
            }

            /// What happened, in one sentence for documentation.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }

            /// The way out, in one sentence for the `help:` line under an error.
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy,)* }
            }
        }

        impl FromStr for Reason {
            type Err = UnknownReason;

            fn from_str(word: &str) -> Result<Self, UnknownReason> {
                match word {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(UnknownReason(word.to_owned())),
                }
            }
        }
    };
}

/// A word that is no reason of this build. A newer peer may have sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a reason that this build knows")]
pub struct UnknownReason(pub String);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

reasons! {
    // who calls
    CredentialMissing "CREDENTIAL_MISSING" Unauthenticated
        "The call carries no credential."
        "calls need this deployment's key: use the state directory of the host (--state-dir), as its owner"
    CredentialInvalid "CREDENTIAL_INVALID" Unauthenticated
        "The credential is not one of this deployment."
        "calls need this deployment's key: use the state directory of the host (--state-dir), as its owner"
    CredentialScope "CREDENTIAL_SCOPE" PermissionDenied
        "The credential is for something else: another attempt, cluster or service."
        "this credential is for something narrower: call with the deployment's key instead"
    CertificateInvalid "CERTIFICATE_INVALID" Unavailable retry
        "One side of a TLS connection does not accept the certificate of the other; nothing was done."
        "mainspring certs show tells names, CA and end of a certificate; mainspring doctor looks at this process's own; renewed files take effect by themselves"

    // what was asked
    IdMalformed "ID_MALFORMED" InvalidArgument
        "An application id, job id, digest or number is not well-formed."
        "an application id has 1 to 63 characters of a-z, 0-9 and -, and begins and ends with a letter or digit"
    RequestInvalid "REQUEST_INVALID" InvalidArgument
        "The request contradicts itself or lacks a part."
        "see `mainspring <verb> --help` for what goes together"
    SpecInvalid "SPEC_INVALID" InvalidArgument
        "The application's spec has a value that cannot work; the field's path is named."
        "correct the value at the path that is named; `--dry-run -o yaml` shows the whole spec"
    OptionMeaningless "OPTION_MEANINGLESS" InvalidArgument
        "The option means nothing to this engine."
        "leave the option out, or choose the engine that it is for with --engine"
    SettingUnknown "SETTING_UNKNOWN" InvalidArgument
        "The engine knows no such setting."
        "check the spelling after -D; the engine's page in docs/ lists its settings"
    EngineNotFound "ENGINE_NOT_FOUND" FailedPrecondition
        "There is no executable called mainspring-ENGINE."
        "put mainspring-<engine> beside mainspring or on PATH, or name its directory in MAINSPRING_ENGINE_PATH; `mainspring doctor` shows what is found"
    EngineNotSetUp "ENGINE_NOT_SET_UP" FailedPrecondition
        "The engine's own software is not installed on this machine."
        "mainspring setup ENGINE installs it, once; `mainspring doctor` shows what is missing"
    TargetUnknown "TARGET_UNKNOWN" InvalidArgument
        "There is no such target in this build."
        "-t local (or no -t) starts processes on this machine; -t static with -m HOST:PORT uses a Flink session cluster"
    PageTokenInvalid "PAGE_TOKEN_INVALID" InvalidArgument
        "The page token is not one that this service gave out."
        "start the listing again from its first page"
    MessageTooLarge "MESSAGE_TOO_LARGE" ResourceExhausted
        "A message is over the size limit."
        "send less in one message: files belong into --artifact, not into arguments"

    // applications
    ApplicationNotFound "APPLICATION_NOT_FOUND" NotFound
        "The record holds no such application or generation."
        "mainspring list shows the applications of this state directory"
    ApplicationExists "APPLICATION_EXISTS" AlreadyExists
        "The last generation of this id is not clean yet."
        "--if-exists attach watches the one that is there, replace cancels it first; or choose another --application-id"
    RequestIdReused "REQUEST_ID_REUSED" AlreadyExists
        "The request id was used before, with other content."
        "a request id stands for one wish: choose another --request-id, or repeat the same content"
    AlreadyEnded "ALREADY_ENDED" FailedPrecondition
        "The application's end is recorded and will not change."
        "nothing is left to ask for: mainspring status shows how it ended"
    NotEnded "NOT_ENDED" FailedPrecondition
        "The application has not ended and was not asked to."
        "cancel it first: mainspring cancel ID"
    NotClean "NOT_CLEAN" FailedPrecondition
        "The application is not clean: it runs, or is being cleaned up."
        "wait for it, or cancel it: mainspring cancel ID --wait"
    ApplicationEnding "APPLICATION_ENDING" FailedPrecondition
        "The application is ending and takes no further job."
        "the application was cancelled or has ended: submit it anew"
    JobNotFound "JOB_NOT_FOUND" NotFound
        "The application has no such job."
        "mainspring jobs lists the jobs of an application"
    JobNotRunning "JOB_NOT_RUNNING" FailedPrecondition
        "No job runs that could be asked for this."
        "mainspring jobs shows which jobs run: only those can be asked"
    SavepointUnsupported "SAVEPOINT_UNSUPPORTED" FailedPrecondition
        "The engine has no savepoints."
        "savepoints are for the flink engine; mainspring cancel ends an application of any"
    SavepointFailed "SAVEPOINT_FAILED" FailedPrecondition
        "The savepoint was not taken."
        "correct what is named and ask again; the job goes on unless it has ended (mainspring jobs)"
    TooManySavepoints "TOO_MANY_SAVEPOINTS" ResourceExhausted
        "As many savepoints of the application are asked for as can be."
        "wait until those that are asked for are taken"
    ResultNotReady "RESULT_NOT_READY" FailedPrecondition
        "The job has not ended yet."
        "wait for it: mainspring wait ID --for job=NAME"
    ResultNone "RESULT_NONE" FailedPrecondition
        "The job brought back no rows."
        "the job wrote its rows to a target instead: mainspring jobs shows where"
    Compacted "COMPACTED" OutOfRange
        "Changes that old are no longer kept: list again."
        "begin again from the present state"

    // fences and the record
    EpochSuperseded "EPOCH_SUPERSEDED" FailedPrecondition
        "A later leader has taken over: stop."
        "nothing to do: a later one is at work"
    IncarnationSuperseded "INCARNATION_SUPERSEDED" FailedPrecondition
        "A later incarnation of the cluster has begun: stop."
        "nothing to do: a later one is at work"
    IncarnationElsewhere "INCARNATION_ELSEWHERE" FailedPrecondition
        "The incarnation of the cluster belongs to another host, which alone starts its processes."
        "nothing to do: the leader begins another incarnation on its own host"
    PlacesNotReleased "PLACES_NOT_RELEASED" FailedPrecondition
        "Another host has not ended yet what it ran of this application's clusters."
        "start that host again; if it never comes back: mainspring host give-up NAME, or for one application mainspring abandon ID"
    RevisionMoved "REVISION_MOVED" Aborted
        "The record changed since it was read: read again."
        "another process changed the record at the same moment: try again"
    StoreUnavailable "STORE_UNAVAILABLE" Unavailable retry
        "The record cannot be reached right now; nothing was done."
        "try again; mainspring doctor shows what is wrong with the host"
    StoreFull "STORE_FULL" ResourceExhausted
        "The record's disk is full or read-only."
        "make room on the disk of the state directory (mainspring doctor names it); work goes on by itself then"
    PayloadMissing "PAYLOAD_MISSING" NotFound
        "The bytes of this digest are not in the record: put them again."
        "try again: the bytes are sent anew"
    DataCorrupt "DATA_CORRUPT" DataLoss
        "What is on the disk is not what was written there; the file is named."
        "restore the file that is named from a copy; without one, submit the application anew (mainspring doctor looks at all files)"
    PayloadDigestMismatch "PAYLOAD_DIGEST_MISMATCH" InvalidArgument
        "The bytes have another digest than was said."
        "try again: the bytes are sent anew"
    JobsNotEnded "JOBS_NOT_ENDED" FailedPrecondition
        "The application cannot end while a job has no end."
        "nothing to do: the application ends once its jobs have"
    OutputNotPublished "OUTPUT_NOT_PUBLISHED" FailedPrecondition
        "The application cannot end while a committed output is unpublished."
        "make the target writable, or give the output up: mainspring abandon ID"
    SavepointPending "SAVEPOINT_PENDING" FailedPrecondition
        "The application cannot end while a savepoint that was asked for has no result."
        "nothing to do: the application ends once it is known what became of its savepoints"
    JobNameTaken "JOB_NAME_TAKEN" AlreadyExists
        "Another execute() of this attempt uses the same job name."
        "give each execute() a name of its own"
    TooManyCheckpoints "TOO_MANY_CHECKPOINTS" ResourceExhausted
        "The record keeps as many checkpoints of the job as it can."
        "let the engine keep fewer checkpoints, and dispose of old savepoints"
    JournalValueTooLarge "JOURNAL_VALUE_TOO_LARGE" InvalidArgument
        "A once() value is over its limit."
        "keep large values in a file and its name in the once() step"

    // hosts
    HostNameTaken "HOST_NAME_TAKEN" AlreadyExists
        "Another host of the deployment has this name."
        "end the other host; a host gets a name of its own with a new state directory"
    HostNotFound "HOST_NOT_FOUND" NotFound
        "The deployment has no such host, and the record knows no process of one."
        "mainspring host list shows the hosts by name"
    HostLives "HOST_LIVES" FailedPrecondition
        "The host is there, and ends by itself what it runs."
        "only a host that never comes back is given up: end this one with mainspring down"
    HostSuperseded "HOST_SUPERSEDED" Aborted
        "Another process attends as this host."
        "one state directory is one host: a copy of it needs to be made anew (remove its host-id file while nothing runs)"
    LocationLocal "LOCATION_LOCAL" InvalidArgument
        "The path is of one host, and the deployment has several."
        "name a path below the directory that the hosts share (MAINSPRING_SHARED_DIR), or a URL"

    // artifacts
    ArtifactUriInvalid "ARTIFACT_URI_INVALID" InvalidArgument
        "The URI is malformed, or of a scheme that this build does not fetch."
        "write a path, file://, local://, http:// or https://"
    ArtifactNotFound "ARTIFACT_NOT_FOUND" NotFound
        "There is nothing at this URI."
        "check the path or address; relative paths begin at the current directory"
    ArtifactNotReachable "ARTIFACT_NOT_REACHABLE" Unavailable
        "The artifact's source does not answer."
        "check the host's name and the network, then run it again"
    ArtifactNotReadable "ARTIFACT_NOT_READABLE" FailedPrecondition
        "The artifact exists and cannot be read."
        "make it a file that this user may read: chmod +r"
    ArtifactDigestMismatch "ARTIFACT_DIGEST_MISMATCH" FailedPrecondition
        "The artifact's bytes have another digest than was asked for."
        "the file is not the one that was meant: correct #sha256=… or get the right file"
    ArtifactRedirects "ARTIFACT_REDIRECTS" FailedPrecondition
        "The artifact's source redirects in a loop or too often."
        "name the final address"
    ArtifactNotCached "ARTIFACT_NOT_CACHED" NotFound
        "The cache holds no such artifact."
        "fetch the artifact first"
    CacheFull "CACHE_FULL" ResourceExhausted
        "The artifact cache has no room, or its disk has none."
        "make room on the disk of the state directory, or raise the cache's limit"

    // programs
    ProgramUnsupported "PROGRAM_UNSUPPORTED" InvalidArgument
        "The engine cannot run this kind of program."
        "choose the engine for this kind of program with --engine"
    ProgramNotExecutable "PROGRAM_NOT_EXECUTABLE" InvalidArgument
        "The program cannot be executed on this machine."
        "it has to be a program for this machine: chmod +x it, or build it for this architecture"
    ProgramInvalid "PROGRAM_INVALID" InvalidArgument
        "The program has an error; line and column are named."
        "correct the program at the place that is named"
    StatementUnsupported "STATEMENT_UNSUPPORTED" InvalidArgument
        "The statement cannot be kept as a job graph."
        "docs/sql.md lists what can be a job, and what to write instead"
    MainExited "MAIN_EXITED" FailedPrecondition
        "main() exited with a code other than 0."
        "mainspring logs ID --role main"
    MainKilled "MAIN_KILLED" FailedPrecondition
        "main() was ended by a signal."
        "mainspring logs ID --role main; if it was the kernel's OOM killer, give the machine or its control group more memory"
    MainNotStarted "MAIN_NOT_STARTED" FailedPrecondition
        "main() could not be started."
        "mainspring logs ID --role contender tells what the system said"
    MainDiverged "MAIN_DIVERGED" FailedPrecondition
        "The re-executed main() asks for another job than the recorded one."
        "make main() ask for the same jobs each time; submit it anew to run the new ones"
    MainNotRepeatable "MAIN_NOT_REPEATABLE" FailedPrecondition
        "main() was cut off and must not be executed again."
        "look at what main() did already (mainspring logs ID --role main), then submit it anew"
    UnnamedJobOverlaps "UNNAMED_JOB_OVERLAPS" FailedPrecondition
        "An unnamed execute() while another is in flight: name your jobs."
        "name your jobs: execute(name, …)"
    GraphTooLarge "GRAPH_TOO_LARGE" ResourceExhausted
        "The job graph is over its size limit."
        "put data into files, not into the graph (64 MiB is its limit)"
    GraphDigestMismatch "GRAPH_DIGEST_MISMATCH" InvalidArgument
        "The graph's bytes have another digest than was said."
        "run it again; if it repeats, the program and mainspring are of different builds"
    GraphUnreadable "GRAPH_UNREADABLE" InvalidArgument
        "The stored graph cannot be read by this engine."
        "it was stored by another major version of the engine: run that version, or submit the application anew"

    // ends
    Cancelled "CANCELLED" Cancelled
        "A caller asked for a cancel."
        "submit it anew when it is wanted again"
    DeadlineExceeded "DEADLINE_EXCEEDED" DeadlineExceeded
        "The application's deadline passed."
        "give it longer: --deadline"
    Abandoned "ABANDONED" FailedPrecondition
        "A job, an output or a teardown was given up: main() ended without the job, or a caller abandoned it."
        "mainspring status ID lists what was left behind"
    JobFailed "JOB_FAILED" FailedPrecondition
        "A job failed in the engine."
        "mainspring jobs names the job; mainspring logs ID --role ROLE tells more (worker, taskmanager)"
    JobLost "JOB_LOST" FailedPrecondition
        "A ready cluster denies the job and it may not be run again."
        "submit the application anew, from a checkpoint if there is one"
    ClusterKeepsDying "CLUSTER_KEEPS_DYING" FailedPrecondition
        "Three incarnations in a row died without a job's end or a checkpoint."
        "mainspring logs ID --role ROLE tells why its processes end (worker, jobmanager, taskmanager); memory is the most frequent cause"
    ClusterNotReady "CLUSTER_NOT_READY" FailedPrecondition
        "The cluster did not become ready."
        "mainspring logs ID --role ROLE tells why its processes end (worker, jobmanager, taskmanager); memory is the most frequent cause"
    ClusterUnavailable "CLUSTER_UNAVAILABLE" Unavailable retry
        "The engine's cluster does not answer right now; nothing was done."
        "nothing to do: it is asked again; mainspring status shows the cluster"
    ContenderGaveUp "CONTENDER_GAVE_UP" FailedPrecondition
        "A runner met an error that another start would not cure; it is not started again."
        "correct what mainspring status names; then mainspring down and any verb start it again, and so does a new wish (mainspring cancel)"

    // clusters and processes
    NotAdopted "NOT_ADOPTED" FailedPrecondition
        "The cluster has no leader yet: adopt it first."
        "nothing to do: a leader adopts the cluster in a moment"
    PlanInvalid "PLAN_INVALID" InvalidArgument
        "The engine's plan contradicts itself."
        "the engine contradicts itself: mainspring and mainspring-<engine> are probably of different builds"
    RoleExited "ROLE_EXITED" FailedPrecondition
        "A process of the cluster exited before it was ready."
        "mainspring logs ID --role ROLE tells why its processes end (worker, jobmanager, taskmanager); memory is the most frequent cause"
    RoleNotReady "ROLE_NOT_READY" DeadlineExceeded
        "A process of the cluster did not become ready in time."
        "mainspring logs ID --role ROLE tells why its processes end (worker, jobmanager, taskmanager); memory is the most frequent cause"
    TetherReplaced "TETHER_REPLACED" Aborted
        "Another owner has claimed this tether."
        "nothing to do: another owner took over"
    TreeAlive "TREE_ALIVE" FailedPrecondition
        "Processes below the tether are alive."
        "end what is left by hand (mainspring status names the pids), or mainspring abandon"

    // output
    OutputTargetTaken "OUTPUT_TARGET_TAKEN" FailedPrecondition
        "The target holds output that this generation did not write."
        "choose another --output, remove what is there, or add to it with --append"
    OutputNotWritable "OUTPUT_NOT_WRITABLE" Unavailable retry
        "The target cannot be written."
        "make the target writable and its disk not full; publishing goes on by itself then"
    OutputLost "OUTPUT_LOST" FailedPrecondition
        "A committed file is neither staged nor published."
        "another program removed committed files: submit the application anew"

    // services
    HostNotReachable "HOST_NOT_REACHABLE" Unavailable
        "No host answers for this state directory."
        "mainspring doctor shows what is there; mainspring up --state-dir DIR shows why it does not start"
    HostFull "HOST_FULL" ResourceExhausted
        "The host runs as many applications as it has room for: this one waits for its turn."
        "nothing to do: its turn comes when others end; mainspring up --max-running N makes more room"
    HostRuns "HOST_RUNS" FailedPrecondition
        "A host runs already for this state directory."
        "use it: every verb finds it; mainspring down ends it"
    HostIncompatible "HOST_INCOMPATIBLE" FailedPrecondition
        "The host runs another build whose protocol does not fit, or its record has an entry of a newer build."
        "end the other build's host with its own `mainspring down`, or use another --state-dir"
    Overloaded "OVERLOADED" ResourceExhausted retry
        "The service has no room for the call right now: try again."
        "try again in a moment"
    TimedOut "TIMED_OUT" DeadlineExceeded retry
        "The call took longer than its deadline; its outcome is unknown."
        "ask what came of it: mainspring status"
    WaitTimedOut "WAIT_TIMED_OUT" DeadlineExceeded
        "What was waited for has not come true in time."
        "wait longer with --timeout; the application goes on"
    Internal "INTERNAL" Internal
        "A defect of ours; the trace id finds it in the logs."
        "a defect of mainspring: the logs under the state directory have the trace id; please report it"
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_reason_reads_back_and_no_two_share_a_word() {
        let mut words: Vec<_> = Reason::ALL.iter().map(|r| r.as_str()).collect();
        for &reason in Reason::ALL {
            assert_eq!(reason.as_str().parse::<Reason>().unwrap(), reason);
            assert!(reason.as_str().bytes().all(|b| b.is_ascii_uppercase() || b == b'_'));
        }
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Reason::ALL.len());
    }

    #[test]
    fn every_reason_has_a_way_out_in_one_sentence() {
        for &reason in Reason::ALL {
            let text = reason.remedy();
            assert!(text.len() >= 15, "{reason}: {text:?} says nothing");
            assert!(
                !text.ends_with('.') && !text.contains('\n') && !text.contains("  "),
                "{reason}: {text:?}"
            );
        }
    }

    /// What a comment promises, as `` `NotFound` JOB_NOT_FOUND ``: the code and the reasons after
    /// it, up to the next code.
    fn promised(comment: &str) -> Vec<(String, Reason)> {
        let mut code = String::new();
        let mut promised = Vec::new();
        for word in
            comment.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '`' || c == '.'))
        {
            match word
                .strip_prefix('`')
                .and_then(|rest| rest.trim_end_matches('.').strip_suffix('`'))
            {
                Some(quoted) => code = quoted.to_owned(),
                None => promised.extend(
                    word.trim_end_matches('.').parse().map(|reason| (code.clone(), reason)),
                ),
            }
            if word.ends_with('.') {
                code.clear();
            }
        }
        promised.retain(|(code, _)| {
            Reason::ALL.iter().any(|reason| format!("{:?}", reason.code()) == *code)
        });
        promised
    }

    #[test]
    fn the_contract_promises_each_reason_with_its_code() {
        let mut paths =
            vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/mainspring"))];
        let (mut count, mut others) = (0, Vec::new());
        while let Some(path) = paths.pop() {
            if path.is_dir() {
                paths.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let comments: Vec<_> =
                text.lines().filter_map(|line| line.trim().strip_prefix("//")).collect();
            for (code, reason) in promised(&comments.join(" ")) {
                count += 1;
                let is = format!("{:?}", reason.code());
                if is != code {
                    others.push(format!("{}: {reason} is {is}, not {code}", path.display()));
                }
            }
        }
        assert!(others.is_empty(), "{}", others.join("\n"));
        assert!(
            count > 50,
            "only {count} promises were found: the comments are written otherwise now"
        );
    }

    /// A caller that knows the reason and one that knows only the code (a proxy, a client in
    /// another language) act alike.
    #[test]
    fn a_code_that_asks_for_another_try_belongs_to_a_reason_that_allows_it() {
        for &reason in Reason::ALL {
            let retryable = matches!(
                reason.code(),
                Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded
            );
            assert!(retryable || !reason.is_retryable(), "{reason} is {:?}", reason.code());
        }
    }
}
