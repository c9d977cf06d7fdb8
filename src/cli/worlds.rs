//! Rewrites of policies before they are proposed: each is compared with what it replaces on small worlds.

use super::audit::plural;
use crate::db::{Result, Session, Target, clone_database, clone_name};
use crate::model::{Block, Catalog, Change, Gap, Name, Persona, Proposal, Report};
use crate::propose::Advice;
use crate::sql::ddl;
use crate::verify::worlds::{CounterExample, Sides, Verdict, WorldOptions, search};
use std::collections::BTreeSet;

/// Takes the rewrites out of `advice` that small worlds tell from what they replace, and those of which they show nothing:
/// these are gaps. What is left says how many worlds it passed. Returns a counter-example for each that was wrong.
///
/// On a clone of its own: where policies were rewritten and written back, they may mean something else than on `source`,
/// because the text of an expression is not the expression.
pub(super) async fn weed(
    maintenance: &Session,
    source: &Target,
    catalog: &Catalog,
    personas: &[Persona],
    advice: &mut Advice,
    note: &mut (dyn FnMut(&str) + Send),
) -> Result<Vec<CounterExample>> {
    let rewrites = advice.proposals.iter().filter(|p| table_of(p).is_some());
    let rewrites: Vec<Proposal> = rewrites.cloned().collect();
    if rewrites.is_empty() {
        return Ok(Vec::new());
    }
    note("small worlds");
    let made = clone_database(maintenance, &source.dbname, &clone_name("worlds")).await;
    let clone = match made {
        Ok(clone) => clone,
        Err(error) => {
            for rewrite in &rewrites {
                let why = format!("there is no clone to try small worlds on: {error}");
                leave_out(advice, rewrite, &why);
            }
            return Ok(Vec::new());
        }
    };
    let trial = Trial {
        clone: &clone.target,
        catalog,
        personas,
        functions: functions(&rewrites),
    };
    let found = weed_each(&trial, advice, note).await;
    clone.drop(maintenance).await?;
    found
}

async fn weed_each(
    trial: &Trial<'_>,
    advice: &mut Advice,
    note: &mut (dyn FnMut(&str) + Send),
) -> Result<Vec<CounterExample>> {
    let mut examples = Vec::new();
    let tables = advice.proposals.iter().filter_map(table_of).cloned();
    let tables: BTreeSet<Name> = tables.collect();
    for table in tables {
        let of_table = |p: &&Proposal| table_of(p) == Some(&table);
        let together: Vec<Proposal> = advice.proposals.iter().filter(of_table).cloned().collect();
        for (proposal, verdict) in trial.verdicts(&table, together, note).await? {
            match verdict {
                Verdict::Same { worlds } => passed(advice, &proposal, worlds),
                Verdict::Different(example) => {
                    leave_out(advice, &proposal, &different(&example));
                    examples.push(*example);
                }
                Verdict::NotShown(why) => {
                    let why = format!("small worlds show nothing of it: {why}");
                    leave_out(advice, &proposal, &why);
                }
            }
        }
    }
    Ok(examples)
}

/// What a rewrite needs that was not tried on a clone.
pub(super) fn untried(advice: &mut Advice) {
    if advice.proposals.iter().any(|p| table_of(p).is_some()) {
        advice.gaps.push(Gap {
            what: "whether policy rewrites keep every row".to_owned(),
            why: "small worlds are made on a clone, and there is none: the rewrites rest on their proof alone".to_owned(),
            remedy: Some("dbtune propose --clone always".to_owned()),
        });
    }
}

/// The counter-examples, for whoever wants to see them fail.
pub(super) fn show(report: &mut Report, examples: &[CounterExample]) {
    for example in examples {
        report.blocks.push(Block::Heading(format!(
            "Left out: a rewrite on {} that changes a decision",
            example.table
        )));
        report.blocks.push(Block::Code {
            language: "sql".to_owned(),
            text: example.sql.clone(),
        });
    }
    if let Some(data) = report.data.as_object_mut().filter(|_| !examples.is_empty()) {
        data.insert("counter_examples".to_owned(), serde_json::json!(examples));
    }
}

struct Trial<'a> {
    clone: &'a Target,
    catalog: &'a Catalog,
    personas: &'a [Persona],
    /// Functions that rewrites call.
    functions: Vec<Change>,
}

