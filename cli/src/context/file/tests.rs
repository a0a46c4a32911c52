#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::exit::Exit;

const FILE: &str = "\
# the platform team's clusters
current: prod
contexts:
  - name: prod
    endpoints: [tcp://h1:7070, 'tcp://h2:7070']
    tls: {ca: ca.pem, cert: /etc/me.pem, key: me.key}
    credential:
      file: keys/deployment.key
  - name: test
    endpoints:
      - tcp://127.0.0.1:7070
    insecure: true
    credential: {command: [bin/token, --for, test]}
";

#[test]
fn a_file_is_read_and_written_back() {
    let contexts = parse(FILE, "config.yaml").unwrap();
    assert_eq!(contexts.current.as_deref(), Some("prod"));
    let [prod, test] = contexts.contexts.as_slice() else { panic!("{contexts:?}") };
    assert_eq!(
        prod.endpoints,
        [Endpoint::Tcp("h1".into(), 7070), Endpoint::Tcp("h2".into(), 7070)]
    );
    assert!(!prod.insecure && test.insecure);
    let argv = ["bin/token", "--for", "test"].map(str::to_owned).to_vec();
    assert_eq!(test.credential, CredentialSource { file: None, command: Some(argv) });
    let written = serde_saphyr::to_string(&contexts).unwrap();
    assert_eq!(parse(&written, "again").unwrap(), contexts);
}

#[test]
fn relative_paths_begin_at_the_files_directory() {
    let contexts = parse(FILE, "config.yaml").unwrap();
    let prod = contexts.find("prod").unwrap().resolved(Path::new("/home/me/.config/mainspring"));
    let tls = prod.tls.unwrap();
    assert_eq!(tls.ca, Path::new("/home/me/.config/mainspring/ca.pem"));
    assert_eq!(tls.cert, Path::new("/etc/me.pem"));
    assert_eq!(
        prod.credential.file.as_deref(),
        Some(Path::new("/home/me/.config/mainspring/keys/deployment.key"))
    );
    let mut test = contexts.find("test").unwrap().clone();
    let first = |context: &Context| context.credential.command.clone().unwrap()[0].clone();
    assert_eq!(first(&test.resolved(Path::new("/c"))), "/c/bin/token");
    test.credential.command.as_mut().unwrap()[0] = "token".to_owned();
    assert_eq!(first(&test.resolved(Path::new("/c"))), "token", "it is looked for on PATH");
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_keys_that_there_are() {
    let text = FILE.replace("    insecure: true", "    insecurely: true");
    let failure = parse(&text, "config.yaml").unwrap_err();
    assert_eq!((failure.exit, failure.reason.as_str()), (Exit::USAGE, "REQUEST_INVALID"));
    assert_eq!(failure.message, "config.yaml:12: insecurely is no key here");
    assert!(failure.help[0].contains("insecure") && failure.help[0].contains("endpoints"));
    let failure = parse(&FILE.replace("cert: ", "certificate: "), "c").unwrap_err();
    assert_eq!(failure.message, "c:6: certificate is no key here");
    let failure = parse(&FILE.replace("current:", "curent:"), "c").unwrap_err();
    assert_eq!(failure.message, "c:2: curent is no key here");
}

#[test]
fn what_cannot_work_is_refused_by_name() {
    for (from, to, says) in [
        ("tcp://127.0.0.1:7070", "http://127.0.0.1:7070", "is no endpoint"),
        ("current: prod", "current: prd", "there is no context \"prd\""),
        ("name: test", "name: prod", "two contexts are called prod"),
        ("name: test", "name: local", "the name of this machine's host"),
        ("name: test", "name: -x", "\"-x\" is no name of a context"),
        ("insecure: true", "tls: {ca: a, cert: b, key: c}\n    insecure: true", "one of the two"),
        ("[bin/token, --for, test]", "[]", "either a file, or a command"),
        ("{command: ", "{file: x, command: ", "either a file, or a command"),
        ("      - tcp://127.0.0.1:7070\n", "      []\n", "it names no endpoint"),
        ("ca: ca.pem, ", "", "ca"),
        ("    credential: {command: [bin/token, --for, test]}\n", "", "credential"),
        ("contexts:", "contexts: [", ""),
    ] {
        let text = FILE.replace(from, to);
        assert_ne!(text, FILE, "{from} is not in the file");
        let failure = parse(&text, "config.yaml").unwrap_err();
        assert!(failure.message.contains(says), "{to}: {}", failure.message);
        assert!(failure.message.starts_with("config.yaml"), "{to}: {}", failure.message);
        assert!(!failure.help.is_empty(), "{to}");
    }
}

#[test]
fn no_file_and_an_empty_one_hold_nothing() {
    let directory = tempfile::tempdir().unwrap();
    for none in [directory.path().join("none"), "/dev/null/.config/config.yaml".into()] {
        assert_eq!(read(&none).unwrap(), Contexts::default(), "{}", none.display());
    }
    for text in ["", "\n", "# nothing yet\n", "contexts: []\n"] {
        assert_eq!(parse(text, "c").unwrap(), Contexts::default(), "{text:?}");
    }
}

/// The file names programs that run as its reader.
#[test]
fn a_file_that_others_can_write_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.yaml");
    std::fs::write(&path, FILE).unwrap();
    for (mode, taken) in [(0o600, true), (0o644, true), (0o664, false), (0o602, false)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(read(&path).is_ok(), taken, "{mode:o}");
    }
}
