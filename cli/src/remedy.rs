//! What to do about each reason: the `help:` line under an error. Exhaustive, so that a new reason needs a way out.

use proto::Reason;

/// The way out for people, one sentence.
pub(crate) fn remedy(reason: Reason) -> &'static str {
    use Reason as R;
    match reason {
        R::CredentialMissing | R::CredentialInvalid => {
            "calls need this deployment's key: use the state directory of the host (--state-dir), as its owner"
        }
        R::CredentialScope => {
            "this credential is for something narrower: call with the deployment's key instead"
        }
        R::IdMalformed => {
            "an application id has 1 to 63 characters of a-z, 0-9 and -, and begins and ends with a letter or digit"
        }
        R::RequestInvalid => "see `mainspring <verb> --help` for what goes together",
        R::SpecInvalid => {
            "correct the value at the path that is named; `--dry-run -o yaml` shows the whole spec"
        }
        R::OptionMeaningless => "leave the option out, or choose the engine that it is for with --engine",
        R::SettingUnknown => "check the spelling after -D; the engine's page in docs/ lists its settings",
        R::EngineNotFound => {
            "put mainspring-<engine> beside mainspring or on PATH, or name its directory in MAINSPRING_ENGINE_PATH; \
             `mainspring doctor` shows what is found"
        }
        R::EngineNotSetUp => {
            "mainspring setup ENGINE installs it, once; `mainspring doctor` shows what is missing"
        }
        R::TargetUnknown => {
            "-t local (or no -t) starts processes on this machine; -t static with -m HOST:PORT uses a Flink session cluster"
        }
        R::PageTokenInvalid => "start the listing again from its first page",
        R::MessageTooLarge => "send less in one message: files belong into --artifact, not into arguments",
        R::ApplicationNotFound => "mainspring list shows the applications of this state directory",
        R::ApplicationExists => {
            "--if-exists attach watches the one that is there, replace cancels it first; or choose another --application-id"
        }
        R::RequestIdReused => {
            "a request id stands for one wish: choose another --request-id, or repeat the same content"
        }
        R::AlreadyEnded => "nothing is left to ask for: mainspring status shows how it ended",
        R::NotEnded => "cancel it first: mainspring cancel ID",
        R::NotClean => "wait for it, or cancel it: mainspring cancel ID --wait",
        R::ApplicationEnding => "the application was cancelled or has ended: submit it anew",
        R::JobNotFound => "mainspring jobs lists the jobs of an application",
        R::JobNotRunning => "mainspring jobs shows which jobs run: only those can be asked",
        R::SavepointUnsupported => {
            "savepoints are for the flink engine; mainspring cancel ends an application of any"
        }
        R::SavepointFailed => {
            "correct what is named and ask again; the job goes on unless it has ended (mainspring jobs)"
        }
        R::SavepointPending => {
            "nothing to do: the application ends once it is known what became of its savepoints"
        }
        R::ResultNotReady => "wait for it: mainspring wait ID --for job=NAME",
        R::ResultNone => "the job wrote its rows to a target instead: mainspring jobs shows where",
        R::Compacted => "begin again from the present state",
        R::EpochSuperseded | R::IncarnationSuperseded => "nothing to do: a later one is at work",
        R::RevisionMoved => "somebody else changed it at the same moment: try again",
        R::StoreUnavailable => "try again; mainspring doctor shows what is wrong with the host",
        R::StoreFull => {
            "make room on the disk of the state directory (mainspring doctor names it); work goes on by itself then"
        }
        R::PayloadMissing | R::PayloadDigestMismatch => "try again: the bytes are sent anew",
        R::DataCorrupt => {
            "restore the file that is named from a copy; without one, submit the application anew (mainspring doctor looks at all files)"
        }
        R::JobsNotEnded => "nothing to do: the application ends once its jobs have",
        R::OutputNotPublished => "make the target writable, or give the output up: mainspring abandon ID",
        R::JobNameTaken => "give each execute() a name of its own",
        R::TooManyCheckpoints => "let the engine keep fewer checkpoints, and dispose of old savepoints",
        R::JournalValueTooLarge => "keep large values in a file and its name in the once() step",
        R::ArtifactUriInvalid => "write a path, file://, local://, http:// or https://",
        R::ArtifactNotFound => "check the path or address; relative paths begin at the current directory",
        R::ArtifactNotReachable => "check the host's name and the network, then run it again",
        R::ArtifactNotReadable => "make it a file that this user may read: chmod +r",
        R::ArtifactDigestMismatch => {
            "the file is not the one that was meant: correct #sha256=… or get the right file"
        }
        R::ArtifactRedirects => "name the final address",
        R::ArtifactNotCached => "fetch the artifact first",
        R::CacheFull => "make room on the disk of the state directory, or raise the cache's limit",
        R::ProgramUnsupported => "choose the engine for this kind of program with --engine",
        R::ProgramNotExecutable => {
            "it has to be a program for this machine: chmod +x it, or build it for this architecture"
        }
        R::ProgramInvalid => "correct the program at the place that is named",
        R::StatementUnsupported => "docs/sql.md lists what can be a job, and what to write instead",
        R::MainExited => "mainspring logs ID --role main",
        R::MainKilled => {
            "mainspring logs ID --role main; if it was the kernel's OOM killer, give the machine or its control group more memory"
        }
        R::MainNotStarted => "mainspring logs ID --role contender tells what the system said",
        R::MainDiverged => "make main() ask for the same jobs each time; submit it anew to run the new ones",
        R::MainNotRepeatable => {
            "look at what main() did already (mainspring logs ID --role main), then submit it anew"
        }
        R::UnnamedJobOverlaps => "name your jobs: execute(name, …)",
        R::GraphTooLarge => "put data into files, not into the graph (64 MiB is its limit)",
        R::GraphDigestMismatch => {
            "run it again; if it repeats, the program and mainspring are of different builds"
        }
        R::GraphUnreadable => {
            "it was stored by another major version of the engine: run that version, or submit the application anew"
        }
        R::Cancelled => "submit it anew when it is wanted again",
        R::DeadlineExceeded => "give it longer: --deadline",
        R::Abandoned => "mainspring status ID lists what was left behind",
        R::JobFailed => {
            "mainspring jobs names the job; mainspring logs ID --role ROLE tells more (worker, taskmanager)"
        }
        R::JobLost => "submit the application anew, from a checkpoint if there is one",
        R::ClusterKeepsDying | R::ClusterNotReady | R::RoleExited | R::RoleNotReady => {
            "mainspring logs ID --role ROLE tells why its processes end (worker, jobmanager, taskmanager); memory is the most frequent cause"
        }
        R::ContenderGaveUp => {
            "correct what mainspring status names; then mainspring down and any verb start it again, and so does a new wish (mainspring cancel)"
        }
        R::NotAdopted => "nothing to do: a leader adopts the cluster in a moment",
        R::PlanInvalid => {
            "the engine contradicts itself: mainspring and mainspring-<engine> are probably of different builds"
        }
        R::TetherReplaced => "nothing to do: another owner took over",
        R::TreeAlive => "end what is left by hand (mainspring status names the pids), or mainspring abandon",
        R::OutputTargetTaken => "choose another --output, remove what is there, or add to it with --append",
        R::OutputNotWritable => {
            "make the target writable and its disk not full; publishing goes on by itself then"
        }
        R::OutputLost => "somebody removed committed files: submit the application anew",
        R::HostNotReachable => {
            "mainspring doctor shows what is there; mainspring up --state-dir DIR shows why it does not start"
        }
        R::HostFull => {
            "nothing to do: its turn comes when others end; mainspring up --max-running N makes more room"
        }
        R::HostRuns => "use it: every verb finds it; mainspring down ends it",
        R::HostIncompatible => {
            "end the other build's host with its own `mainspring down`, or use another --state-dir"
        }
        R::Overloaded => "try again in a moment",
        R::TimedOut => "ask what came of it: mainspring status",
        R::WaitTimedOut => "wait longer with --timeout; the application goes on",
        R::Internal => {
            "a defect of mainspring: the logs under the state directory have the trace id; please report it"
        }
    }
}

#[cfg(test)]
mod page;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_way_out_in_one_sentence() {
        for &reason in Reason::ALL {
            let text = remedy(reason);
            assert!(text.len() >= 15, "{reason}: {text:?} says nothing");
            assert!(
                !text.ends_with('.') && !text.contains('\n') && !text.contains("  "),
                "{reason}: {text:?}"
            );
        }
    }
}
