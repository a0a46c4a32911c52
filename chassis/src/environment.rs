//! What a process hands on, of its own environment, to the processes that it starts for an
//! application.

/// How the names of the variables begin that are an engine's own business.
const PREFIX: &str = "MAINSPRING_ENGINE_";

/// Where an engine's own software may be, by conventions that are older than mainspring.
const CONVENTIONS: [&str; 2] = ["JAVA_HOME", "XDG_CACHE_HOME"];

/// What this process knows about engines and where their software is. A process that starts a
/// contender, an engine or a part of its cluster hands all of it on. An engine can therefore be
/// configured by `MAINSPRING_ENGINE_<ENGINE>_<NAME>` without any other process knowing the name,
/// and all its processes find the same software.
pub fn of_engines() -> impl Iterator<Item = (String, String)> {
    chosen(
        std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        }),
    )
}

fn chosen(all: impl Iterator<Item = (String, String)>) -> impl Iterator<Item = (String, String)> {
    all.filter(|(name, _)| name.starts_with(PREFIX) || CONVENTIONS.contains(&name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::chosen;

    #[test]
    fn an_engines_variables_are_handed_on_and_nothing_of_anybody_else() {
        let all = [
            "MAINSPRING_ENGINE_FLINK_HOME",
            "MAINSPRING_ENGINE_PATH",
            "JAVA_HOME",
            "MAINSPRING_TOKEN_FILE",
            "AWS_SECRET",
        ];
        let chosen = chosen(all.into_iter().map(|name| (name.to_owned(), String::new())));
        let names: Vec<String> = chosen.map(|(name, _)| name).collect();
        assert_eq!(names, ["MAINSPRING_ENGINE_FLINK_HOME", "MAINSPRING_ENGINE_PATH", "JAVA_HOME"]);
    }
}
