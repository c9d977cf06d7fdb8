//! A script for k6 with the xk6-sql extension.

use super::tasks;
use crate::model::{RunAs, Workload, WorkloadFile};
use serde_json::{Value, json};

/// What runs the tasks; the tasks themselves are data above it.
const BODY: &str = include_str!("k6.js");

/// The whole script. Without `drawn` its `setup()` draws personas and parameters when it runs. `target` gives the target of a
/// `query@persona` whose workload entry may name its own, in milliseconds.
pub fn script(
    file: &WorkloadFile,
    drawn: Option<&Workload>,
    target: &dyn Fn(&str, Option<f64>) -> f64,
) -> String {
    let tasks: Vec<Value> = tasks(file, drawn)
        .iter()
        .map(|task| {
            let (query, persona) = (task.query, task.persona);
            let params: Vec<Value> = query
                .params
                .iter()
                .map(|p| json!({ "type": p.type_name, "sql": p.sql, "owner": p.run_as == RunAs::Owner }))
                .collect();
            let mut out = json!({
                "id": task.id,
                "weight": query.weight,
                "write": query.write,
                "slo_ms": target(&task.id, query.slo_ms),
                "role": crate::sql::quote::ident(&persona.role),
                "sql": query.sql,
            });
            let more = if let Some(drawn) = task.drawn {
                let mut settings = drawn.persona.settings.clone();
                settings.extend(drawn.settings.clone());
                json!({ "values": { "settings": settings, "draws": drawn.draws } })
            } else {
                let mut settings = persona.settings.clone();
                settings.extend(query.settings.clone());
                json!({
                    "sample": persona.sample,
                    "claims": persona.claims,
                    "settings": settings,
                    "params": params,
                })
            };
            if let (Some(out), Value::Object(more)) = (out.as_object_mut(), more) {
                out.extend(more);
            }
            out
        })
        .collect();
    let tasks = serde_json::to_string_pretty(&tasks).unwrap_or_default();
    format!("const TASKS = {tasks};\n{BODY}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{PersonaSpec, QuerySpec};

    #[test]
    fn every_task_is_data() {
        let file = WorkloadFile {
            version: 1,
            personas: [(
                "p".to_owned(),
                PersonaSpec {
                    role: "App \"x\"".to_owned(),
                    ..PersonaSpec::default()
                },
            )]
            .into(),
            queries: vec![QuerySpec {
                name: "q".to_owned(),
                personas: vec!["p".to_owned()],
                sql: "select '</script>`${x}`'".to_owned(),
                weight: 2.0,
                ..QuerySpec::default()
            }],
            ..WorkloadFile::default()
        };
        let text = script(&file, None, &|_, own| own.unwrap_or(100.0));
        let data = text
            .strip_prefix("const TASKS = ")
            .and_then(|t| t.split_once(";\n"))
            .unwrap()
            .0;
        let tasks: Value = serde_json::from_str(data).unwrap();
        assert_eq!(tasks[0]["id"], "q@p");
        assert_eq!(tasks[0]["slo_ms"], 100.0);
        assert_eq!(tasks[0]["role"], "\"App \"\"x\"\"\"");
        assert!(text.contains("k6/x/sql/driver/postgres"));
    }
}
