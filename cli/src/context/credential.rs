//! The credential of a context: from a file, or printed by a command.
#![allow(
    clippy::disallowed_methods,
    reason = "runs the command of a context, which ends with this process"
)]

use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use chassis::clock::{SharedClock, timeout};
use chassis::credential::{Credential, DeploymentKey, Principal};
use proto::Reason;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use super::file::{Context, CredentialSource};
use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};

/// How long a command may take to print a credential: long enough for a person who is asked for a
/// password.
const PRINT: Duration = Duration::from_secs(30);

/// How much of a command's output is read; white space around a credential needs little more than
/// the credential.
const MAX_PRINTED_BYTES: u64 = 4096;

/// The credential that a context names.
pub(super) async fn of(context: &Context, clock: &SharedClock) -> OrFailure<Credential> {
    let CredentialSource { file, command } = &context.credential;
    let credential = match (file, command.as_deref()) {
        (Some(file), _) => from_file(file),
        (None, Some([program, arguments @ ..])) => {
            printed_by(program, arguments, PRINT, clock).await
        }
        (None, _) => Err(Failure::internal("a context without a credential was taken")),
    };
    credential.map_err(|mut failure| {
        failure.message = format!("context {}: {}", context.name, failure.message);
        failure
    })
}

/// The token of a file that holds the deployment's key or a token. Any other content goes nowhere.
fn from_file(path: &Path) -> OrFailure<Credential> {
    let error = match DeploymentKey::load(path) {
        Ok(key) => return Ok(key.mint(&Principal::Deployment)),
        Err(error) => error,
    };
    if error.kind() == ErrorKind::InvalidData
        && let Ok(token) = Credential::from_file(path)
        && token.claims().is_some()
    {
        return Ok(token);
    }
    let (why, help) = match error.kind() {
        ErrorKind::NotFound => (
            "is not there",
            "copy deployment.key from the state directory of a host of that deployment",
        ),
        ErrorKind::PermissionDenied => {
            ("is not yours alone", "it has to be your file, which only you can read: chmod 600")
        }
        _ => (
            "holds neither a deployment's key nor a token",
            "copy deployment.key from the state directory of a host of that deployment: 64 hex digits",
        ),
    };
    Err(missing(format!("the credential's file {} {why}", path.display())).help(help))
}

/// The token that a command prints. The command's stderr is this command's, and what it prints to
/// stdout is shown nowhere. What is no token goes nowhere either: a command that prints the
/// deployment's key, or a word such as `null`, would have it sent to the hosts.
async fn printed_by(
    program: &str,
    arguments: &[String],
    within: Duration,
    clock: &SharedClock,
) -> OrFailure<Credential> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true);
    let failed = |what: String, help: &str| {
        Err(missing(format!("its credential's command {program} {what}")).help(help))
    };
    let alone = "run it by itself: it has to print one token to stdout and exit 0";
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            let help = "name a program that this machine has, by its path or on PATH";
            return failed(format!("cannot be started: {error}"), help);
        }
    };
    let stdout = child.stdout.take();
    let printed = async {
        let mut text = Vec::new();
        if let Some(stdout) = stdout {
            stdout.take(MAX_PRINTED_BYTES).read_to_end(&mut text).await?;
        }
        // The pipe is closed by now, so that a command which prints without an end is ended by it.
        Ok::<_, io::Error>((text, child.wait().await?))
    };
    let (text, status) = match timeout(clock, within, printed).await {
        Ok(Ok(printed)) => printed,
        Ok(Err(error)) => return failed(format!("cannot be read: {error}"), alone),
        Err(_) => {
            let within = within.as_secs_f64();
            return failed(
                format!("printed nothing whole within {within} s, and was ended"),
                alone,
            );
        }
    };
    if !status.success() {
        return failed(format!("failed ({status})"), alone);
    }
    let printed = String::from_utf8(text).ok().and_then(|text| Credential::new(text.trim()).ok());
    match printed.filter(|token| token.claims().is_some()) {
        Some(token) => Ok(token),
        None => failed("printed no token that a deployment's key makes".to_owned(), alone),
    }
}

fn missing(message: String) -> Failure {
    Failure::new(Exit::REFUSED, Reason::CredentialMissing, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Arc;

    use chassis::clock::{Clock as _, SystemClock};

    use super::*;

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("credential");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        (directory, path)
    }

    #[test]
    fn a_file_holds_the_key_or_a_token_and_nothing_else_is_sent() {
        let key = DeploymentKey::from_bytes([7; 32]);
        let token = key.mint(&Principal::Deployment);
        let hex = "07".repeat(32);
        for (text, mode, taken) in [
            (hex.as_str(), 0o600, true),
            (token.expose(), 0o600, true),
            (hex.as_str(), 0o640, false),
            (token.expose(), 0o644, false),
            ("my diary", 0o600, false),
            ("password", 0o600, false),
            ("", 0o600, false),
        ] {
            let (_directory, path) = file(text, mode);
            let read = from_file(&path);
            assert_eq!(read.is_ok(), taken, "{mode:o}");
            match read {
                Ok(credential) => assert_eq!(credential, token),
                Err(refused) => {
                    assert!(!refused.render(str::to_owned).contains("diary"));
                    assert!(refused.message.contains("credential"), "{}", refused.message);
                }
            }
        }
        let refused = from_file(Path::new("/not/there")).unwrap_err();
        assert_eq!(refused.exit, Exit::REFUSED);
        assert!(refused.help[0].contains("deployment.key"), "{:?}", refused.help);
    }

    async fn shell(script: &str, within: Duration) -> OrFailure<Credential> {
        let clock: SharedClock = Arc::new(SystemClock);
        printed_by("sh", &["-c".to_owned(), script.to_owned()], within, &clock).await
    }

    #[tokio::test]
    async fn a_command_prints_a_token_or_says_why_not() {
        let token = shell("echo; echo '  ms1.deployment.ab  '", PRINT).await.unwrap();
        assert_eq!(token.expose(), "ms1.deployment.ab");
        for (script, says) in [
            ("echo hush; exit 3", "failed (exit status: 3)"),
            ("echo hush hush", "printed no token"),
            ("echo hush", "printed no token"),
            ("printf 07%.0s $(seq 32)", "printed no token"),
            ("true", "printed no token"),
            ("exec yes", "failed (signal: 13"),
        ] {
            let refused = shell(script, PRINT).await.unwrap_err();
            assert!(refused.message.contains(says), "{script}: {}", refused.message);
            assert!(!refused.render(str::to_owned).contains("hush"), "{script}");
        }
        let clock: SharedClock = Arc::new(SystemClock);
        let refused = printed_by("/not/there", &[], PRINT, &clock).await.unwrap_err();
        assert!(refused.message.contains("cannot be started"), "{}", refused.message);
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_ended() {
        let directory = tempfile::tempdir().unwrap();
        let pid = directory.path().join("pid");
        let script = format!("echo $$ > '{}'; exec sleep 600", pid.display());
        let refused = shell(&script, Duration::from_secs(3)).await.unwrap_err();
        assert!(refused.message.contains("within 3 s, and was ended"), "{}", refused.message);
        let pid: u32 = std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
        let is_gone = || client::process_tree::Process::of(pid).is_none_or(|it| it.is_zombie());
        let clock: SharedClock = Arc::new(SystemClock);
        let gone = async {
            while !is_gone() {
                clock.sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(&clock, Duration::from_secs(10), gone).await.expect("it is killed");
    }
}
