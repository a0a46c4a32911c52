//! When is it worst to fly? Delays by hour of departure, as an application in library mode.
//!
//! Two jobs: `clean` keeps one column of delays as Parquet, `report` reads what `clean` wrote. One
//! `once` step, `announce`, has an effect outside the record that a second execution of main() must
//! not repeat.

mod arguments;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use arguments::Arguments;
use mainspring_sdk::datafusion::dataframe::DataFrame;
use mainspring_sdk::datafusion::error::Result;
use mainspring_sdk::datafusion::functions_aggregate::expr_fn::{avg, count, sum};
use mainspring_sdk::datafusion::prelude::{
    CsvReadOptions, ParquetReadOptions, col, lit, round, when,
};
use mainspring_sdk::{ApplicationRunner, BoxError, Environment, Job, MainResult};

/// A flight that left or arrived more minutes late than this counts as late.
const LATE_MINUTES: i64 = 15;

fn main() -> ExitCode {
    ApplicationRunner::run(delays)
}

async fn delays(env: Environment) -> MainResult {
    let Arguments { year, column, file } = Arguments::parse(env.arguments())?;
    let path = env.artifact(&file)?;

    let announced = env.output_directory().join("announced.txt");
    let by: u32 = env.once("announce", announce(announced, year)).await?;
    if env.is_re_execution() {
        eprintln!("delays: executed again; process {by} had announced it");
    }

    let flights = env.session().read_csv(path, CsvReadOptions::new()).await?;
    if !flights.schema().has_column_with_unqualified_name(&column) {
        return Err(format!(
            "no column {column:?} in {file}; delays are in dep_delay and arr_delay"
        )
        .into());
    }
    let clean =
        env.execute("clean", Job::parquet(cleaned(flights, year, &column)?, "clean/")).await?;
    if clean.rows_out() == 0 {
        return Err(format!("{file} holds no flight of {year}").into());
    }

    let kept = env.session().read_parquet(clean.location()?, ParquetReadOptions::default()).await?;
    env.show("report", by_hour(kept)?).await?;
    Ok(())
}

/// Tells the world, and answers with the process that wrote the line. The answer is recorded, so
/// that a later execution of main() finds it and writes no line.
async fn announce(file: PathBuf, year: i64) -> Result<u32, BoxError> {
    let process = std::process::id();
    if let Some(directory) = file.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file)?;
    writeln!(file, "delays of {year}, announced by process {process}")?;
    Ok(process)
}

/// `hour` and `delay` (minutes) of the year's flights for which the delay is known.
fn cleaned(flights: DataFrame, year: i64, column: &str) -> Result<DataFrame> {
    flights
        .filter(col("year").eq(lit(year)).and(col(column).is_not_null()))?
        // Times are local, as hhmm: 517 is 5:17.
        .select([(col("sched_dep_time") / lit(100_i64)).alias("hour"), col(column).alias("delay")])
}

/// One row per hour: flights, mean delay, and how many were late.
fn by_hour(kept: DataFrame) -> Result<DataFrame> {
    let late = when(col("delay").gt(lit(LATE_MINUTES)), lit(1_i64)).otherwise(lit(0_i64))?;
    let mean = round(vec![avg(col("delay")), lit(1_i64)]);
    kept.aggregate(
        vec![col("hour")],
        vec![count(lit(1)).alias("flights"), mean.alias("mean"), sum(late).alias("late")],
    )?
    .sort(vec![col("hour").sort(true, false)])
}
