//! The workload file as text, with comments for whoever goes on from it.

use crate::model::{ParamSpec, PersonaSpec, QuerySpec, RunAs};
use serde_json::Value;
use std::fmt::Write;

/// Something with remarks that become comments above it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Noted<T> {
    pub value: T,
    pub notes: Vec<String>,
}

/// A statement that is not in the workload, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    pub name: String,
    pub sql: String,
    pub why: String,
}

/// A workload file before it is written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// What stands at the top.
    pub notes: Vec<String>,
    pub personas: Vec<(String, Noted<PersonaSpec>)>,
    /// Each with the remarks on its parameters, in order.
    pub queries: Vec<(Noted<QuerySpec>, Vec<Option<String>>)>,
    pub left: Vec<Left>,
}

impl Recording {
    /// As `config::parse_workload` reads it.
    pub fn to_yaml(&self) -> String {
        let mut out = Text::default();
        for note in &self.notes {
            out.note(0, note);
        }
        out.line(0, "version: 1");
        out.line(0, "seed: 1");
        out.line(0, "\npersonas:");
        for (name, persona) in &self.personas {
            out.persona(name, persona);
        }
        out.line(0, "\nqueries:");
        for (query, notes) in &self.queries {
            out.query(query, notes);
        }
        if !self.left.is_empty() {
            out.line(0, "\n# Left out:");
        }
        for left in &self.left {
            out.note(0, &format!("- {}: {}", left.name, left.why));
            out.note(4, &left.sql);
        }
        out.0
    }
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn line(&mut self, indent: usize, text: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "{:indent$}{text}", "");
    }

    fn note(&mut self, indent: usize, text: &str) {
        for line in text.lines() {
            let line: String = line
                .chars()
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect();
            self.line(indent, format!("# {line}").trim_end());
        }
    }

    /// `key: value`, as a block where the text has several lines.
    fn field(&mut self, indent: usize, key: &str, text: &str) {
        if !text.contains('\n') || !is_block(text) {
            self.line(indent, &format!("{key}: {}", scalar(text)));
            return;
        }
        self.line(indent, &format!("{key}: |-"));
        // Inside a list item the key's own column counts, not that of the dash.
        let inner = indent + 2 + if key.starts_with("- ") { 2 } else { 0 };
        for line in text.lines() {
            self.line(inner, line);
        }
    }

    fn persona(&mut self, name: &str, persona: &Noted<PersonaSpec>) {
        for note in &persona.notes {
            self.note(2, note);
        }
        let spec = &persona.value;
        self.line(2, &format!("{}:", scalar(name)));
        if let Some(about) = &spec.about {
            self.field(4, "about", about);
        }
        self.field(4, "role", &spec.role);
        if !spec.claims.is_empty() {
            let claims = spec.claims.clone().into_iter().collect();
            self.line(4, &format!("claims: {}", Value::Object(claims)));
        }
        if !spec.settings.is_empty() {
            let settings = spec.settings.iter();
            let settings = settings.map(|(k, v)| (k.clone(), Value::from(v.as_str())));
            self.line(
                4,
                &format!("settings: {}", Value::Object(settings.collect())),
            );
        }
        if let Some(sample) = &spec.sample {
            self.field(4, "sample", sample);
        }
    }

    fn query(&mut self, query: &Noted<QuerySpec>, notes: &[Option<String>]) {
        for note in &query.notes {
            self.note(2, note);
        }
        let spec = &query.value;
        self.field(2, "- name", &spec.name);
        let personas: Vec<String> = spec.personas.iter().map(|p| scalar(p)).collect();
        self.line(4, &format!("personas: [{}]", personas.join(", ")));
        self.field(4, "sql", &spec.sql);
        if !spec.params.is_empty() {
            self.line(4, "params:");
        }
        for (at, param) in spec.params.iter().enumerate() {
            if let Some(Some(note)) = notes.get(at) {
                self.note(6, note);
            }
            self.param(param);
        }
        self.line(4, &format!("weight: {}", spec.weight));
        if spec.write {
            self.line(4, "write: true");
        }
    }

    fn param(&mut self, param: &ParamSpec) {
        self.field(6, "- type", &param.type_name);
        if param.run_as == RunAs::Owner {
            self.line(8, "as: owner");
        }
        self.field(8, "sql", &param.sql);
    }
}

/// A string that YAML reads back as it is: JSON's form, which YAML knows, wherever it is more than a plain word.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | ' '))
        && !text.ends_with(' ')
        && !is_word(text);
    if plain {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}

/// Words that YAML takes for something else than text.
fn is_word(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    matches!(
        lower.as_str(),
        "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
    )
}

/// Whether the lines of a text mean the same in a literal block.
fn is_block(text: &str) -> bool {
    !text.starts_with([' ', '\n'])
        && !text.ends_with('\n')
        && text.chars().all(|c| !c.is_control() || c == '\n')
        && text
            .lines()
            .all(|l| !l.starts_with('\t') && !l.ends_with(' ') && !l.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_workload;

    #[test]
    fn what_is_written_is_read_back() {
        let persona = PersonaSpec {
            role: "a: \"b\"".to_owned(),
            claims: [("sub".to_owned(), Value::from("${id}"))].into(),
            settings: [("app.x".to_owned(), "1".to_owned())].into(),
            sample: Some("with s as (\n  select 1 as id\n)\nselect id from s".to_owned()),
            about: Some("no".to_owned()),
        };
        let query = QuerySpec {
            name: "select_t_12".to_owned(),
            personas: vec!["p".to_owned()],
            sql: "select *\nfrom t\n\twhere a = $1 and b = E'x\\ny' and c <> ': #'".to_owned(),
            params: vec![ParamSpec {
                type_name: "timestamp with time zone".to_owned(),
                sql: "values ('a'),\n('b')".to_owned(),
                run_as: RunAs::Owner,
            }],
            weight: 12.5,
            write: true,
            ..QuerySpec::default()
        };
        let recording = Recording {
            notes: vec!["From somewhere:\nsome lines".to_owned()],
            personas: vec![(
                "p".to_owned(),
                Noted {
                    value: persona.clone(),
                    notes: vec!["a note\u{7}".to_owned()],
                },
            )],
            queries: vec![(
                Noted {
                    value: query.clone(),
                    notes: Vec::new(),
                },
                vec![Some("why".to_owned())],
            )],
            left: vec![Left {
                name: "x".to_owned(),
                sql: "select\n$1".to_owned(),
                why: "unknown".to_owned(),
            }],
        };
        let text = recording.to_yaml();
        let read = parse_workload("w.yaml", &text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!(read.personas["p"], persona, "{text}");
        assert_eq!(read.queries, [query], "{text}");
        assert!(
            text.contains("# Left out:\n# - x: unknown\n    # select\n    # $1"),
            "{text}"
        );
    }
}
