//! The statements by which the truth is established.

use super::catalog::Relation;
use super::ground::{Ground, Identity, Table};
use super::imagined::Imagined;

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

/// Imagined rows of an empty table that are tried alone.
const ALONE: usize = 12;
/// Columns that the moment of a statement decides on.
pub(super) const MOMENT: [&str; 2] = ["created_at", "updated_at"];

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
    let mut found = vec![as_they_are(table)];
    if !"rpc".contains(relation.kind) {
        return found;
    }
    let imagined = Imagined::new(ground, table, who);
    if !imagined.columns.is_empty() {
        found.push(Block {
            prepare: None,
            probes: inserts(&imagined),
        });
        // Rows as they may be one day, in place of those that are there.
        found.push(Block {
            prepare: Some(format!("delete from {}; {}", relation.name, imagined.all())),
            ..as_they_are(table)
        });
    }
    if relation.kind == 'c' {
        // The table that it is a part of is looked at more closely.
        return found;
    }
    if table.rows.is_empty() {
        let some = imagined.rows.iter().take(ALONE);
        found.extend(some.map(|row| alone(ground, relation, imagined.insert(row), who)));
    }
    found.extend(table.rows.iter().map(|row| {
        let others = format!(
            "delete from {} where ctid <> '{}' or tableoid <> '{}'::regclass",
            relation.name, row.place, row.part
        );
        alone(ground, relation, others, who)
    }));
    found
}

/// The columns that were there before any change, as one text.
pub(super) fn text(relation: &Relation, without: &[&str]) -> String {
    let columns = relation
        .columns
        .iter()
        .filter(|c| !without.contains(&c.name.as_str()));
    let columns: Vec<String> = columns.map(|c| format!("t.{}", c.name)).collect();
    format!("row({})::text", columns.join(", "))
}

fn as_they_are(table: &Table) -> Block {
    let relation = &table.relation;
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
    let left = digest(&identity(relation), &format!("{name} t"));
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
    for (column, constant) in constants(table) {
        let changed = digest(
            &identity(relation),
            &format!("{name} t where {column} = '{constant}'"),
        );
        let changed = look(&changed);
        let said = format!("update {name} set {column} = '{constant}'");
        probes.push(write(said, changed));
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

/// Columns that can be set to one constant in every row, and that constant: each column may be granted alone.
fn constants(table: &Table) -> Vec<(&str, String)> {
    let mut found = Vec::new();
    for (place, column) in table.relation.columns.iter().enumerate() {
        let is_time = matches!(
            column.type_name.as_str(),
            "date" | "timestamp with time zone"
        );
        if column.generated || column.references.is_some() || column.unique && !is_time {
            continue;
        }
        let constant = match column.type_name.as_str() {
            "text" => "zz",
            "integer" | "smallint" | "bigint" => "1",
            "boolean" => "true",
            "jsonb" | "text[]" | "integer[]" => "{}",
            // One that its partition takes.
            _ if is_time => {
                let held = table.rows.first().and_then(|r| r.values[place].as_deref());
                held.unwrap_or("2025-06-15")
            }
            name if name.starts_with("numeric") => "1",
            _ => continue,
        };
        found.push((column.name.as_str(), constant.to_owned()));
    }
    found
}

/// One row alone in the table, so that one row's refusal hides no other's, and no statement has to read it to mean it.
fn alone(ground: &Ground, relation: &Relation, prepare: String, who: &Identity) -> Block {
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
        prepare: Some(prepare),
        probes,
    }
}

/// New rows, each tried alone.
fn inserts(imagined: &Imagined<'_>) -> Vec<Probe> {
    let look = imagined.look();
    let mut probes: Vec<Probe> = imagined
        .rows
        .iter()
        .map(|row| write(imagined.insert(row), look.clone()))
        .collect();
    if let (Some(row), Some(any)) = (imagined.rows.first(), readable(imagined.relation)) {
        let said = imagined.insert(row);
        probes.push(read(format!(
            "with new as ({said} returning {any}) select count(*)::text from new"
        )));
        probes.push(write(format!("{said} on conflict do nothing"), None));
    }
    probes
}

pub(super) fn literal(value: Option<&str>) -> String {
    value.map_or("null".to_owned(), |v| {
        format!("'{}'", v.replace('\'', "''"))
    })
}
