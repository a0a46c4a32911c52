//! What bad programs and bad settings get: the reason, the thing, its value, the way out, the right
//! exit code, nothing left behind.

use e2e::Host;
use e2e::flink::{examples_of, for_a_newer_java, programs};

/// Makes tests of cases, each on a host of its own. `{jar}` is the jar of this repository's
/// programs, `{dir}` the host's scratch directory; other jars say what they are.
macro_rules! each_gets_an_error {
    ($($test:ident: $arguments:expr => $says:expr;)*) => {$(
        #[test]
        fn $test() {
            check(Host::new(), &$arguments, &$says);
        }
    )*};
}

#[track_caller]
fn check(host: Host, arguments: &[&str], says: &[&str]) {
    let (jar, directory) = (programs(), host.scratch().to_str().unwrap().to_owned());
    host.file("page.jar", "<html>there is no such build</html>");
    let named = |word: &&str| match *word {
        "{jar of Flink 1}" => examples_of("1.20.0"),
        "{jar for a newer Java}" => for_a_newer_java(host.scratch()),
        word => word.replace("{jar}", &jar).replace("{dir}", &directory),
    };
    let arguments: Vec<String> = arguments.iter().map(named).collect();
    let line: Vec<&str> = ["run", "--application-id", "bad"]
        .into_iter()
        .chain(arguments.iter().map(String::as_str))
        .collect();
    let run = host.run(&line).exits(1).says("error[").says("left over: nothing").says("help:");
    for text in says {
        run.clone().says(&text.replace("{dir}", &directory));
    }
    assert_eq!(
        run.stdout.lines().filter(|line| *line != "nothing to do").count(),
        0,
        "{}",
        run.stdout
    );
    assert_eq!(host.status("bad")["clean"], true);
    host.down();
}

each_gets_an_error! {
    what_is_no_jar: ["page.jar"]
        => ["PROGRAM_NOT_EXECUTABLE", "page.jar is no jar", "help: name the jar that the program's build makes"];
    what_flink_does_not_run: ["--engine", "flink", "/bin/true"]
        => ["PROGRAM_UNSUPPORTED", "true is no .jar", "--engine"];
    a_jar_without_a_main_class: ["{jar}"]
        => ["MAIN_EXITED", "exited 2", "programs.jar names no main class", "-c CLASS"];
    a_class_that_is_missing: ["-c", "org.Missing", "{jar}"]
        => ["MAIN_EXITED", "exited 2", "holds no class \"org.Missing\"", "-c org.example.Main"];
    a_main_without_execute: ["-c", "Misbehaving", "{jar}", "no-job"]
        => ["MAIN_EXITED", "exited 1", "main() of Misbehaving returned without a job", "execute()"];
    // The root cause comes first, then the program's own frames.
    a_main_that_throws: ["-c", "Misbehaving", "{jar}", "throws"]
        => ["MAIN_EXITED", "error: main() of Misbehaving threw java.io.IOException: no such file: orders.csv\n",
            "java.lang.IllegalStateException: the table \"orders\" is not there\n    at Misbehaving.throwing(Misbehaving.java:"];
    // Flink's own examples of another version: a class that is gone is missed when main() needs it,
    // or when main() is looked for.
    a_jar_for_another_flink: ["-c", "org.apache.flink.streaming.examples.wordcount.WordCount", "{jar of Flink 1}"]
        => ["MAIN_EXITED", "threw java.lang.ClassNotFoundException: org.apache.flink.api.java.utils.MultipleParameterTool\n",
            "at org.apache.flink.streaming.examples.wordcount.util.CLI.fromArgs(CLI.java:",
            "help: the jar was built for another Flink: build it for 2.3.0"];
    a_jar_for_another_flink_whose_main_is_not_even_found:
        ["-c", "org.apache.flink.streaming.examples.sideoutput.SideOutputExample", "{jar of Flink 1}"]
        => ["MAIN_EXITED", "error: flink-examples-streaming-1.20.0.jar cannot be run: java.lang.NoClassDefFoundError: org/apache/flink/",
            "the jar was built for another Flink: build it for 2.3.0"];
    a_jar_for_a_newer_java: ["-c", "Newer", "{jar for a newer Java}"]
        => ["MAIN_EXITED", "error: newer.jar cannot be run: java.lang.UnsupportedClassVersionError: Newer",
            "the jar was built for a newer Java: build it for 17"];
    a_main_that_exits: ["-c", "Misbehaving", "{jar}", "exits"] => ["MAIN_EXITED", "exited 7"];
    a_job_that_fails: ["-c", "Misbehaving", "{jar}", "divides"]
        => ["error: a job of Misbehaving failed: java.lang.ArithmeticException: / by zero\n",
            "misbehaves FAILED (java.lang.ArithmeticException: / by zero)"];
    a_plan_that_the_jobmanager_refuses: ["-D", "state.backend.type=nonsense", "-c", "Misbehaving", "{jar}", "divides"]
        => ["Cannot find configured state backend factory class: nonsense", "misbehaves FAILED"];
    a_task_that_takes_all_memory: ["-c", "Misbehaving", "{jar}", "memory"]
        => ["a job of Misbehaving failed: java.lang.OutOfMemoryError", "at Misbehaving.takeAll",
            "help: give its TaskManagers more memory: -D taskmanager.memory.process.size="];
    checkpoints_that_cannot_be_written:
        ["-D", "execution.checkpointing.dir=file://{dir}/page.jar/x", "-c", "Misbehaving", "{jar}", "checkpoints"]
        => ["{dir}/page.jar", "help: execution.checkpointing.dir has to be a directory"];
    // Each job waits for the TaskManager where Flink would fail the job for good after five
    // minutes.
    a_taskmanager_that_never_comes:
        ["-D", "flink.taskmanagers.within=2", "-D", "env.java.opts.taskmanager=-XX:MaxRAM=x", "-c", "Misbehaving", "{jar}", "divides"]
        => ["CLUSTER_KEEPS_DYING", "error: 0 of 1 TaskManagers have registered within 2s", "help: mainspring logs bad --role ROLE",
            "taskmanager-0: restart 1; cause: exit code 1 (Improperly specified VM option 'MaxRAM=x')",
            "taskmanager-0 exit code 1 (Improperly specified VM option 'MaxRAM=x')"];
    // Flink would not see this setting, whereas other settings that Flink does not know are passed
    // on.
    a_setting_of_ours_that_is_none: ["-D", "flink.taskmanager=2", "-c", "Misbehaving", "{jar}"]
        => ["SETTING_UNKNOWN", "'flink.taskmanager'", "flink.taskmanagers", "spelling"];
    a_setting_that_is_not_the_users: ["-D", "rest.port=8081", "-c", "Misbehaving", "{jar}"]
        => ["SPEC_INVALID", "'rest.port' cannot be set", "leave it out"];
}

/// Only the engine knows this variable, and it reaches every process of the engine all the same.
#[test]
fn a_flink_that_is_not_set_up() {
    let host = Host::new();
    let empty = host.scratch().join("empty").to_str().unwrap().to_owned();
    let says =
        ["ENGINE_NOT_SET_UP", "is not set up in {dir}/empty", "help: mainspring setup flink"];
    programs();
    check(
        host.with("MAINSPRING_ENGINE_FLINK_HOME", empty),
        &["-c", "Misbehaving", "{jar}", "exits"],
        &says,
    );
}
