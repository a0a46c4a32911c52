//! Prints how a JVM is started, one argument a line, `java` first: for trying things by hand and
//! for `tests/real`. The command line is `jvm_arguments jobmanager|taskmanager|main HEAP_MIB
//! [DIRECT_MIB]`.

use anyhow::Context as _;
use mainspring_flink::home::Home;
use mainspring_flink::jvm::{JvmLimits, arguments};
use mainspring_flink::role::{Loading, Role};

fn main() -> anyhow::Result<()> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let role = [Role::JobManager, Role::TaskManager, Role::Main]
        .into_iter()
        .find(|role| Some(role.name()) == given.first().map(String::as_str))
        .context("the first argument is jobmanager, taskmanager or main")?;
    let mib =
        |at: usize| given.get(at).map(|text| text.parse::<u64>().map(|mib| mib << 20)).transpose();
    let limits = JvmLimits {
        heap: mib(1)?.context("the second argument is the heap in MiB")?,
        direct: mib(2)?,
        metaspace: None,
    };
    let home = Home::find()?;
    println!("{}", home.java().display());
    for argument in arguments(role, &home, &limits, Loading::ProgramFirst, &[]) {
        println!("{}", argument.display());
    }
    Ok(())
}
