mod page;

use super::*;

#[test]
fn an_error_names_reason_thing_and_way_out() {
    let failure =
        Failure::new(Exit::FAILED, Reason::MainExited, "main() of delays-p3xq@1 exited 3")
            .detail("| no column \"dep_dely\"   (last 1 of 212 lines)")
            .help("mainspring logs delays-p3xq --role main");
    assert_eq!(
        failure.render(str::to_owned),
        "error[MAIN_EXITED]: main() of delays-p3xq@1 exited 3\n  | no column \"dep_dely\"   (last 1 of 212 lines)\n  \
         help: mainspring logs delays-p3xq --role main\n"
    );
    let json: serde_json::Value =
        serde_json::from_str(&failure.to_json()).expect("one JSON document");
    assert_eq!(
        (&json["error"]["reason"], &json["error"]["exitCode"]),
        (&"MAIN_EXITED".into(), &1.into())
    );
}

#[test]
fn codes_of_calls_become_exit_codes() {
    for (code, exit) in [
        (Code::InvalidArgument, Exit::USAGE),
        (Code::Unavailable, Exit::UNREACHABLE),
        (Code::AlreadyExists, Exit::REFUSED),
        (Code::FailedPrecondition, Exit::REFUSED),
        (Code::NotFound, Exit::NOT_FOUND),
    ] {
        let error = CallError::from(tonic::Status::new(code, "x"));
        assert_eq!(Failure::from(error).exit, exit, "{code:?}");
    }
}

#[test]
fn a_change_whose_answer_was_lost_is_of_unknown_outcome() {
    let lost = CallError::from(tonic::Status::new(Code::DeadlineExceeded, "no answer"));
    let failure =
        Failure::from(lost.clone()).unknown_unless_refused(&lost, "mainspring status orders");
    assert_eq!(failure.exit, Exit::UNKNOWN);
    assert!(failure.help[0].ends_with("mainspring status orders"));
    let refused = CallError::from(tonic::Status::new(Code::FailedPrecondition, "ended"));
    assert_eq!(
        Failure::from(refused.clone()).unknown_unless_refused(&refused, "x").exit,
        Exit::REFUSED
    );
}
