//! Flink's JSON of a streaming plan, as people see it in `graph`.

use std::collections::BTreeMap;

use proto::api::{Edge, GraphDescription, Vertex};
use serde::Deserialize;

use crate::role::Role;

#[derive(Deserialize)]
struct StreamPlan {
    #[serde(default)]
    nodes: Vec<StreamNode>,
}

#[derive(Deserialize)]
struct StreamNode {
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

/// The vertices and edges of a plan, and where its sinks print if they do. A text that is no plan
/// has no vertices, because a description is for people and must not hold up a job.
pub fn describe(json: &str, prints: bool) -> GraphDescription {
    let prints_in = if prints { Role::TaskManager.name().to_owned() } else { String::new() };
    let mut description = GraphDescription { prints_in, ..GraphDescription::default() };
    let Ok(plan) = serde_json::from_str::<StreamPlan>(json) else { return description };
    let numbers: BTreeMap<String, u32> =
        (0..).zip(&plan.nodes).map(|(number, node)| (node.id.to_string(), number)).collect();
    for (number, node) in (0..).zip(plan.nodes) {
        let name = if node.r#type.is_empty() { node.contents.clone() } else { node.r#type };
        let detail = if name == node.contents { node.pact } else { node.contents };
        description.vertices.push(Vertex {
            id: number,
            name,
            detail,
            parallelism: node.parallelism,
        });
        let from =
            node.predecessors.iter().filter_map(|of| numbers.get(&of.id.to_string()).copied());
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
        let described = describe(json, false);
        let names: Vec<_> =
            described.vertices.iter().map(|v| (v.id, v.name.as_str(), v.parallelism)).collect();
        assert_eq!(names, [(0, "Source: in", 1), (1, "Map", 4)]);
        assert_eq!(described.edges, [Edge { from: 0, to: 1 }]);
        assert_eq!(described.prints_in, "");
    }

    #[test]
    fn what_a_program_prints_is_in_the_output_of_its_taskmanagers() {
        assert_eq!(describe("{}", true).prints_in, "taskmanager");
    }

    #[test]
    fn text_that_is_no_plan_describes_nothing() {
        assert_eq!(describe("no JSON at all", false), GraphDescription::default());
    }
}
