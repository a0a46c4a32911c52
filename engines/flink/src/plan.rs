//! Flink's JSON of a streaming plan, as people see it in `graph`.

use std::collections::BTreeMap;

use proto::api::{Edge, GraphDescription, Vertex};
use serde::Deserialize;

use crate::role::Role;

#[derive(Deserialize)]
struct Plan {
    #[serde(default)]
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: serde_json::Value,
    #[serde(default)]
    r#type: String,
    #[serde(default)]
    pact: String,
    #[serde(default)]
    contents: String,
    #[serde(default)]
    parallelism: u32,
    #[serde(default)]
    predecessors: Vec<Predecessor>,
}

#[derive(Deserialize)]
struct Predecessor {
    id: serde_json::Value,
}

/// What Flink calls the sinks that print, in whatever is in front of it.
const PRINTING: [&str; 2] = ["Print to Std. Out", "Print to Std. Err"];

/// Vertices and edges of a plan. Empty for text that is none: a description is for people and must not hold up a job.
pub fn describe(json: &str) -> GraphDescription {
    let Ok(plan) = serde_json::from_str::<Plan>(json) else { return GraphDescription::default() };
    let numbers: BTreeMap<String, u32> =
        (0..).zip(&plan.nodes).map(|(number, node)| (node.id.to_string(), number)).collect();
    let mut description = GraphDescription::default();
    for (number, node) in (0..).zip(plan.nodes) {
        let name = if node.r#type.is_empty() { node.contents.clone() } else { node.r#type };
        if PRINTING.iter().any(|sink| name.contains(sink)) {
            description.prints_in = Role::TaskManager.name().to_owned();
        }
        let detail = if name == node.contents { node.pact } else { node.contents };
        description.vertices.push(Vertex { id: number, name, detail, parallelism: node.parallelism });
        let from = node.predecessors.iter().filter_map(|of| numbers.get(&of.id.to_string()).copied());
        description.edges.extend(from.map(|from| Edge { from, to: number }));
    }
    description
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_become_vertices_and_predecessors_edges() {
        let json = r#"{"nodes": [
            {"id": 7, "type": "Source: in", "pact": "Data Source", "contents": "Source: in", "parallelism": 1},
            {"id": 9, "type": "Map", "pact": "Operator", "contents": "Map", "parallelism": 4,
             "predecessors": [{"id": 7, "ship_strategy": "REBALANCE", "side": "second"}]}]}"#;
        let described = describe(json);
        let names: Vec<_> =
            described.vertices.iter().map(|v| (v.id, v.name.as_str(), v.parallelism)).collect();
        assert_eq!(names, [(0, "Source: in", 1), (1, "Map", 4)]);
        assert_eq!(described.edges, [Edge { from: 0, to: 1 }]);
        assert_eq!(described.prints_in, "");
    }

    #[test]
    fn what_a_program_prints_is_in_the_output_of_its_taskmanagers() {
        let json = r#"{"nodes": [{"id": 2, "type": "Sink: Print to Std. Out", "contents": "Sink: Print to Std. Out"}]}"#;
        assert_eq!(describe(json).prints_in, "taskmanager");
    }

    #[test]
    fn text_that_is_no_plan_describes_nothing() {
        assert_eq!(describe("no JSON at all"), GraphDescription::default());
    }
}
