//! What a new index is good for, by the plans of a workload before and after it. Pure.

use super::files::Folder;
use super::plan::{Direction, Task, group_of};
use super::proof::UNSEEN;
use crate::db::IndexFamily;
use crate::model::{Name, Plan, Workload};
use crate::sql::script::{self, Object, Statement};
use std::collections::{BTreeMap, BTreeSet};

/// A query that costs more than so many times what it did is made worse.
const WORSE: f64 = 1.1;

/// How `apply` judges the indexes that it makes.
#[derive(Clone, Debug)]
pub struct Gain {
    /// Planned as its personas, never run.
    pub workload: Workload,
    /// Take back each index that is unused or harmful.
    pub take_back: bool,
}

/// A query's planner cost before and after, on average over its draws.
#[derive(Clone, Debug, PartialEq)]
pub struct Rise {
    /// `query@persona`
    pub query: String,
    pub before: f64,
    pub after: f64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    Used,
    /// No plan of the workload reads it.
    Unused,
    /// A query of its table costs more since.
    Harmful,
    /// Kept whatever the plans say, and why.
    Exempt(String),
}

/// On one migration that made an index.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Of the migration; of its first where several belong together.
    pub label: String,
    /// The migrations it stands for, oldest first.
    pub versions: Vec<i64>,
    pub index: String,
    pub judgement: Judgement,
    /// The queries whose plans read it, with their cost before the run and at its end.
    pub used_by: Vec<Rise>,
    /// The queries that its own step made worse, and that are still worse than before the run.
    pub risen: Vec<Rise>,
    pub taken_back: bool,
}

impl Verdict {
    /// Whether the index is better away.
    pub fn is_bad(&self) -> bool {
        matches!(self.judgement, Judgement::Unused | Judgement::Harmful)
    }
}

/// A migration, or several that belong together, that makes indexes and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) label: String,
    /// Oldest first.
    pub(super) versions: Vec<i64>,
    pub(super) indexes: Vec<(Name, String)>,
    /// Its file says that no plan shows its use.
    pub(super) unseen: bool,
}

/// Those that `tasks` make, oldest first.
pub(super) fn candidates(folder: &Folder, tasks: &[Task]) -> Vec<Candidate> {
    let mut found: BTreeMap<i64, Candidate> = BTreeMap::new();
    for task in tasks.iter().filter(|t| t.direction == Direction::Up) {
        let group = group_of(&task.up);
        let first = group.unwrap_or(task.version);
        if found.contains_key(&first) {
            continue;
        }
        let Some(root) = folder.get(first).map(|e| &e.migration) else {
            continue;
        };
        let statements = script::parse(&root.up.sql).unwrap_or_default();
        let Some(indexes) = only_indexes(&statements) else {
            continue;
        };
        let versions = match group {
            None => vec![first],
            Some(_) => folder
                .entries
                .iter()
                .filter(|e| group_of(&e.migration.up.sql) == group)
                .map(|e| e.migration.version)
                .collect(),
        };
        let candidate = Candidate {
            label: root.label(),
            versions,
            indexes,
            unseen: root.up.sql.contains(UNSEEN),
        };
        found.insert(first, candidate);
    }
    found.into_values().collect()
}

/// The indexes that the statements make; `None` where they do anything else.
fn only_indexes(statements: &[Statement]) -> Option<Vec<(Name, String)>> {
    let made: Option<Vec<_>> = statements
        .iter()
        .map(|s| match &s.makes {
            Some(Object::Index { table, name }) => Some((table.clone(), name.clone())),
            _ => None,
        })
        .collect();
    made.filter(|m| !m.is_empty())
}

/// What the plans of one query hold that judging needs, over all its draws.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Planned {
    cost: f64,
    indexes: BTreeSet<String>,
    tables: BTreeSet<Name>,
}

impl Planned {
    /// `share` is one over the number of draws.
    pub(super) fn add(&mut self, plan: &Plan, share: f64) {
        self.cost += plan.total_cost * share;
        self.indexes.extend(plan.indexes_used());
        self.tables
            .extend(plan.nodes().filter_map(|n| n.relation.clone()));
    }
}

