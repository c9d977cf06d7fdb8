//! The statements by which the truth is established.

use super::catalog::{Column, Relation};
use super::ground::{Ground, Identity, Row, Table};

/// A statement and what is looked at afterwards.
pub(super) struct Probe {
    pub(super) said: String,
    /// As the superuser, in the same transaction.
    pub(super) look: Option<String>,
    /// Whether it returns one value.
    pub(super) is_read: bool,
}

/// Probes of one state of the data.
pub(super) struct Block {
    /// What makes the state; nothing for the data as they are.
    pub(super) prepare: Option<String>,
    pub(super) probes: Vec<Probe>,
}

/// At most so many rows are tried to be inserted by each identity in each table.
const INSERTS: usize = 120;
/// Columns that the moment of a statement decides on.
const MOMENT: [&str; 2] = ["created_at", "updated_at"];

fn read(said: String) -> Probe {
    Probe {
        said,
        look: None,
        is_read: true,
    }
}

fn write(said: String, look: Option<String>) -> Probe {
    Probe {
        said,
        look,
        is_read: false,
    }
}

/// How many rows `expression` has over `from`, and which.
fn digest(expression: &str, from: &str) -> String {
    format!(
        "select count(*) || ' rows ' || coalesce(sum(hashtextextended({expression}, 0)::numeric)::text, '-') from {from}"
    )
}

/// A read of one value.
pub(super) fn value(sql: &str) -> Block {
    Block {
        prepare: None,
        probes: vec![read(sql.to_owned())],
    }
}

/// All rows that can be read from a relation of any kind.
pub(super) fn whole(relation: &str) -> Block {
    Block {
        prepare: None,
        probes: vec![read(digest("t::text", &format!("{relation} t")))],
    }
}

/// All that `who` may do to `table`.
pub(super) fn blocks(ground: &Ground, table: &Table, who: &Identity) -> Vec<Block> {
    let relation = &table.relation;
    let mut found = vec![as_they_are(ground, relation, who)];
    if !"rp".contains(relation.kind) {
        return found;
    }
    let inserted = inserts(ground, table, who);
    if !inserted.is_empty() {
        found.push(Block {
            prepare: None,
            probes: inserted,
        });
    }
    found.extend(
        table
            .rows
            .iter()
            .map(|row| alone(ground, relation, row, who)),
    );
    found
}

/// The columns that were there before any change, as one text.
fn text(relation: &Relation, without: &[&str]) -> String {
    let columns = relation
        .columns
        .iter()
        .filter(|c| !without.contains(&c.name.as_str()));
    let columns: Vec<String> = columns.map(|c| format!("t.{}", c.name)).collect();
    format!("row({})::text", columns.join(", "))
}

fn as_they_are(ground: &Ground, relation: &Relation, who: &Identity) -> Block {
    let name = &relation.name;
    let all = text(relation, &[]);
    let mut probes = vec![read(digest(&all, &format!("{name} t")))];
    for column in relation.columns.iter().filter(|c| c.granted) {
        probes.push(read(digest(&format!("{}::text", column.name), name)));
    }
    probes.push(read(format!(
        "select has_table_privilege(current_user, '{name}', 'truncate')::text"
    )));
    if relation.kind == 'm' {
        return Block {
            prepare: None,
            probes,
        };
    }
    let left = digest("tableoid::text || ctid::text", name);
    let look = |sql: &str| (relation.kind != 'v').then(|| sql.to_owned());
    probes.push(write(format!("delete from {name}"), look(&left)));
    if relation.kind != 'v' {
        probes.push(read(digest(
            "x.held",
            &format!("(select {all} as held from {name} t for update) x"),
        )));
        if let Some(any) = readable(relation) {
            probes.push(write(
                format!("delete from {name} where {any} is null or {any} is not null"),
                look(&left),
            ));
        }
    }
    if let Some((column, constant)) = unasked(ground, relation, who) {
        let changed = digest(
            &identity(relation),
            &format!("{name} t where {column} = '{constant}'"),
        );
        let changed = look(&changed);
        probes.push(write(
            format!("update {name} set {column} = '{constant}'"),
            changed,
        ));
    }
    Block {
        prepare: None,
        probes,
    }
}

/// An expression by which rows are told apart.
fn identity(relation: &Relation) -> String {
    if relation.key.is_empty() {
        return text(relation, &MOMENT);
    }
    let parts: Vec<String> = relation
        .key
        .iter()
        .map(|k| format!("t.{k}::text"))
        .collect();
    parts.join(" || ' ' || ")
}

/// A column to read where reading any will do: one with a privilege of its own, where there are such.
fn readable(relation: &Relation) -> Option<&str> {
    let column = relation
        .columns
        .iter()
        .find(|c| c.granted)
        .or(relation.columns.first())?;
    Some(&column.name)
}

/// A column that no policy asks for, and a constant that no row holds.
fn unasked<'a>(
    ground: &Ground,
    relation: &'a Relation,
    who: &Identity,
) -> Option<(&'a str, &'static str)> {
    let free = |c: &&Column| {
        !c.unique
            && !c.generated
            && c.references.is_none()
            && ground.values(relation, c, who).is_empty()
    };
    let column = relation
        .columns
        .iter()
        .filter(free)
        .find(|c| c.type_name == "text")?;
    Some((&column.name, "zz"))
}

