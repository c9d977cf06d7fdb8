//! Scripts for pgbench, which counts on its own what dbtune measures.

use super::{Task, tasks};
use crate::model::{ParamSpec, PersonaSpec, RunAs, Workload, WorkloadFile};
use crate::sql::quote::{ident, literal};
use crate::sql::variables::for_pgbench;
use serde_json::Value;
use std::fmt::Write;

/// The files, by name, and what could not be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scripts {
    pub files: Vec<(String, String)>,
    /// `query@persona` and why.
    pub left: Vec<(String, String)>,
}

/// A script for each query as each persona, and `run.sh`, which gives them their weights.
///
/// Each client draws its persona and its parameters when it runs a script for the first time, and keeps them in settings
/// of its session; with `drawn` they are written into the scripts.
pub fn scripts(file: &WorkloadFile, drawn: Option<&Workload>) -> Scripts {
    let tasks = tasks(file, drawn);
    let mut out = Scripts::default();
    let total: f64 = tasks.iter().map(|t| t.query.weight).sum();
    let mut options = Vec::new();
    for (number, task) in (1..).zip(&tasks) {
        match script(task, number) {
            None => out.left.push((
                task.id.clone(),
                "its SQL has a colon that pgbench takes for a variable".to_owned(),
            )),
            Some(text) => {
                let name = file_name(number, &task.id);
                let weight = (1000.0 * task.query.weight / total).round().max(1.0);
                options.push(format!(
                    "  --define=ready_{number}=0 --file={name}@{weight:.0}"
                ));
                out.files.push((name, text));
            }
        }
    }
    out.files.push(("run.sh".to_owned(), runner(&options)));
    out
}

fn file_name(number: usize, id: &str) -> String {
    let plain: String = id
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '_' || c == '-' {
                c
            } else {
                '.'
            }
        })
        .collect();
    format!("{number:02}_{plain}.sql")
}

fn runner(options: &[String]) -> String {
    format!(
        "#!/bin/sh\n\
         # The workload with its weights: ./run.sh -c 8 -T 60 DATABASE, with any further option of pgbench; the connection\n\
         # comes from these and from PGHOST, PGUSER and their like. The role must be able to SET ROLE to every persona.\n\
         # Parameters are part of the scripts, so the protocol must stay prepared or extended. -r shows each statement:\n\
         # what a transaction takes includes its set-up.\n\
         set -eu\n\
         cd \"$(dirname \"$0\")\"\n\
         exec \"${{PGBENCH:-pgbench}}\" --no-vacuum --protocol=prepared \\\n{} \\\n  \"$@\"\n",
        options.join(" \\\n")
    )
}

/// How many values of a parameter a client keeps.
const KEPT: usize = 100;

fn script(task: &Task<'_>, number: usize) -> Option<String> {
    let mut out = format!("-- {}\n", task.id.replace(['\n', '\r'], " "));
    let mut first = Vec::new();
    match task.drawn {
        Some(query) => {
            let mut settings = query.persona.settings.clone();
            settings.extend(query.settings.clone());
            let json = serde_json::json!(settings).to_string();
            first.push(keep(&format!("settings_{number}"), &literal(&json)));
            for at in 0..query.types.len() {
                let values: Vec<_> = query
                    .draws
                    .iter()
                    .filter_map(|d| d.get(at)?.clone())
                    .collect();
                let json = serde_json::json!(values).to_string();
                first.push(keep(
                    &format!("values_{number}_{}", at + 1),
                    &literal(&json),
                ));
            }
        }
        None => drawing(task, number, &mut first),
    }
    first.push("select set_config('plan_cache_mode', 'force_custom_plan', false)".to_owned());
    let _ = writeln!(out, "\\if :ready_{number}\n\\else");
    for statement in first {
        let _ = writeln!(out, "{};", for_pgbench(&statement, &|_| String::new())?);
    }
    let _ = writeln!(out, "\\set ready_{number} 1\n\\endif");
    for at in 1..=task.query.params.len() {
        let _ = writeln!(
            out,
            "\\set d{at} random(0, 2000000000)\n\
             select v ->> (:d{at}::int % jsonb_array_length(v)) as p{at} from (select current_setting('dbtune.values_{number}_{at}')::jsonb as v) s \\gset"
        );
    }
    let types: Vec<&str> = task
        .query
        .params
        .iter()
        .map(|p| p.type_name.as_str())
        .collect();
    let variable = |n: u32| {
        let kind = usize::try_from(n)
            .ok()
            .and_then(|n| types.get(n.checked_sub(1)?));
        format!(":p{n}::{}", kind.unwrap_or(&"text"))
    };
    let _ = writeln!(
        out,
        "begin{};\n{};\nset local role {};\n{};\nrollback;",
        if task.query.write { "" } else { " read only" },
        apply(number),
        ident(&task.persona.role),
        for_pgbench(&task.query.sql, &variable)?
    );
    Some(out)
}

