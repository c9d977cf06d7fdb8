//! Every rule is registered under its own name and explains itself.

use dbtune::rules;
use std::{collections::BTreeSet, fs, path::Path};

/// Files of `src/rules` that hold no rule.
const NO_RULES: &[&str] = &[
    "mod",
    "analysed",
    "exposure",
    "facts",
    "fix",
    "meaning",
    "measure",
    "reach",
    "resolution",
    "running",
    "sensitive",
    "sink",
    "tested",
    "traffic",
    "visits",
];

#[test]
fn every_rule_file_is_registered_under_its_own_name() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/rules");
    let files: BTreeSet<String> = fs::read_dir(dir)
        .unwrap()
        .map(|e| {
            let path = e.unwrap().path();
            path.file_stem().unwrap().to_str().unwrap().to_owned()
        })
        .filter(|f| !NO_RULES.contains(&f.as_str()))
        .map(|f| f.replace('_', "-"))
        .collect();
    let ids: BTreeSet<String> = rules::ALL.iter().map(|r| r.id.to_owned()).collect();
    assert_eq!(files, ids);
    assert_eq!(ids.len(), rules::ALL.len(), "an id is used twice");
}

#[test]
fn every_rule_explains_itself() {
    for rule in rules::ALL {
        for heading in ["## What it finds", "## Why it matters", "## What to do"] {
            assert!(rule.docs.contains(heading), "{}: no {heading}", rule.id);
        }
        // What a scratch database cannot show, such as traffic, is `shown`, not run; a test of its own covers it.
        for kind in ["bad", "good"] {
            let fences = [format!("```sql,{kind}"), format!("```sql,{kind} shown")];
            let found = fences.iter().any(|f| example(rule.docs, f).is_some());
            assert!(found, "{}: no {kind} example", rule.id);
        }
        assert!(!rule.summary.ends_with('.'), "{}", rule.id);
    }
}

/// The first code block of the documentation that opens with `fence`.
pub(crate) fn example(docs: &str, fence: &str) -> Option<String> {
    let mut lines = docs.lines().map(|l| l.strip_prefix(' ').unwrap_or(l));
    lines.find(|line| *line == fence)?;
    let code: Vec<&str> = lines.take_while(|l| *l != "```").collect();
    (!code.is_empty()).then(|| code.join("\n"))
}

#[test]
fn every_rewrite_names_a_rule_that_exists() {
    for step in dbtune::sql::rewrite::STEPS {
        if let Some(id) = step.rule {
            assert!(rules::find(id).is_some(), "{id}: {}", step.words);
        }
    }
}
