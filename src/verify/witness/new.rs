//! Statements that make rows which do not exist yet.

use super::ask::Statement;
use super::expect::Expect;
use super::predict::Say;
use super::scene::Scene;
use super::stage::Spot;
use crate::sql::quote;
use crate::verify::effective::Clause::{Insert, Select, Update, UpdateCheck};
use crate::verify::tuples;

/// Rows that are copied, and rows that are updated to others.
const FEW: usize = 4;

/// All of them.
pub(super) fn statements(scene: &Scene<'_>) -> Vec<Statement> {
    let mut all = Vec::new();
    let mut decided: Vec<&Say> = Vec::new();
    for pick in scene.inserts {
        let Some(source) = made_up(scene, pick) else {
            break;
        };
        all.extend(insert(scene, &source, "INSERT of a made-up row"));
        // The other ways to insert once for each decision.
        if let Some(say) = scene
            .says
            .of(pick, Insert)
            .filter(|say| !decided.contains(say))
        {
            decided.push(say);
            all.extend(variants(scene, &source));
        }
    }
    for spot in copied(scene) {
        let Some(source) = copy(scene, spot) else {
            break;
        };
        all.extend(insert(scene, &source, "INSERT of a copied row"));
        all.extend(upsert(scene, &source));
    }
    all.extend(updates(scene));
    all
}

/// A row to insert: its columns, a SELECT of their values, and the tuple it is.
struct Source {
    columns: Vec<String>,
    select: String,
    hash: String,
}

impl Source {
    fn into(&self, table: &str) -> String {
        if self.columns.is_empty() {
            return format!("insert into {table} default values");
        }
        format!(
            "insert into {table} as t ({}) {}",
            self.columns.join(", "),
            self.select
        )
    }
}

/// A made-up tuple; what no policy reads comes from a row that is there.
fn made_up(scene: &Scene<'_>, pick: &str) -> Option<Source> {
    if scene.computed() {
        return None;
    }
    let table = scene.subject.on(scene.after);
    let insertable = |name: &str| scene.facts.insert.contains(name);
    let read = |name: &str| scene.read().any(|c| c.name == name);
    let row = scene.spots.first();
    let (mut columns, mut values) = (Vec::new(), Vec::new());
    for column in table.columns.iter().filter(|c| insertable(&c.name)) {
        let name = quote::ident(&column.name);
        if read(&column.name) {
            values.push(format!("m.{name}"));
        } else if row.is_some() {
            values.push(format!("r.{name}"));
        } else {
            continue;
        }
        columns.push(name);
    }
    let from = match row {
        Some(spot) => format!(
            ", {} r where r.dbtune_i = {} and",
            scene.staged(),
            spot.number
        ),
        None => " where".to_owned(),
    };
    Some(Source {
        select: format!(
            "select {} from {} m{from} m.dbtune_h = {}",
            values.join(", "),
            tuples::place(scene.subject),
            quote::literal(pick)
        ),
        columns,
        hash: pick.to_owned(),
    })
}

/// A row as another one is, where the role may write all that decides on it.
fn copy(scene: &Scene<'_>, spot: &Spot) -> Option<Source> {
    let columns = &scene.subject.on(scene.after).columns;
    let insertable = |name: &str| scene.facts.insert.contains(name);
    let whole = if scene.computed() {
        columns
            .iter()
            .filter(|c| !c.generated)
            .all(|c| insertable(&c.name))
    } else {
        scene.read().all(|c| insertable(&c.name))
    };
    let names: Vec<String> = columns
        .iter()
        .filter(|c| insertable(&c.name))
        .map(|c| quote::ident(&c.name))
        .collect();
    (whole && !names.is_empty()).then(|| Source {
        select: format!(
            "select {} from {} where dbtune_i = {}",
            names.join(", "),
            scene.staged(),
            spot.number
        ),
        columns: names,
        hash: spot.hash.clone(),
    })
}

/// Rows to copy: those that may be inserted and those that may not.
fn copied<'a>(scene: &Scene<'a>) -> Vec<&'a Spot> {
    let of = |say: Say| {
        let all = scene.spots.iter();
        all.filter(move |s| scene.says.is(&s.hash, Insert, &say))
            .take(FEW / 2)
    };
    of(Say::Yes).chain(of(Say::No)).collect()
}

fn insert(scene: &Scene<'_>, source: &Source, what: &'static str) -> Option<Statement> {
    Some(Statement {
        what,
        sql: source.into(&scene.table()),
        expect: scene.says.refuses(&source.hash, &[Insert])?,
    })
}

