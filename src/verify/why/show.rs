//! What is said of one row, as a short tree in words.

use super::found::{Ground, Part, Says, Told, Why};
use crate::model::{Block, Report};
use crate::verify::effective::Clause;

/// Characters of an expression that are shown.
const MOST: usize = 160;

pub fn report(why: &Why) -> Report {
    let verb = match why.seen() {
        Some(true) => "sees",
        Some(false) => "does not see",
        None => "may or may not see",
    };
    let summary = format!("{} {verb} {} {}", why.identity, why.table, why.key);
    let mut report = Report::new("verify", summary);
    report.outcome = why.outcome();
    let mut said: Vec<(Vec<&'static str>, Vec<String>)> = Vec::new();
    for told in &why.clauses {
        let tree = tree(told);
        match said.iter_mut().find(|(_, t)| *t == tree) {
            Some((clauses, _)) => clauses.push(told.clause.words()),
            None => said.push((vec![told.clause.words()], tree)),
        }
    }
    let mut lines = Vec::new();
    for (clauses, tree) in said {
        let mut tree = tree.into_iter();
        let first = tree.next().unwrap_or_default();
        lines.push(format!("{}: {first}", clauses.join(", ")));
        lines.extend(tree);
    }
    report.blocks.push(Block::Code {
        language: "text".to_owned(),
        text: lines.join("\n"),
    });
    if why.is_contradicted() {
        report.blocks.push(Block::Warning(
            "The server answers a SELECT by this key otherwise than the texts of the policies say: the server is right."
                .to_owned(),
        ));
    }
    report.data = serde_json::json!(why);
    report
}

fn tree(told: &Told) -> Vec<String> {
    let seen = told.clause == Clause::Select;
    let verdict = match (told.admitted, seen) {
        (Some(true), true) => "visible",
        (Some(false), true) => "hidden",
        (Some(true), false) => "allowed",
        (Some(false), false) => "refused",
        (None, _) => "cannot tell",
    };
    let because = match told.ground {
        Ground::NoPrivilege => ": the role has no such privilege on the table",
        Ground::Nobody => {
            ": row-level security is on, and no permissive policy is for this role and command"
        }
        Ground::Policies => "",
        Ground::Exempt => ": the role is exempt from policies (owner, superuser or BYPASSRLS)",
        Ground::Open => ": the table has no row-level security",
    };
    let mut lines = vec![format!("{verdict}{because}")];
    for permissive in [true, false] {
        for policy in told.policies.iter().filter(|p| p.permissive == permissive) {
            let kind = if permissive {
                "permissive"
            } else {
                "restrictive"
            };
            let about = format!("policy {} ({kind}) {}", policy.name, says(&policy.says));
            draw(&about, &policy.says, 1, &mut lines);
        }
    }
    let told_by_policies = matches!(told.ground, Ground::Policies | Ground::Nobody);
    if told_by_policies && !told.aside.is_empty() {
        lines.push(format!(
            "  not asked of this role: {}",
            told.aside.join(", ")
        ));
    }
    lines
}

fn draw(about: &str, part: &Part, depth: usize, lines: &mut Vec<String>) {
    let blank = "  ".repeat(depth);
    if part.parts.is_empty() {
        // The line of a policy says nothing of its text yet.
        let text = if depth == 1 {
            format!(": {}", short(&part.text))
        } else {
            String::new()
        };
        lines.push(format!("{blank}{about}{text}"));
        return;
    }
    let joined = if part.all { "all of" } else { "any of" };
    lines.push(format!("{blank}{about}: {joined}"));
    for inner in &part.parts {
        let about = if inner.parts.is_empty() {
            format!("{} {}", short(&inner.text), says(inner))
        } else {
            format!("({})", says(inner))
        };
        draw(&about, inner, depth + 1, lines);
    }
}

fn says(part: &Part) -> String {
    match &part.says {
        Says::True => "is true".to_owned(),
        Says::False => "is false".to_owned(),
        Says::Null => "is null".to_owned(),
        Says::Raises(state) => format!("raises {state}"),
        Says::Unknown(why) => format!("cannot be told, because it {why}"),
    }
}

fn short(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut shown: String = words.chars().take(MOST).collect();
    if shown.len() < words.len() {
        shown.push('…');
    }
    format!("`{shown}`")
}