/// The statements with which a client draws its persona and its values.
fn drawing(task: &Task<'_>, number: usize, first: &mut Vec<String>) {
    let (persona, query) = (task.persona, task.query);
    let mut fields = vec![];
    for (name, text) in persona.settings.iter().chain(&query.settings) {
        let value = template(&Value::String(text.clone()));
        fields.push(format!(
            "{}, ({value}) #>> '{{}}'",
            literal(name).trim_start()
        ));
    }
    if !persona.claims.is_empty() {
        let claims = persona.claims.clone().into_iter().collect();
        let value = template(&Value::Object(claims));
        fields.push(format!("'request.jwt.claims', ({value})::text"));
    }
    first.push(keep(
        &format!("settings_{number}"),
        &format!(
            "(select jsonb_build_object({})::text from ({}) r)",
            fields.join(", "),
            row(persona)
        ),
    ));
    for (at, param) in (1..).zip(&query.params) {
        let own = param.run_as == RunAs::Persona;
        if own {
            first.push("begin".to_owned());
            first.push(apply(number));
            first.push(format!("set local role {}", ident(&persona.role)));
        }
        first.push(keep(&format!("values_{number}_{at}"), &values(param)));
        if own {
            first.push("commit".to_owned());
        }
    }
}

fn values(param: &ParamSpec) -> String {
    format!(
        "(select jsonb_agg(v)::text from (select v::text from ({}) s(v) where v is not null order by md5(v::text) limit {KEPT}) s)",
        param.sql
    )
}

/// The persona's sample as one JSON row.
fn row(persona: &PersonaSpec) -> String {
    match &persona.sample {
        Some(sql) => format!("select to_jsonb(s) as j from ({sql}) s limit 1"),
        None => "select '{}'::jsonb as j".to_owned(),
    }
}

/// A setting of the session, which stays.
fn keep(name: &str, value: &str) -> String {
    format!("select set_config('dbtune.{name}', {value}, false)")
}

/// The persona's settings for the open transaction.
fn apply(number: usize) -> String {
    format!(
        "select count(set_config(key, value, true)) from json_each_text(current_setting('dbtune.settings_{number}')::json)"
    )
}

/// A value with `${column}` in it as an expression over the sample's row `r.j`, of type jsonb.
fn template(value: &Value) -> String {
    match value {
        Value::String(text) => templated(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(template).collect();
            format!("jsonb_build_array({})", items.join(", "))
        }
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(k, v)| format!("{}::text, {}", literal(k).trim_start(), template(v)))
                .collect();
            format!("jsonb_build_object({})", fields.join(", "))
        }
        other => format!("{}::jsonb", literal(&other.to_string()).trim_start()),
    }
}

fn templated(text: &str) -> String {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, end)) = after.split_once('}') else {
            break;
        };
        let name = literal(name).trim_start().to_owned();
        if before.is_empty() && end.is_empty() && parts.is_empty() {
            return format!("r.j -> {name}");
        }
        parts.push(literal(before).trim_start().to_owned());
        parts.push(format!("coalesce(r.j ->> {name}, '')"));
        rest = end;
    }
    parts.push(literal(rest).trim_start().to_owned());
    format!("to_jsonb(({})::text)", parts.join(" || "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::QuerySpec;

    #[test]
    fn no_value_is_written_unless_it_was_drawn() {
        let persona = PersonaSpec {
            role: "app".to_owned(),
            claims: [("sub".to_owned(), Value::from("${id}"))].into(),
            sample: Some("select 1 as id".to_owned()),
            ..PersonaSpec::default()
        };
        let query = QuerySpec {
            name: "find".to_owned(),
            personas: vec!["p".to_owned()],
            sql: "select * from t where a = $1".to_owned(),
            params: vec![ParamSpec {
                type_name: "integer".to_owned(),
                sql: "select a from t".to_owned(),
                run_as: RunAs::Persona,
            }],
            weight: 1.0,
            ..QuerySpec::default()
        };
        let file = WorkloadFile {
            version: 1,
            personas: [("p".to_owned(), persona)].into(),
            queries: vec![query.clone()],
            ..WorkloadFile::default()
        };
        let found = scripts(&file, None);
        let names: Vec<_> = found.files.iter().map(|(n, _)| n.as_str()).collect();
        assert_eq!(names, ["01_find.p.sql", "run.sh"]);
        let text = &found.files[0].1;
        assert!(
            text.contains("where a = :p1::integer;\nrollback;"),
            "{text}"
        );
        let drawn = Workload {
            personas: Vec::new(),
            queries: vec![Query {
                id: "find@p".to_owned(),
                types: vec!["integer".to_owned()],
                draws: vec![vec![Some("4711".to_owned())]],
                ..Query::default()
            }],
        };
        let text = scripts(&file, Some(&drawn)).files[0].1.clone();
        assert!(
            text.contains("4711") && !text.contains("select a from t"),
            "{text}"
        );
    }

    use crate::model::Query;
}
