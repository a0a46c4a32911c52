//! What came back to main() with a job's end: accumulators are shown, and where there are none,
//! that is said.

use e2e::Host;
use e2e::flink::programs;

#[test]
fn accumulators_are_shown_and_a_job_without_any_is_told_so() {
    let host = Host::new();
    let jar = programs();
    let run = |id: &str, kind: &str| {
        host.run(&["run", "--application-id", id, "-c", "Counting", &jar, kind]).exits(0)
    };
    assert_eq!(run("counts", "accumulators").stdout, "main() has 55\n");
    let json = host.run(&["result", "counts", "-o", "json"]).exits(0).json();
    assert_eq!(json["accumulators"], serde_json::json!({"sum": 55, "odd": {"0": 5, "1": 5}}));
    assert_eq!(json["status"], "SUCCEEDED");
    let table = host.run(&["result", "counts", "counts"]).exits(0).stdout;
    assert!(table.lines().any(|line| line.split_whitespace().eq(["sum", "55"])), "{table}");
    assert!(host.run(&["jobs", "counts"]).stdout.contains("accumulators (mainspring result)"));

    // Rows that main() collects are main()'s, although they come to it as accumulators.
    for (kind, rows) in [("rows", "row 1\nrow 2\nrow 3\n"), ("table", "row 7\n")] {
        assert_eq!(run(kind, kind).stdout, rows);
        let nothing =
            host.run(&["result", kind]).exits(0).says("brought back no rows and no accumulators");
        assert_eq!(nothing.stdout, "");
        let json = host.run(&["result", kind, "-o", "json"]).exits(0).json();
        assert_eq!(json["accumulators"], serde_json::json!({}));
        let jobs = host.run(&["jobs", kind]).exits(0).stdout;
        assert!(!jobs.contains("mainspring result"), "{jobs}");
    }
    host.down();
}