/// A workload as the planner sees it at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Plans {
    /// By `query@persona`.
    pub(super) planned: BTreeMap<String, Planned>,
    /// What could not be planned, and why.
    pub(super) failed: BTreeMap<String, String>,
    /// How many rows the server believes each table to have.
    pub(super) rows: BTreeMap<Name, f64>,
}

impl Plans {
    /// The queries that became worse from here to `now`.
    pub(super) fn worse(&self, now: &Self) -> Vec<Rise> {
        self.changes(now)
            .filter(|r| r.after > r.before * WORSE)
            .collect()
    }

    fn changes<'a>(&'a self, now: &'a Self) -> impl Iterator<Item = Rise> + 'a {
        now.planned.iter().filter_map(|(query, after)| {
            Some(Rise {
                query: query.clone(),
                before: self.planned.get(query)?.cost,
                after: after.cost,
            })
        })
    }

    pub(super) fn tables(&self) -> BTreeSet<Name> {
        let planned = self.planned.values();
        planned.flat_map(|p| p.tables.iter().cloned()).collect()
    }

    /// Whether the server counted about as many rows of these tables at both moments. Building an index counts them anew,
    /// and costs follow: no index is to blame for that.
    fn counts_hold(&self, now: &Self, tables: &BTreeSet<Name>) -> bool {
        tables
            .iter()
            .filter_map(|t| self.rows.get(t).zip(now.rows.get(t)))
            .all(|(was, is)| *is <= was * WORSE && *was <= is * WORSE)
    }

    fn reads(&self, query: &str, found: impl Fn(&Planned) -> bool) -> bool {
        self.planned.get(query).is_some_and(found)
    }
}

