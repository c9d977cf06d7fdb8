//! Statements on rows that are there.

use super::ask::Statement;
use super::expect::Expect;
use super::predict::Say;
use super::scene::Scene;
use super::stage::Spot;
use crate::sql::quote;
use crate::verify::effective::Clause::{Delete, Select, Update, UpdateCheck};
use crate::verify::side::Column;
use std::collections::{BTreeMap, BTreeSet};

/// Rows that are written one by one.
const FEW: usize = 6;

/// All of them.
pub(super) fn statements(scene: &Scene<'_>) -> Vec<Statement> {
    let mut all = Vec::new();
    let spots: Vec<&Spot> = scene.spots.iter().collect();
    all.extend(list(scene, &spots, false));
    let few = few(scene);
    if !scene.facts.update.is_empty() {
        all.extend(list(scene, &few, true));
    }
    for (at, spot) in few.iter().enumerate() {
        all.extend(delete(scene, spot));
        all.extend(update(scene, spot));
        if at < 2 && scene.facts.version >= 150_000 {
            all.extend(merge_delete(scene, spot));
        }
    }
    all.extend(whole(scene));
    all
}

/// Rows for which the clauses say different things, as many as there are kinds, and then more of the same.
pub(super) fn few<'a>(scene: &Scene<'a>) -> Vec<&'a Spot> {
    let mut kinds: BTreeMap<Vec<u8>, Vec<&Spot>> = BTreeMap::new();
    for spot in scene.spots {
        let letter = |clause| match scene.says.of(&spot.hash, clause) {
            Some(Say::Yes) => 0,
            Some(Say::No) => 1,
            Some(Say::Raises(_)) => 2,
            None => 3,
        };
        let kind = [Select, Update, UpdateCheck, Delete].map(letter).to_vec();
        kinds.entry(kind).or_default().push(spot);
    }
    let longest = kinds.values().map(Vec::len).max().unwrap_or_default();
    let mut found = Vec::new();
    for at in 0..longest {
        found.extend(kinds.values().filter_map(|spots| spots.get(at).copied()));
        if found.len() >= FEW {
            break;
        }
    }
    found.truncate(FEW);
    found
}

/// Exactly the rows that SELECT admits, and UPDATE where they are locked for one.
fn list(scene: &Scene<'_>, spots: &[&Spot], lock: bool) -> Option<Statement> {
    let clauses: &[_] = if lock { &[Select, Update] } else { &[Select] };
    if !scene.asks(clauses) || !scene.names_rows() {
        return None;
    }
    let known = |spot: &&Spot| match scene.says.hides(&spot.hash, clauses)? {
        Expect::Rows(count) => Some(count == 1),
        _ => None,
    };
    let asked: Vec<&Spot> = spots
        .iter()
        .copied()
        .filter(|s| known(s).is_some())
        .collect();
    if asked.is_empty() {
        return None;
    }
    let labels = |all: &mut dyn Iterator<Item = &&Spot>| -> BTreeSet<String> {
        all.map(|spot| scene.label(spot)).collect()
    };
    Some(Statement {
        what: if lock {
            "SELECT FOR UPDATE"
        } else {
            "SELECT of chosen rows"
        },
        sql: scene.list(&asked, lock),
        expect: Expect::These {
            seen: labels(&mut asked.iter().filter(|s| known(s) == Some(true))),
            asked: labels(&mut asked.iter()),
        },
    })
}

fn delete(scene: &Scene<'_>, spot: &Spot) -> Option<Statement> {
    if !scene.facts.delete || !scene.names_rows() {
        return None;
    }
    Some(Statement {
        what: "DELETE of a row",
        sql: format!("delete from {} t where {}", scene.table(), scene.at(spot)),
        expect: scene.says.hides(&spot.hash, &[Delete, Select])?,
    })
}

/// An UPDATE that leaves the row as it is.
fn update(scene: &Scene<'_>, spot: &Spot) -> Option<Statement> {
    if !scene.names_rows() {
        return None;
    }
    let facts = scene.facts;
    let columns: Vec<&String> = facts.update.intersection(&facts.select).collect();
    let beside_key = columns.iter().find(|c| !facts.key.contains(**c));
    let column = quote::ident(beside_key.or(columns.first())?);
    let expect = match scene.says.hides(&spot.hash, &[Update, Select])? {
        Expect::Rows(1) => scene.says.refuses(&spot.hash, &[UpdateCheck])?,
        other => other,
    };
    Some(Statement {
        what: "UPDATE of a row to what it is",
        sql: format!(
            "update {} t set {column} = t.{column} where {}",
            scene.table(),
            scene.at(spot)
        ),
        expect,
    })
}

/// MERGE does not hide a row from DELETE's policy: it refuses.
fn merge_delete(scene: &Scene<'_>, spot: &Spot) -> Option<Statement> {
    if !scene.facts.delete || !scene.names_rows() {
        return None;
    }
    let expect = match scene.says.hides(&spot.hash, &[Select])? {
        Expect::Rows(1) => scene.says.refuses(&spot.hash, &[Delete])?,
        other => other,
    };
    Some(Statement {
        what: "MERGE that deletes a row",
        sql: format!(
            "merge into {} t using (select 1) s on {} when matched then delete",
            scene.table(),
            scene.at(spot)
        ),
        expect,
    })
}

/// Statements without WHERE: they read no column, so that SELECT's policies are not asked of what they write.
fn whole(scene: &Scene<'_>) -> Vec<Statement> {
    let table = scene.table();
    let mut all = Vec::new();
    if let Some(count) = scene
        .whole
        .select
        .filter(|_| !scene.facts.select.is_empty())
    {
        all.push(Statement {
            what: "SELECT count(*)",
            sql: format!("select count(*) from {table}"),
            expect: Expect::Count(count),
        });
    }
    if let Some(count) = scene.whole.delete.filter(|_| scene.facts.delete) {
        all.push(Statement {
            what: "DELETE without WHERE",
            sql: format!("delete from {table}"),
            expect: Expect::Rows(count),
        });
    }
    if let (Some((kept, refused)), Some(column)) = (scene.whole.update, unread(scene)) {
        let value = if column.not_null { "default" } else { "null" };
        all.push(Statement {
            what: "UPDATE without WHERE",
            sql: format!(
                "update {table} set {} = {value}",
                quote::ident(&column.name)
            ),
            expect: match (kept, refused) {
                (kept, 0) => Expect::Rows(kept),
                (0, _) => Expect::Refused,
                _ => Expect::RefusedOrStopped,
            },
        });
    }
    all
}

/// A column that may be updated and that no policy reads, one that takes NULL if there is any.
fn unread<'a>(scene: &'a Scene<'_>) -> Option<&'a Column> {
    if scene.computed() {
        return None;
    }
    let facts = scene.facts;
    let free = |c: &&Column| {
        facts.update.contains(&c.name)
            && !facts.key.contains(&c.name)
            && !scene.read().any(|read| read.number == c.number)
    };
    let columns = &scene.subject.on(scene.after).columns;
    let mut all: Vec<&Column> = columns.iter().filter(free).collect();
    all.sort_by_key(|c| c.not_null);
    all.first().copied()
}