impl Trial<'_> {
    /// One search for all rewrites of a table; where it does not find them the same, one for each.
    async fn verdicts(
        &self,
        table: &Name,
        together: Vec<Proposal>,
        note: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Vec<(Proposal, Verdict)>> {
        let verdict = self.verdict(table, &together, note).await?;
        let done = together.len() == 1 || matches!(verdict, Verdict::Same { .. });
        let mut found = Vec::new();
        for proposal in together {
            let verdict = if done {
                verdict.clone()
            } else {
                let alone = std::slice::from_ref(&proposal);
                self.verdict(table, alone, note).await?
            };
            found.push((proposal, verdict));
        }
        Ok(found)
    }

    async fn verdict(
        &self,
        table: &Name,
        proposals: &[Proposal],
        note: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Verdict> {
        let replaced = proposals.iter().flat_map(|p| &p.changes);
        let replaced: Vec<&Change> = replaced.filter(|c| replaces(c).is_some()).collect();
        let changes: Vec<&Change> = self.functions.iter().chain(replaced).collect();
        let after: Vec<String> = changes.iter().flat_map(|c| ddl::statements(c)).collect();
        let rewritten = changes
            .iter()
            .fold(self.catalog.clone(), |catalog, change| catalog.with(change));
        let sides = Sides::One {
            target: self.clone,
            before: &[],
            after: &after,
        };
        let mut told = |done: usize, of: usize| {
            if done.is_multiple_of(100) {
                note(&format!("small worlds of {table}: {done} of {of}"));
            }
        };
        let catalogs = (self.catalog, &rewritten);
        let options = WorldOptions::default();
        search(sides, catalogs, table, self.personas, options, &mut told).await
    }
}

fn functions(proposals: &[Proposal]) -> Vec<Change> {
    let changes = proposals.iter().flat_map(|p| &p.changes);
    let made = changes.filter(|c| matches!(c, Change::CreateFunction { .. }));
    made.cloned().collect()
}

fn replaces(change: &Change) -> Option<&Name> {
    match change {
        Change::ReplacePolicy { table, .. } => Some(table),
        _ => None,
    }
}

/// The table whose policy a proposal rewrites.
fn table_of(proposal: &Proposal) -> Option<&Name> {
    proposal.changes.iter().find_map(replaces)
}

fn passed(advice: &mut Advice, proposal: &Proposal, worlds: usize) {
    for kept in advice.proposals.iter_mut().filter(|p| *p == proposal) {
        kept.reason.push_str("; ");
        kept.reason.push_str(&format_worlds(worlds));
    }
}

fn format_worlds(worlds: usize) -> String {
    format!("the same rows in {worlds} small worlds")
}

fn different(example: &CounterExample) -> String {
    format!(
        "it changes a decision: in a small world of {}, {} as {} comes to {} before and {} after",
        plural(example.rows, "row", "rows"),
        example.statement,
        example.role,
        example.before,
        example.after
    )
}

/// Takes the proposal out. A function that only it makes goes to the next that calls it.
fn leave_out(advice: &mut Advice, proposal: &Proposal, why: &str) {
    advice.proposals.retain(|p| p != proposal);
    for change in functions(std::slice::from_ref(proposal)) {
        let Change::CreateFunction { name, .. } = &change else {
            continue;
        };
        let heir = advice.proposals.iter_mut().find(|p| calls(p, &name.name));
        if let Some(heir) = heir {
            heir.changes.insert(0, change);
        }
    }
    let policy = proposal.changes.iter().find_map(|c| match c {
        Change::ReplacePolicy { table, policy, .. } => Some(format!("policy {policy} on {table}")),
        _ => None,
    });
    advice.gaps.push(Gap {
        what: format!("rewrite of {}", policy.unwrap_or_default()),
        why: format!("left out, because {why}"),
        remedy: None,
    });
}

/// Whether the policy that a proposal writes names a function.
fn calls(proposal: &Proposal, function: &str) -> bool {
    proposal.changes.iter().any(|change| match change {
        Change::ReplacePolicy { after, .. } => {
            let texts = [&after.using, &after.check];
            let said = |text: &String| crate::sql::said::said(text);
            let called = texts.into_iter().flatten().filter_map(said);
            called.into_iter().any(|s| s.called.contains(function))
        }
        _ => false,
    })
}
