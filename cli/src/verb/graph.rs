//! `graph` prints the graph of a job, as an indented tree or for Graphviz.

use std::collections::HashSet;
use std::fmt::Write as _;

use proto::api::{GetGraphResponse, GraphDescription, Vertex};

use crate::application::Named;
use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};
use crate::output::Format;
use crate::session::Session;
use crate::{json, words};

/// The graph of a job.
#[derive(Debug, clap::Args)]
#[command(before_help = "  mainspring graph orders enrich --dot | dot -Tsvg > enrich.svg")]
pub(crate) struct GraphArgs {
    /// ID or ID@GENERATION
    #[arg(value_name = "ID")]
    application: Named,

    /// Name or id of the job; all jobs if it is left out
    #[arg(value_name = "JOB")]
    job: Option<String>,

    /// For Graphviz
    #[arg(long)]
    dot: bool,
}

pub(crate) async fn run(args: GraphArgs, session: &Session) -> OrFailure<Exit> {
    let api = session.api().await?;
    let jobs = match args.job {
        Some(job) => vec![job],
        None => api.get(&args.application).await?.jobs.into_iter().map(|job| job.job_id).collect(),
    };
    // Details of a plan can be long; `-o wide` shows them whole.
    let columns = if session.out.format == Format::Wide { usize::MAX } else { 110 };
    let mut documents = Vec::new();
    for job in &jobs {
        let answer = api.graph(&args.application, job).await?;
        let description = answer
            .description
            .clone()
            .ok_or_else(|| Failure::internal("an answer without a graph"))?;
        let name = answer.job.as_ref().map_or(job.as_str(), |job| job.name.as_str());
        match session.out.format {
            Format::Json => documents.push(json::line(&answer).trim_end().to_owned()),
            Format::Jsonl => session.out.answer(json::line(&answer)),
            Format::Yaml => session.out.answer(format!("---\n{}", json::yaml(&answer, true))),
            Format::Name => session.out.answer(format!("{}\n", words::one_line(name))),
            Format::Table | Format::Wide if args.dot => session.out.answer(dot(name, &description)),
            Format::Table | Format::Wide => {
                session.out.answer(text(name, &answer, &description, columns))
            }
        }
    }
    match (session.out.format, documents.as_slice()) {
        (Format::Json, [one]) => session.out.answer(format!("{one}\n")),
        (Format::Json, all) => session.out.answer(format!("[{}]\n", all.join(","))),
        _ => {}
    }
    if jobs.is_empty() {
        session.out.talk(format!("{} has no jobs yet", args.application));
    }
    Ok(Exit::SUCCEEDED)
}

/// The tree: sinks first, and below each vertex, indented, the ones that it reads from.
fn text(name: &str, answer: &GetGraphResponse, graph: &GraphDescription, columns: usize) -> String {
    let state = answer.job.as_ref().map_or("", words::job_state);
    let mut text = format!("{}  {state}\n", words::one_line(name));
    let mut seen = HashSet::new();
    let read: HashSet<u32> = graph.edges.iter().map(|edge| edge.from).collect();
    for sink in graph.vertices.iter().filter(|vertex| !read.contains(&vertex.id)) {
        branch(&mut text, graph, sink, 1, columns, &mut seen);
    }
    text
}

fn branch(
    text: &mut String,
    graph: &GraphDescription,
    vertex: &Vertex,
    depth: usize,
    columns: usize,
    seen: &mut HashSet<u32>,
) {
    let detail = words::cut(&vertex.detail, columns.saturating_sub(2 * depth + vertex.name.len()));
    let detail = if detail.is_empty() { detail } else { format!("  {detail}") };
    let again = if seen.insert(vertex.id) { "" } else { "  (see above)" };
    let _ = writeln!(text, "{}{}{detail}{again}", "  ".repeat(depth), vertex.name);
    if !again.is_empty() {
        return;
    }
    for edge in graph.edges.iter().filter(|edge| edge.to == vertex.id) {
        if let Some(input) = graph.vertices.iter().find(|input| input.id == edge.from) {
            branch(text, graph, input, depth + 1, columns, seen);
        }
    }
}

fn dot(name: &str, graph: &GraphDescription) -> String {
    let mut text = format!("digraph {} {{\n  rankdir=LR;\n  node [shape=box];\n", quoted(name));
    for vertex in &graph.vertices {
        let label = if vertex.detail.is_empty() {
            vertex.name.clone()
        } else {
            format!("{}\n{}", vertex.name, vertex.detail)
        };
        let _ = writeln!(text, "  v{} [label={}];", vertex.id, quoted(&label));
    }
    for edge in &graph.edges {
        let _ = writeln!(text, "  v{} -> v{};", edge.from, edge.to);
    }
    text.push_str("}\n");
    text
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use proto::api::Edge;

    use super::*;

    #[test]
    fn a_graph_is_a_tree_for_people_and_dot_for_graphviz() {
        let vertex = |id, name: &str, detail: &str| Vertex {
            id,
            name: name.into(),
            detail: detail.into(),
            parallelism: 1,
        };
        let graph = GraphDescription {
            vertices: vec![
                vertex(0, "Scan", "flights"),
                vertex(1, "Aggregate", ""),
                vertex(2, "Sink", "a \"b\""),
            ],
            edges: vec![Edge { from: 0, to: 1 }, Edge { from: 1, to: 2 }],
            ..GraphDescription::default()
        };
        let answer = GetGraphResponse::default();
        assert_eq!(
            text("re\nport", &answer, &graph, 80),
            "re port  \n  Sink  a \"b\"\n    Aggregate\n      Scan  flights\n"
        );
        assert_eq!(
            dot("report", &graph),
            "digraph \"report\" {\n  rankdir=LR;\n  node [shape=box];\n  v0 [label=\"Scan\\nflights\"];\n  v1 \
             [label=\"Aggregate\"];\n  v2 [label=\"Sink\\na \\\"b\\\"\"];\n  v0 -> v1;\n  v1 -> v2;\n}\n"
        );
    }
}
