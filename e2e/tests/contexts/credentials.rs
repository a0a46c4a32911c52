//! The credential of a context: a wrong one, and one that a command prints.

use chassis::credential::{DeploymentKey, Principal};

use crate::caller::Caller;
use crate::running_host;
use crate::wire::{Relay, nobody};

#[test]
fn a_key_of_another_deployment_is_refused_with_the_way_out_and_not_added() {
    let (host, caller) = (running_host(), Caller::new());
    let relay = Relay::to_store_of(&host);
    let key = caller.some_key();
    let endpoint = relay.endpoint();
    let add = ["context", "add", "prod", &endpoint, "--insecure", "--credential-file", &key];
    caller.run(&add).exits(6).says("error[CREDENTIAL_INVALID]").says("deployment.key");
    assert!(!caller.config().exists(), "what cannot work was written down");
    caller.run(&[&add[..], &["--no-check"]].concat()).exits(0);
    let refused = caller.prod(&["list"]).exits(6).says("error[CREDENTIAL_INVALID]");
    for said in ["the credential of context prod", "context show prod"] {
        assert!(refused.stderr.contains(said), "{}", refused.stderr);
    }
    assert!(!refused.stderr.contains("--state-dir"), "{}", refused.stderr);
    let shown = caller.run(&["context", "show", "prod", "--check"]).exits(1);
    assert!(shown.stdout.contains("CREDENTIAL_INVALID"), "{}", shown.stdout);
    caller.has_started_nothing();
}

#[test]
fn a_command_prints_the_token_and_its_stderr_is_shown() {
    let (host, caller) = (running_host(), Caller::new());
    let relay = Relay::to_store_of(&host);
    let key = DeploymentKey::load(&host.state().join("deployment.key")).unwrap();
    let token = key.mint(&Principal::Deployment);
    let script = format!("#!/bin/sh\necho \"asked for $1\" >&2\necho {}\n", token.expose());
    // The path is relative to the file of contexts.
    std::fs::create_dir_all(caller.config().parent().unwrap()).unwrap();
    caller.file(".config/mainspring/token", &script, 0o700);
    caller.configure(&relay.endpoint(), "command: [./token, prod]");
    let listed = caller.prod(&["list"]).exits(0).says("asked for prod");
    assert_eq!(listed.stderr.matches("asked for").count(), 1, "{}", listed.stderr);
    let everything = format!("{}{}", listed.stdout, listed.stderr);
    assert!(!everything.contains(token.expose()), "the token shows");
    caller.has_started_nothing();
}

#[test]
fn a_command_that_fails_is_named_and_nothing_is_asked() {
    let caller = Caller::new();
    let failing = "#!/bin/sh\necho 'not logged in' >&2\necho hush-hush\nexit 3\n";
    let failing = caller.file("failing", failing, 0o700);
    caller.configure(&nobody(), &format!("command: [{failing}]"));
    let failed = caller.prod(&["list"]).exits(6).says("error[CREDENTIAL_MISSING]");
    for said in ["not logged in", "context prod", "failed (exit status: 3)", "run it by itself"] {
        assert!(failed.stderr.contains(said), "{said}: {}", failed.stderr);
    }
    assert!(!failed.stderr.contains("hush-hush"), "{}", failed.stderr);
    caller.has_started_nothing();
}