/// Judges an index by the plans before the run and at its end; `risen` is what its own step made worse, so that
/// nothing else of the run is laid at its door.
pub(super) fn judge(
    candidate: &Candidate,
    family: &IndexFamily,
    (start, now): (&Plans, &Plans),
    risen: &[Rise],
) -> Verdict {
    let uses = |p: &Planned| !p.indexes.is_disjoint(&family.names);
    let touches = |p: &Planned| !p.tables.is_disjoint(&family.tables);
    let readers: BTreeSet<&String> = now
        .planned
        .iter()
        .filter(|(_, p)| uses(p))
        .map(|(query, _)| query)
        .collect();
    let used_by = start
        .changes(now)
        .filter(|r| readers.contains(&r.query))
        .collect();
    let still: BTreeSet<String> = start.worse(now).into_iter().map(|r| r.query).collect();
    let recounted = !start.counts_hold(now, &family.tables);
    let risen: Vec<Rise> = risen
        .iter()
        .filter(|_| !recounted)
        .filter(|r| still.contains(&r.query))
        .filter(|r| start.reads(&r.query, touches) || now.reads(&r.query, touches))
        .cloned()
        .collect();
    let exempt = |why: &str| Judgement::Exempt(why.to_owned());
    let judgement = if candidate.unseen {
        exempt("serves what no plan shows, as its file says")
    } else if family.guards {
        exempt("guards the rows themselves: it is unique, an exclusion, or a replica identity")
    } else if !risen.is_empty() {
        Judgement::Harmful
    } else if !readers.is_empty() {
        Judgement::Used
    } else if family.too_new {
        exempt("cannot be used before transactions older than it have ended")
    } else if !now.failed.is_empty() {
        let failed: Vec<&str> = now.failed.keys().map(String::as_str).collect();
        Judgement::Exempt(format!(
            "not judged, because some queries could not be planned: {}",
            failed.join(", ")
        ))
    } else {
        Judgement::Unused
    };
    let names: Vec<&str> = candidate.indexes.iter().map(|(_, n)| n.as_str()).collect();
    Verdict {
        label: candidate.label.clone(),
        versions: candidate.versions.clone(),
        index: names.join(", "),
        judgement,
        used_by,
        risen,
        taken_back: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plans(queries: &[(&str, f64, &str, &str)]) -> Plans {
        let planned = queries.iter().map(|(query, cost, index, table)| {
            let planned = Planned {
                cost: *cost,
                indexes: BTreeSet::from([(*index).to_owned()]),
                tables: BTreeSet::from([Name::new("public", *table)]),
            };
            ((*query).to_owned(), planned)
        });
        Plans {
            planned: planned.collect(),
            ..Plans::default()
        }
    }

    fn candidate() -> Candidate {
        Candidate {
            label: "1_i".into(),
            versions: vec![1],
            indexes: vec![(Name::new("", "t"), "i".into())],
            unseen: false,
        }
    }

    fn family() -> IndexFamily {
        IndexFamily {
            names: BTreeSet::from(["i".to_owned(), "i_p1".to_owned()]),
            tables: BTreeSet::from([Name::new("public", "t")]),
            ..IndexFamily::default()
        }
    }

    fn judged(start: &Plans, step: (&Plans, &Plans), now: &Plans) -> Judgement {
        let risen = step.0.worse(step.1);
        judge(&candidate(), &family(), (start, now), &risen).judgement
    }

    #[test]
    fn a_plan_that_reads_it_or_a_part_of_it_uses_it() {
        let start = plans(&[("a", 100.0, "", "t")]);
        for index in ["i", "i_p1"] {
            let now = plans(&[("a", 10.0, index, "t")]);
            assert_eq!(judged(&start, (&start, &now), &now), Judgement::Used);
        }
        let now = plans(&[("a", 10.0, "other", "t")]);
        assert_eq!(judged(&start, (&start, &now), &now), Judgement::Unused);
    }

    #[test]
    fn harm_is_what_its_own_step_did_to_queries_of_its_table_and_still_holds() {
        let start = plans(&[("a", 100.0, "", "t"), ("b", 100.0, "", "u")]);
        let worse = plans(&[("a", 120.0, "i", "t"), ("b", 100.0, "", "u")]);
        let slightly = plans(&[("a", 109.0, "i", "t"), ("b", 100.0, "", "u")]);
        let elsewhere = plans(&[("a", 50.0, "i", "t"), ("b", 200.0, "", "u")]);
        let step = (&start, &worse);
        assert_eq!(judged(&start, step, &worse), Judgement::Harmful);
        assert_eq!(judged(&start, step, &slightly), Judgement::Used);
        assert_eq!(
            judged(&start, (&start, &slightly), &slightly),
            Judgement::Used
        );
        assert_eq!(
            judged(&start, (&start, &elsewhere), &elsewhere),
            Judgement::Used
        );
        // A later step made it worse.
        assert_eq!(judged(&start, (&start, &slightly), &worse), Judgement::Used);
        // The build found that there are more rows than was believed.
        let counted = |plans: &Plans, rows| Plans {
            rows: BTreeMap::from([(Name::new("public", "t"), rows)]),
            ..plans.clone()
        };
        let (few, same, many) = (
            counted(&start, 100.0),
            counted(&worse, 101.0),
            counted(&worse, 150.0),
        );
        assert_eq!(judged(&few, step, &same), Judgement::Harmful);
        assert_eq!(judged(&few, step, &many), Judgement::Used);
    }

    #[test]
    fn what_plans_cannot_tell_is_left_alone() {
        let none = plans(&[("a", 100.0, "", "t")]);
        let exempt = |candidate: &Candidate, family: &IndexFamily, now: &Plans| {
            let verdict = judge(candidate, family, (&none, now), &[]);
            assert!(!verdict.is_bad(), "{verdict:?}");
        };
        let unseen = Candidate {
            unseen: true,
            ..candidate()
        };
        exempt(&unseen, &family(), &none);
        let guards = IndexFamily {
            guards: true,
            ..family()
        };
        exempt(&candidate(), &guards, &none);
        let too_new = IndexFamily {
            too_new: true,
            ..family()
        };
        exempt(&candidate(), &too_new, &none);
        let mut failed = none.clone();
        failed.failed.insert("b".into(), "denied".into());
        exempt(&candidate(), &family(), &failed);
    }
}
