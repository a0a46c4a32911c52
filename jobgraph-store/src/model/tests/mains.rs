//! How the executions of main() fare, from one attempt to the next.

use ::record::{ApplicationEnd, Holder, MainExit};
use proto::{Digest, api, jobgraph};

use super::{draft, fence, led, phase};
use crate::model::{Draft, Refusal, attempt, contender, ending};

fn exited(code: i32) -> MainExit {
    MainExit { code: Some(code), ..MainExit::default() }
}

#[test]
fn the_phase_follows_main_through_a_take_over() {
    let mut draft = led(1);
    assert_eq!(phase(&draft), api::Phase::Starting);
    attempt::main_starting(&mut draft, &fence(1), "unix:/1").unwrap();
    attempt::main_running(&mut draft, &fence(1), 7).unwrap();
    assert_eq!(phase(&draft), api::Phase::Running);
    let successor = Holder::new("runner-1", 42);
    let disposition = attempt::begin(&mut draft, &fence(2), &successor, "lease expired").unwrap();
    assert_eq!((disposition, phase(&draft)), (jobgraph::Disposition::Resume, api::Phase::Starting));
    attempt::main_starting(&mut draft, &fence(2), "unix:/2").unwrap();
    attempt::main_running(&mut draft, &fence(2), 8).unwrap();
    let main = draft.dossier.state.application().main.clone().unwrap();
    assert_eq!((main.executions, main.pid, phase(&draft)), (2, 8, api::Phase::Running));
    attempt::main_ended(&mut draft, &fence(2), &exited(0), "").unwrap();
    assert_eq!(phase(&draft), api::Phase::Finishing);
    attempt::begin(&mut draft, &fence(3), &Holder::new("runner-0", 43), "").unwrap();
    assert_eq!(phase(&draft), api::Phase::Finishing, "main() that has ended is not executed again");
    let told: Vec<&str> = draft.events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(told, ["leader", "main", "leader", "main", "main", "leader"]);
}

#[test]
fn nothing_is_said_to_run_of_what_has_ended() {
    let mut draft = led(1);
    attempt::main_starting(&mut draft, &fence(1), "unix:/1").unwrap();
    attempt::main_running(&mut draft, &fence(1), 7).unwrap();
    // The attempt was cut off and main() was not executed again: no process saw how main() ended.
    attempt::begin(&mut draft, &fence(2), &Holder::new("runner-1", 42), "").unwrap();
    let end = ApplicationEnd {
        outcome: api::Outcome::Failed,
        reason: "R".into(),
        message: String::new(),
    };
    ending::end(&mut draft, &fence(2), end, 0).unwrap();
    let main = draft.dossier.state.application().main.clone().unwrap();
    assert_eq!((main.state(), main.exit_code, main.signal), (api::MainState::Ended, None, None));
    assert!(main.ended_at.is_some());
}

#[test]
fn a_publish_may_be_given_up_once_main_and_all_jobs_have_ended() {
    let mut draft = led(1);
    assert!(ending::abandon(&mut draft, "", "me@here").is_err(), "main() is not started");
    attempt::main_starting(&mut draft, &fence(1), "unix:/1").unwrap();
    attempt::main_running(&mut draft, &fence(1), 7).unwrap();
    assert!(ending::abandon(&mut draft, "", "me@here").is_err(), "main() runs");
    attempt::main_ended(&mut draft, &fence(1), &exited(0), "").unwrap();
    ending::abandon(&mut draft, "", "me@here").unwrap();
}

#[test]
fn the_first_end_of_an_execution_stays() {
    let mut draft = led(1);
    attempt::main_ended(&mut draft, &fence(1), &exited(0), "").unwrap();
    assert!(
        draft.dossier.state.application().main.as_ref().is_none_or(|main| main.exit_code.is_none()),
        "never started"
    );
    attempt::main_starting(&mut draft, &fence(1), "unix:/1").unwrap();
    attempt::main_running(&mut draft, &fence(1), 7).unwrap();
    attempt::main_ended(&mut draft, &fence(1), &exited(3), "é".repeat(5000).as_str()).unwrap();
    attempt::main_ended(&mut draft, &fence(1), &exited(0), "").unwrap();
    assert_eq!(draft.dossier.state.application().main.as_ref().unwrap().exit_code, Some(3));
    assert!(
        draft.dossier.state.stderr_tail.len() <= 4096
            && draft.dossier.state.stderr_tail.starts_with('é')
    );
}

#[test]
fn the_end_of_a_failed_main_says_its_last_word_also_when_a_successor_records_it() {
    let mut draft = led(1);
    attempt::main_starting(&mut draft, &fence(1), "unix:/1").unwrap();
    attempt::main_running(&mut draft, &fence(1), 7).unwrap();
    let tail = "compiling\nno column \"dep_dely\"\n\n";
    attempt::main_ended(&mut draft, &fence(1), &exited(3), tail).unwrap();
    attempt::begin(&mut draft, &fence(2), &Holder::new("runner-1", 42), "").unwrap();
    let end = ApplicationEnd {
        outcome: api::Outcome::Failed,
        reason: "MAIN_EXITED".into(),
        message: "main() exited 3".into(),
    };
    let end = ending::end(&mut draft, &fence(2), end, 0).unwrap();
    assert_eq!(end.message, "main() exited 3: no column \"dep_dely\"");
}

