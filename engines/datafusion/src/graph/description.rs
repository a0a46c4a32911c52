//! The graph for people: the operators of the query and the files at its ends.

use datafusion::logical_expr::LogicalPlan;
use proto::api::{Edge, GraphDescription, Vertex};

use super::{JobGraph, JobKind};

/// How many operators are shown; further ones are left out, because the picture is for people and a
/// record has a bound.
const MAX_VERTICES: usize = 200;
/// The length in characters at which a detail is cut.
const MAX_DETAIL: usize = 200;

pub(super) fn describe(graph: &JobGraph, query: &LogicalPlan) -> GraphDescription {
    let mut picture =
        GraphDescription { statement: graph.sql.clone().unwrap_or_default(), ..Default::default() };
    let result = match &graph.kind {
        JobKind::Rows => vertex(&mut picture, "Result", "rows come back to main()"),
        JobKind::Sink(sink) => {
            let detail = format!("{} to {}", sink.format.name(), sink.target);
            vertex(&mut picture, "Write", &detail)
        }
    };
    add(&mut picture, query, result);
    picture
}

fn add(picture: &mut GraphDescription, plan: &LogicalPlan, into: u32) {
    if picture.vertices.len() >= MAX_VERTICES {
        return;
    }
    let display = plan.display().to_string();
    let (name, detail) = display.split_once(':').unwrap_or((&display, ""));
    let id = vertex(picture, name, detail.trim());
    picture.edges.push(Edge { from: id, to: into });
    for input in plan.inputs() {
        add(picture, input, id);
    }
}

fn vertex(picture: &mut GraphDescription, name: &str, detail: &str) -> u32 {
    let id = picture.vertices.len() as u32;
    let mut short: String = detail.chars().take(MAX_DETAIL).collect();
    if short.len() < detail.len() {
        short.push('…');
    }
    picture.vertices.push(Vertex { id, name: name.to_owned(), detail: short, parallelism: 0 });
    id
}
