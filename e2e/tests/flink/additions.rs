//! Plugins and libraries that a user adds to Flink reach every JVM, and a missing one is reported
//! with its name.

use e2e::Host;
use e2e::flink::{jar_with, plugin, programs};

#[test]
fn plugins_libraries_and_hadoops_classes_of_the_user_reach_every_jvm() {
    let host = Host::new();
    let directory = host.scratch().to_owned();
    plugin(&directory.join("plugins/mirror"));
    let library = jar_with(&directory, "library.txt", "a library");
    std::fs::create_dir(directory.join("hadoop")).unwrap();
    std::fs::write(directory.join("hadoop/hadoop.txt"), "hadoop").unwrap();
    let (plugins, hadoop) = (directory.join("plugins"), directory.join("hadoop"));
    let host = host
        .with("FLINK_PLUGINS_DIR", plugins.to_str().unwrap())
        .with("HADOOP_CLASSPATH", hadoop.to_str().unwrap());
    let checkpoints =
        format!("execution.checkpointing.dir=mirror://{}/checkpoints", directory.display());
    // One more plugin is named by its path.
    plugin(&directory.join("other"));
    let named = format!("flink.plugins={}", directory.join("other").display());
    let jar = programs();
    let run = host
        .run(&[
            "run",
            "--application-id",
            "plugged",
            "-D",
            &named,
            "-D",
            &checkpoints,
            "--lib",
            &library,
            "-c",
            "Plugged",
            &jar,
            "library.txt",
            "hadoop.txt",
        ])
        .exits(0);
    assert_eq!(run.stdout, "main() reads a library\nmain() reads hadoop\n");
    let said = host.run(&["logs", "plugged", "--role", "taskmanager"]).exits(0).stdout;
    assert!(
        said.contains("a task reads a library") && said.contains("a task reads hadoop"),
        "{said}"
    );
    for role in ["jobmanager", "taskmanager"] {
        let log = host.run(&["logs", "plugged", "--role", role]).exits(0).stdout;
        for loaded in ["mirror", "other", "metrics-prometheus"] {
            let is_loaded =
                |line: &str| line.contains("Plugin loader with ID") && line.ends_with(loaded);
            assert!(log.lines().any(is_loaded), "{role} has no {loaded}: {log}");
        }
    }
    host.down();
}

#[test]
fn a_missing_plugin_is_named_with_the_way_out() {
    let host = Host::new();
    let jar = programs();
    for (scheme, plugin) in
        [("s3", "s3-fs-hadoop"), ("gs", "gs-fs-hadoop"), ("abfss", "azure-fs-hadoop")]
    {
        let checkpoints = format!("execution.checkpointing.dir={scheme}://bucket/checkpoints");
        host.run(&["run", "-D", &checkpoints, "-c", "Misbehaving", &jar, "checkpoints"])
            .exits(1)
            .says(&format!("Could not find a file system implementation for scheme '{scheme}'"))
            .says(&format!(
                "help: mainspring setup flink --plugin {plugin}, then -D flink.plugins={plugin}"
            ));
    }
    let run = host.run(&["run", "-D", "flink.plugins=s3", "-c", "Misbehaving", &jar, "divides"]);
    run.exits(1).says("has no plugin 's3', only ").says("s3-fs-hadoop, s3-fs-presto");
    // main() itself asks for the file system.
    let run = host.run(&["run", "-c", "Plugged", &jar]).exits(1);
    run.says("Could not find a file system implementation for scheme 'mirror'");
    host.down();
}