fn killed() -> MainExit {
    MainExit {
        signal: Some(9),
        signal_sender: "the kernel's OOM killer".into(),
        ..MainExit::default()
    }
}

#[test]
fn a_main_that_was_killed_has_not_ended_and_is_counted_through_take_overs() {
    let mut draft = led(1);
    attempt::main_starting(&mut draft, &fence(1), "unix:/1").unwrap();
    attempt::main_running(&mut draft, &fence(1), 7).unwrap();
    attempt::main_killed(&mut draft, &fence(1), &killed(), "", 1).unwrap();
    attempt::main_killed(&mut draft, &fence(1), &killed(), "", 1).unwrap();
    let main = |draft: &Draft| draft.dossier.state.application().main.clone().unwrap();
    assert_eq!((main(&draft).kills, phase(&draft)), (1, api::Phase::Starting));
    assert_eq!((main(&draft).state(), main(&draft).signal), (api::MainState::Starting, None));
    let killed_events = draft
        .events
        .iter()
        .filter(|event| event.attributes.get("state").is_some_and(|s| s == "killed"));
    let told: Vec<_> = killed_events.map(|event| event.message.as_str()).collect();
    let expected = "main() was ended by signal 9, sent by the kernel's OOM killer; it is executed again (kill 1)";
    assert_eq!(told, [expected], "a repeat is told once");

    let successor = Holder::new("runner-1", 42);
    let disposition = attempt::begin(&mut draft, &fence(2), &successor, "").unwrap();
    assert_eq!((disposition, phase(&draft)), (jobgraph::Disposition::Resume, api::Phase::Starting));
    attempt::main_starting(&mut draft, &fence(2), "unix:/2").unwrap();
    attempt::main_running(&mut draft, &fence(2), 8).unwrap();
    assert_eq!((main(&draft).kills, main(&draft).executions), (1, 2));
    let late = attempt::main_killed(&mut draft, &fence(1), &killed(), "", 2);
    assert!(matches!(late, Err(Refusal::EpochSuperseded { .. })), "{late:?}");
    attempt::main_ended(&mut draft, &fence(2), &killed(), "").unwrap();
    attempt::main_killed(&mut draft, &fence(2), &killed(), "", 2).unwrap();
    let ended = main(&draft);
    assert_eq!(
        (ended.state(), ended.kills),
        (api::MainState::Ended, 1),
        "an end that is recorded stays"
    );
    assert_eq!(ended.signal_sender, "the kernel's OOM killer");
}

#[test]
fn a_contender_that_gave_up_is_seen_until_it_is_started_again() {
    let trouble = |draft: &Draft| {
        let conditions = &draft.dossier.state.application().conditions;
        let is_false = |c: &&api::Condition| c.status() == api::ConditionStatus::False;
        conditions.iter().find(is_false).map(|c| (c.reason.clone(), c.message.clone()))
    };
    let mut draft = draft();
    contender::tell(&mut draft, 0, None);
    assert_eq!((trouble(&draft), draft.events.len()), (None, 0), "one that is started is no news");
    let why =
        format!("error[CREDENTIAL_INVALID]: no key of this deployment{}", " at all".repeat(200));
    contender::tell(&mut draft, 1, Some(&why));
    contender::tell(&mut draft, 1, Some(&why));
    let (reason, message) = trouble(&draft).unwrap();
    assert_eq!((reason.as_str(), draft.events.len()), ("CONTENDER_GAVE_UP", 1));
    for text in
        ["runner-1 gave up", "CREDENTIAL_INVALID", "; help: correct that", "mainspring cancel "]
    {
        assert!(message.contains(text), "{text}: {message}");
    }
    contender::tell(&mut draft, 0, None);
    assert!(trouble(&draft).is_some(), "that is another one");
    contender::tell(&mut draft, 1, None);
    assert_eq!(trouble(&draft), None);
}

#[test]
fn the_event_of_a_pinned_artifact_is_recorded_without_its_secrets() {
    let mut draft = led(1);
    let uri = "https://etl:hunter2@host.example/a.sql?token=hunter2".to_owned();
    let digest = Digest::of(b"SELECT 1").to_string();
    let pin = api::PinnedArtifact { uri: uri.clone(), name: "a.sql".into(), digest, size_bytes: 8 };
    attempt::pin(&mut draft, &fence(1), &[pin]).unwrap();
    let told = draft.events.iter().find(|event| event.kind == "artifact").unwrap();
    assert_eq!(told.attributes["uri"], proto::Uri::new(uri).masked());
}