/// One row alone in the table, so that one row's refusal hides no other's, and no statement has to read it to mean it.
fn alone(ground: &Ground, relation: &Relation, row: &Row, who: &Identity) -> Block {
    let name = &relation.name;
    let mut probes = vec![write(format!("delete from {name}"), None)];
    let any = readable(relation).map(|c| format!(" where {c} is null or {c} is not null"));
    if let Some(any) = &any {
        probes.push(write(format!("delete from {name}{any}"), None));
    }
    for column in relation.columns.iter().filter(|c| !c.generated) {
        for value in ground.values(relation, column, who) {
            let set = format!(
                "update {name} set {} = {}",
                column.name,
                literal(value.as_deref())
            );
            if let Some(any) = &any {
                probes.push(write(format!("{set}{any}"), None));
            }
            probes.push(write(set, None));
        }
    }
    Block {
        prepare: Some(format!(
            "delete from {name} where ctid <> '{}' or tableoid <> '{}'::regclass",
            row.place, row.part
        )),
        probes,
    }
}

/// New rows: all its own, and each value of each column; every combination as far as [`INSERTS`] goes.
fn inserts(ground: &Ground, table: &Table, who: &Identity) -> Vec<Probe> {
    let relation = &table.relation;
    let by_column = relation.columns.iter().any(|c| c.insertable);
    let columns: Vec<(usize, &Column)> = relation
        .columns
        .iter()
        .enumerate()
        .filter(|(_, c)| !c.generated && (!by_column || c.insertable))
        .collect();
    let tried: Vec<Vec<Option<String>>> = columns
        .iter()
        .map(|(_, c)| ground.values(relation, c, who))
        .collect();
    let base: Vec<Option<String>> = columns
        .iter()
        .zip(&tried)
        .map(|((place, column), tried)| {
            if relation.key == [column.name.clone()] && tried.is_empty()
                || column.unique && tried.is_empty()
            {
                return Some(fresh(column));
            }
            let held = table
                .rows
                .first()
                .and_then(|row| row.values[*place].clone());
            let own = (ground.scheme.domain)(&relation.name, column).and(tried.first().cloned());
            own.unwrap_or_else(|| {
                held.or_else(|| tried.first().cloned().flatten())
                    .or_else(|| filler(column))
            })
        })
        .collect();
    let mut found = vec![base.clone()];
    let singles = columns
        .iter()
        .enumerate()
        .flat_map(|(at, _)| tried[at].iter().map(move |v| (at, v)));
    for (at, value) in singles.clone() {
        let mut row = base.clone();
        row[at].clone_from(value);
        found.push(row);
    }
    // Pairs that change whose the row is first; beyond that an order that mixes them, the same every time.
    let mut pairs: Vec<_> = singles
        .clone()
        .flat_map(|a| {
            singles
                .clone()
                .filter(move |b| a.0 < b.0)
                .map(move |b| (a, b))
        })
        .collect();
    let whose = |at: usize| (ground.scheme.domain)(&relation.name, columns[at].1).is_none();
    pairs.sort_by_cached_key(|((a, v), (b, w))| {
        let text = format!("{a} {v:?} {b} {w:?}");
        (whose(*a) && whose(*b), super::mixed(&text))
    });
    for ((a, v), (b, w)) in pairs {
        let mut row = base.clone();
        row[a].clone_from(v);
        row[b].clone_from(w);
        found.push(row);
    }
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|row| seen.insert(row.clone()));
    found.truncate(INSERTS);
    let names: Vec<&str> = columns.iter().map(|(_, c)| c.name.as_str()).collect();
    let look = inserted(relation);
    let statement = |row: &[Option<String>]| {
        let values: Vec<String> = row.iter().map(|v| literal(v.as_deref())).collect();
        format!(
            "insert into {} ({}) values ({})",
            relation.name,
            names.join(", "),
            values.join(", ")
        )
    };
    let mut probes: Vec<Probe> = found
        .iter()
        .map(|row| write(statement(row), look.clone()))
        .collect();
    if let (Some(row), Some(any)) = (found.first(), readable(relation)) {
        let said = statement(row);
        probes.push(read(format!(
            "with new as ({said} returning {any}) select count(*)::text from new"
        )));
        probes.push(write(format!("{said} on conflict do nothing"), None));
    }
    probes
}

/// What a new row came to be, where a key tells it from the others.
fn inserted(relation: &Relation) -> Option<String> {
    let [key] = relation.key.as_slice() else {
        return None;
    };
    let column = relation.columns.iter().find(|c| c.name == *key)?;
    Some(format!(
        "select {} from {} t where {key} = '{}'",
        text(relation, &MOMENT),
        relation.name,
        fresh(column)
    ))
}

/// A value of a key that no row has.
fn fresh(column: &Column) -> String {
    match column.type_name.as_str() {
        "uuid" => "ffffffff-0000-4000-8000-000000000001",
        "integer" | "bigint" | "smallint" => "30001",
        "date" => "2039-01-01",
        "timestamp with time zone" => "2039-01-01 00:00+00",
        _ => "fresh@x.example",
    }
    .to_owned()
}

/// A value for a column of an empty table.
fn filler(column: &Column) -> Option<String> {
    let value = match column.type_name.as_str() {
        "integer" | "bigint" | "smallint" => "1",
        "date" | "timestamp with time zone" => "2025-01-01",
        "uuid" => "ffffffff-0000-4000-8000-000000000002",
        "jsonb" => "{}",
        "text" | "citext" => "filler",
        _ => return None,
    };
    Some(value.to_owned())
}

fn literal(value: Option<&str>) -> String {
    value.map_or("null".to_owned(), |v| {
        format!("'{}'", v.replace('\'', "''"))
    })
}