fn variants(scene: &Scene<'_>, source: &Source) -> Vec<Statement> {
    let facts = scene.facts;
    let insert = source.into(&scene.table());
    let alone = scene.says.refuses(&source.hash, &[Insert]);
    let seen = scene.says.refuses(&source.hash, &[Insert, Select]);
    let mut all = Vec::new();
    let mut add = |what, sql, expect: &Option<Expect>| {
        let expect = expect.clone();
        all.extend(expect.map(|expect| Statement { what, sql, expect }));
    };
    if source.columns.is_empty() {
        return all;
    }
    let skip = "INSERT ON CONFLICT DO NOTHING";
    add(skip, format!("{insert} on conflict do nothing"), &alone);
    if let Some(target) = target(scene) {
        let skip = "INSERT ON CONFLICT (key) DO NOTHING";
        add(
            skip,
            format!("{insert} on conflict ({target}) do nothing"),
            &seen,
        );
    }
    if let Some(column) = facts.select.first() {
        let returning = format!("{insert} returning t.{}", quote::ident(column));
        add("INSERT RETURNING a column", returning, &seen);
    }
    if facts.version >= 150_000 {
        let values: Vec<String> = source.columns.iter().map(|c| format!("s.{c}")).collect();
        let merge = format!(
            "merge into {} t using ({}) s on false when not matched then insert ({}) values ({})",
            scene.table(),
            source.select,
            source.columns.join(", "),
            values.join(", ")
        );
        add("MERGE that inserts", merge, &alone);
    }
    all
}

/// The key, where the role may read it: as the target of ON CONFLICT it must.
fn target(scene: &Scene<'_>) -> Option<String> {
    let key = &scene.facts.key;
    let readable = !key.is_empty() && key.iter().all(|c| scene.facts.select.contains(c));
    readable.then(|| {
        key.iter()
            .map(|c| quote::ident(c))
            .collect::<Vec<_>>()
            .join(", ")
    })
}

/// A copied row meets itself. Nothing is hidden from it: every clause refuses.
fn upsert(scene: &Scene<'_>, source: &Source) -> Option<Statement> {
    let facts = scene.facts;
    let target = target(scene)?;
    if !facts.key.iter().all(|c| facts.insert.contains(c)) {
        return None;
    }
    let mut columns = facts.update.iter().filter(|c| facts.insert.contains(*c));
    let column = quote::ident(columns.find(|c| !facts.key.contains(*c))?);
    Some(Statement {
        what: "INSERT ON CONFLICT DO UPDATE",
        sql: format!(
            "{} on conflict ({target}) do update set {column} = excluded.{column}",
            source.into(&scene.table())
        ),
        expect: scene
            .says
            .refuses(&source.hash, &[Insert, Select, Update, UpdateCheck])?,
    })
}

/// A row that may be updated becomes a made-up one.
fn updates(scene: &Scene<'_>) -> Vec<Statement> {
    let read: Vec<String> = scene.read().map(|c| quote::ident(&c.name)).collect();
    let able = scene.read().all(|c| scene.facts.update.contains(&c.name));
    let chosen = scene.spots.iter().find(|spot| {
        let yes = |clause| scene.says.is(&spot.hash, clause, &Say::Yes);
        yes(Select) && yes(Update)
    });
    let (Some(spot), true, true) = (chosen, able && !read.is_empty(), scene.names_rows()) else {
        return Vec::new();
    };
    let statement = |pick: &String| {
        Some(Statement {
            what: "UPDATE of a row to a made-up one",
            sql: format!(
                "update {} t set ({}) = (select {} from {} m where m.dbtune_h = {}) where {}",
                scene.table(),
                read.join(", "),
                read.iter()
                    .map(|c| format!("m.{c}"))
                    .collect::<Vec<_>>()
                    .join(", "),
                tuples::place(scene.subject),
                quote::literal(pick),
                scene.at(spot)
            ),
            expect: scene.says.refuses(pick, &[UpdateCheck, Select])?,
        })
    };
    // Of those that the check admits and of those that it refuses.
    let of = |say: Say| {
        let all = scene.targets.iter();
        all.filter(move |p| scene.says.is(p, UpdateCheck, &say))
            .take(FEW / 2)
    };
    of(Say::Yes)
        .chain(of(Say::No))
        .filter_map(statement)
        .collect()
}
