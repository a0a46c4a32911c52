//! Who may ask a tether, and with which rights its child runs.

use chassis::credential::Kind;
use chassis::run_as::Identity;
use proto::Reason;
use tonic::Code;

use crate::harness::{self, Scene, exit, said, token, within};

#[tokio::test]
async fn every_method_opens_for_the_owner_and_for_nobody_else() {
    let scene = Scene::new();
    let mut spec = scene.spec(1, "sleep 1000");
    spec.owner = harness::mint(&trespass::principal(Kind::Owner));
    let _tether = scene.spawn(&spec).await.unwrap();
    let (channel, service) = (scene.channel(&spec), "mainspring.tether.v1.TetherService");
    let tried = trespass::walk(&channel, &scene.clock, service, harness::mint, Kind::Owner).await;
    trespass::assert_held(&tried, Kind::Owner);
}

#[tokio::test]
async fn the_token_of_a_tethers_owner_is_nowhere_when_its_child_runs() {
    let scene = Scene::new();
    let spec = scene.spec(1, "sleep 1000");
    let (_tether, _owned, _) = scene.start(&spec).await;
    let token = spec.owner.expose().as_bytes();
    let holds = |file: &std::path::Path| {
        let bytes = std::fs::read(file).unwrap_or_default();
        bytes.windows(token.len()).any(|part| part == token)
    };
    let mut left = vec![scene.directory.path().to_owned()];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => left.push(path),
                false => assert!(!path.is_file() || !holds(&path), "{}", path.display()),
            }
        }
    }
    for (process, _) in scene.marked() {
        for file in ["environ", "cmdline"] {
            let path = std::path::PathBuf::from(format!("/proc/{}/{file}", process.pid));
            assert!(!holds(&path), "{}", path.display());
        }
    }
}

#[tokio::test]
async fn a_child_becomes_whom_its_spec_says_without_any_right_of_root_and_its_tether_does_not() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not run: only root can become another user");
        return;
    }
    let scene = Scene::new();
    let mut spec = scene.spec(1, "id -u; id -g; id -G; grep -E '^Cap(Prm|Eff)' /proc/self/status");
    // The scene's own directory is shut to other users.
    spec.cwd = "/".into();
    spec.becomes = Some(Identity { uid: 65_534, gid: 1_500_000_001, groups: vec![1_500_000_002] });
    let (tether, mut owned, _) = scene.start(&spec).await;
    let said = said(&tether).await;
    let none = "0000000000000000";
    assert_eq!(
        said,
        format!("65534\n1500000001\n1500000001 1500000002\nCapPrm:\t{none}\nCapEff:\t{none}\n")
    );
    assert_eq!(exit(&mut owned).await.code, Some(0));
    let keeper = scene.marked().into_iter().map(|(process, _)| process.pid).next().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{keeper}/status")).unwrap();
    assert!(status.contains("\nUid:\t0\t0\t0\t0\n"), "{status}");
}

#[tokio::test]
async fn a_stranger_is_refused_and_a_living_tree_is_not_released() {
    let scene = Scene::new();
    let spec = scene.spec(1, "sleep 1000");
    let (tether, _owned, _) = scene.start(&spec).await;
    let refused = within(scene.connect(&spec, token(2)).own(false, None)).await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::CredentialInvalid));
    let refused = within(tether.release()).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.reason()),
        (Code::FailedPrecondition, Some(Reason::TreeAlive))
    );
}
