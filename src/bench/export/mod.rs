//! A workload for other engines. Pure: specifications in, texts out.

mod k6;
mod pgbench;

pub use k6::script as k6_script;
pub use pgbench::{Scripts, scripts as pgbench_scripts};

use crate::model::{PersonaSpec, Query, QuerySpec, Workload, WorkloadFile};

/// One query as one persona.
struct Task<'a> {
    /// `query@persona`.
    id: String,
    query: &'a QuerySpec,
    persona: &'a PersonaSpec,
    /// Its values, where they are to be written.
    drawn: Option<&'a Query>,
}

/// `drawn` where the values are to be written; otherwise whoever runs the workload draws them.
fn tasks<'a>(file: &'a WorkloadFile, drawn: Option<&'a Workload>) -> Vec<Task<'a>> {
    let mut found = Vec::new();
    for query in &file.queries {
        for name in &query.personas {
            let id = format!("{}@{name}", query.name);
            if let Some(persona) = file.personas.get(name) {
                found.push(Task {
                    query,
                    persona,
                    drawn: drawn.and_then(|w| w.queries.iter().find(|q| q.id == id)),
                    id,
                });
            }
        }
    }
    found
}
