//! What `make install` puts in place, from the executables of the tests.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::path::Path;
use std::process::Command;

use e2e::host::binary;
use e2e::repository;

fn installed(root: &Path) -> std::process::Output {
    Command::new(repository().join("tools/install"))
        .arg(binary("mainspring").parent().unwrap())
        .env("DESTDIR", root)
        .env("PREFIX", "/usr")
        .env("HOME", root)
        .output()
        .unwrap()
}

#[test]
fn an_installation_runs_completes_and_has_a_manual() {
    let root = tempfile::tempdir().unwrap();
    let done = installed(root.path());
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let usr = root.path().join("usr");
    for engine in ["mainspring-datafusion", "mainspring-flink"] {
        assert!(usr.join("bin").join(engine).exists(), "{engine}");
    }
    let version = Command::new(usr.join("bin/mainspring")).arg("--version").output().unwrap();
    assert!(version.status.success());

    let page = std::fs::read_to_string(usr.join("share/man/man1/mainspring-cancel.1")).unwrap();
    assert!(page.contains("mainspring cancel") && page.contains("\\-\\-reason"), "{page}");
    for file in ["zsh/site-functions/_mainspring", "fish/vendor_completions.d/mainspring.fish"] {
        assert!(std::fs::metadata(usr.join("share").join(file)).unwrap().len() > 1000, "{file}");
    }

    // The script is asked as bash asks it when a user presses the tab key.
    let script = usr.join("share/bash-completion/completions/mainspring");
    for (words, completed) in
        [("ca", "cancel"), ("run --if-exists re", "replace"), ("wait --tim", "--timeout")]
    {
        let ask = format!(
            "source {}; COMP_WORDS=(mainspring {words}); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 )); \
             _mainspring mainspring \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; \
             echo \"${{COMPREPLY[@]}}\"",
            script.display()
        );
        let answer = Command::new("bash").args(["-c", &ask]).output().unwrap();
        let answer = String::from_utf8(answer.stdout).unwrap();
        assert!(answer.split_whitespace().any(|word| word == completed), "{words}: {answer:?}");
    }
}

#[test]
fn a_prefix_that_is_no_place_is_refused() {
    let refused = Command::new(repository().join("tools/install"))
        .arg(binary("mainspring").parent().unwrap())
        .env("PREFIX", "here")
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("PREFIX=here"));
}
