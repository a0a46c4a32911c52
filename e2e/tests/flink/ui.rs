//! `mainspring ui`: Flink's own page and its JSON, for reading only, for as long as the command
//! runs.

use e2e::Host;
use e2e::flink::{Part, programs};
use e2e::http::ask;
use e2e::process::{eventually, signal};

/// How many TaskManagers Flink counts, asked through the page; `None` while the page cannot be
/// asked.
fn taskmanagers(page: &str) -> Option<u64> {
    let answer =
        ask(page, "GET", "/overview").expect("the page is there as long as its command runs");
    (answer.status == 200).then(|| answer.json()["taskmanagers"].as_u64())?
}

#[test]
fn the_page_is_for_reading_only_and_outlives_a_cluster() {
    let host = Host::new();
    let jar = programs();
    host.run(&["run", "-d", "--application-id", "endless", "-c", "Misbehaving", &jar, "forever"])
        .exits(0);
    eventually("the job runs", || {
        host.status("endless")["jobs"][0]["state"] == "JOB_STATE_RUNNING"
    });

    let mut ui = host.start(&["ui", "endless"]);
    eventually("the page's address is told", || ui.stdout().ends_with('\n'));
    let address = ui.stdout();
    let page =
        address.trim().strip_prefix("http://").and_then(|rest| rest.strip_suffix('/')).unwrap();
    let overview = ask(page, "GET", "/overview").unwrap();
    assert_eq!(
        (overview.status, &overview.json()["flink-version"]),
        (200, &"2.3.0".into()),
        "{overview:?}"
    );
    eventually("the page counts", || taskmanagers(page) == Some(1));
    let web = ask(page, "GET", "/").unwrap();
    assert!(web.status == 200 && web.body.contains("Apache Flink"), "{web:?}");

    let job = host.status("endless")["jobs"][0]["jobId"].as_str().unwrap().to_owned();
    for (method, path) in [
        ("POST", "/jobs".to_owned()),
        ("POST", format!("/jobs/{job}/stop")),
        ("PATCH", format!("/jobs/{job}?mode=cancel")),
        ("DELETE", "/cluster".to_owned()),
        ("PUT", format!("/jobs/{job}/resource-requirements")),
    ] {
        let refused = ask(page, method, &path).unwrap();
        assert_eq!(refused.status, 405, "{method} {path}: {refused:?}");
        assert!(refused.body.contains("for reading only"), "{refused:?}");
    }
    let runs = || ask(page, "GET", "/jobs").unwrap().json()["jobs"][0]["status"] == "RUNNING";
    eventually("the job runs all the same", runs);

    Part::JobManager.kill(&host);
    eventually("there is another cluster", || {
        host.status("endless")["cluster"]["incarnation"] == "2"
    });
    eventually("the page shows it", || taskmanagers(page) == Some(1));
    eventually("the job runs there", runs);

    assert!(ui.is_running());
    signal(ui.pid(), "INT");
    ui.finish().exits(0);
    assert!(ask(page, "GET", "/overview").is_err(), "{page} is still served");
    assert_eq!(
        host.status("endless")["jobs"][0]["state"],
        "JOB_STATE_RUNNING",
        "looking ends nothing"
    );
    host.run(&["cancel", "endless", "--wait"]).exits(3);
    host.down();
}
