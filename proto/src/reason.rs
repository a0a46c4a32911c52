//! The one list of error reasons: the same word on the wire (`google.rpc.ErrorInfo`), in JSON, in the record and on
//! the terminal (`error[REASON]: …`). A reason is never renamed; its text for people may improve.

use std::fmt;
use std::str::FromStr;

/// In the metadata of `APPLICATION_NOT_FOUND`: the record once held that generation, and forgot it.
pub const FORGOTTEN: &str = "forgotten";

/// Declares the reasons once: variant, the word itself, what it means.
macro_rules! reasons {
    ($($variant:ident $word:literal $meaning:literal)*) => {
        /// Why something was refused, failed or ended. Stable.
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

            /// One sentence for documentation.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
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

/// A word that is no reason of this build: a newer peer may have sent it.
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
    CredentialMissing "CREDENTIAL_MISSING" "The call carries no credential."
    CredentialInvalid "CREDENTIAL_INVALID" "The credential is not one of this deployment."
    CredentialScope "CREDENTIAL_SCOPE" "The credential is for something else: another attempt, cluster or service."
    // what was asked
    IdMalformed "ID_MALFORMED" "An application id, job id, digest or number is not well-formed."
    RequestInvalid "REQUEST_INVALID" "The request contradicts itself or lacks a part."
    SpecInvalid "SPEC_INVALID" "The application's spec has a value that cannot work; the field's path is named."
    OptionMeaningless "OPTION_MEANINGLESS" "The option means nothing to this engine."
    SettingUnknown "SETTING_UNKNOWN" "The engine knows no such setting."
    EngineNotFound "ENGINE_NOT_FOUND" "There is no executable called mainspring-ENGINE."
    EngineNotSetUp "ENGINE_NOT_SET_UP" "The engine's own software is not installed on this machine."
    TargetUnknown "TARGET_UNKNOWN" "There is no such target in this build."
    PageTokenInvalid "PAGE_TOKEN_INVALID" "The page token is not one that this service gave out."
    MessageTooLarge "MESSAGE_TOO_LARGE" "A message is over the size limit."
    // applications
    ApplicationNotFound "APPLICATION_NOT_FOUND" "The record holds no such application or generation."
    ApplicationExists "APPLICATION_EXISTS" "The last generation of this id is not clean yet."
    RequestIdReused "REQUEST_ID_REUSED" "The request id was used before, with other content."
    AlreadyEnded "ALREADY_ENDED" "The application's end is recorded and will not change."
    NotEnded "NOT_ENDED" "The application has not ended and was not asked to."
    NotClean "NOT_CLEAN" "The application is not clean: it runs, or is being cleaned up."
    ApplicationEnding "APPLICATION_ENDING" "The application is ending and takes no further job."
    JobNotFound "JOB_NOT_FOUND" "The application has no such job."
    JobNotRunning "JOB_NOT_RUNNING" "No job runs that could be asked for this."
    SavepointUnsupported "SAVEPOINT_UNSUPPORTED" "The engine has no savepoints."
    SavepointFailed "SAVEPOINT_FAILED" "The savepoint was not taken."
    ResultNotReady "RESULT_NOT_READY" "The job has not ended yet."
    ResultNone "RESULT_NONE" "The job brought back no rows."
    Compacted "COMPACTED" "Changes that old are no longer kept: list again."
    // fences and the record
    EpochSuperseded "EPOCH_SUPERSEDED" "A later leader has taken over: stop."
    IncarnationSuperseded "INCARNATION_SUPERSEDED" "A later incarnation of the cluster has begun: stop."
    RevisionMoved "REVISION_MOVED" "The record changed since it was read: read again."
    StoreUnavailable "STORE_UNAVAILABLE" "The record cannot be reached right now; nothing was done."
    StoreFull "STORE_FULL" "The record's disk is full or read-only."
    PayloadMissing "PAYLOAD_MISSING" "The bytes of this digest are not in the record: put them again."
    DataCorrupt "DATA_CORRUPT" "What is on the disk is not what was written there; the file is named."
    PayloadDigestMismatch "PAYLOAD_DIGEST_MISMATCH" "The bytes have another digest than was said."
    JobsNotEnded "JOBS_NOT_ENDED" "The application cannot end while a job has no end."
    OutputNotPublished "OUTPUT_NOT_PUBLISHED" "The application cannot end while a committed output is unpublished."
    SavepointPending "SAVEPOINT_PENDING" "The application cannot end while a savepoint that was asked for has no result."
    JobNameTaken "JOB_NAME_TAKEN" "Another execute() of this attempt uses the same job name."
    TooManyCheckpoints "TOO_MANY_CHECKPOINTS" "The record keeps as many checkpoints of the job as it can."
    JournalValueTooLarge "JOURNAL_VALUE_TOO_LARGE" "A once() value is over its limit."
    // artifacts
    ArtifactUriInvalid "ARTIFACT_URI_INVALID" "The URI is malformed, or of a scheme that this build does not fetch."
    ArtifactNotFound "ARTIFACT_NOT_FOUND" "There is nothing at this URI."
    ArtifactNotReachable "ARTIFACT_NOT_REACHABLE" "The artifact's source does not answer."
    ArtifactNotReadable "ARTIFACT_NOT_READABLE" "The artifact exists and cannot be read."
    ArtifactDigestMismatch "ARTIFACT_DIGEST_MISMATCH" "The artifact's bytes have another digest than was asked for."
    ArtifactRedirects "ARTIFACT_REDIRECTS" "The artifact's source redirects in a loop or too often."
    ArtifactNotCached "ARTIFACT_NOT_CACHED" "The cache holds no such artifact."
    CacheFull "CACHE_FULL" "The artifact cache has no room, or its disk has none."
    // programs
    ProgramUnsupported "PROGRAM_UNSUPPORTED" "The engine cannot run this kind of program."
    ProgramNotExecutable "PROGRAM_NOT_EXECUTABLE" "The program cannot be executed on this machine."
    ProgramInvalid "PROGRAM_INVALID" "The program has an error; line and column are named."
    StatementUnsupported "STATEMENT_UNSUPPORTED" "The statement cannot be kept as a job graph."
    MainExited "MAIN_EXITED" "main() exited with a code other than 0."
    MainKilled "MAIN_KILLED" "main() was ended by a signal."
    MainNotStarted "MAIN_NOT_STARTED" "main() could not be started."
    MainDiverged "MAIN_DIVERGED" "The re-executed main() asks for another job than the recorded one."
    MainNotRepeatable "MAIN_NOT_REPEATABLE" "main() was cut off and must not be executed again."
    UnnamedJobOverlaps "UNNAMED_JOB_OVERLAPS" "An unnamed execute() while another is in flight: name your jobs."
    GraphTooLarge "GRAPH_TOO_LARGE" "The job graph is over its size limit."
    GraphDigestMismatch "GRAPH_DIGEST_MISMATCH" "The graph's bytes have another digest than was said."
    GraphUnreadable "GRAPH_UNREADABLE" "The stored graph cannot be read by this engine."
    // ends
    Cancelled "CANCELLED" "Somebody asked for a cancel."
    DeadlineExceeded "DEADLINE_EXCEEDED" "The application's deadline passed."
    Abandoned "ABANDONED" "It was given up: main() left without it, or somebody asked to."
    JobFailed "JOB_FAILED" "A job failed in the engine."
    JobLost "JOB_LOST" "A ready cluster denies the job and it may not be run again."
    ClusterKeepsDying "CLUSTER_KEEPS_DYING" "Three incarnations in a row died without a job's end or a checkpoint."
    ClusterNotReady "CLUSTER_NOT_READY" "The cluster did not become ready."
    ContenderGaveUp "CONTENDER_GAVE_UP" "A runner met an error that another start would not cure; it is not started again."
    // clusters and processes
    NotAdopted "NOT_ADOPTED" "The cluster has no leader yet: adopt it first."
    PlanInvalid "PLAN_INVALID" "The engine's plan contradicts itself."
    RoleExited "ROLE_EXITED" "A process of the cluster exited before it was ready."
    RoleNotReady "ROLE_NOT_READY" "A process of the cluster did not become ready in time."
    TetherReplaced "TETHER_REPLACED" "Another owner has claimed this tether."
    TreeAlive "TREE_ALIVE" "Processes below the tether are alive."
    // output
    OutputTargetTaken "OUTPUT_TARGET_TAKEN" "The target holds the output of another generation or of somebody else."
    OutputNotWritable "OUTPUT_NOT_WRITABLE" "The target cannot be written."
    OutputLost "OUTPUT_LOST" "A committed file is neither staged nor published."
    // services
    HostNotReachable "HOST_NOT_REACHABLE" "No host answers for this state directory."
    HostFull "HOST_FULL" "The host runs as many applications as it has room for: this one waits for its turn."
    HostRuns "HOST_RUNS" "A host runs already for this state directory."
    HostIncompatible "HOST_INCOMPATIBLE" "The host runs another build whose protocol does not fit."
    Overloaded "OVERLOADED" "The service has as many calls as it takes: try again."
    TimedOut "TIMED_OUT" "The call took longer than its deadline; its outcome is unknown."
    WaitTimedOut "WAIT_TIMED_OUT" "What was waited for has not come true in time."
    Internal "INTERNAL" "A defect of ours; the trace id finds it in the logs."
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
}
