//! Which statements are worth measuring.

use super::Seen;
use crate::model::{Catalog, Command, Gap, Name, Role, Table};
use crate::sql::access::tables;
use crate::sql::body::mentions;
use crate::sql::fingerprint::{fingerprint, runnable, writes};
use crate::sql::quote;
use std::collections::{BTreeMap, BTreeSet};

/// A statement of one role that row-level security applies to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recorded {
    /// What it does, to which table, and the start of its fingerprint: the same in every recording.
    pub name: String,
    pub role: String,
    /// As the server takes it.
    pub sql: String,
    pub calls: u64,
    pub total_ms: f64,
    /// Rows of one call, on average; `None` where that is not known.
    pub rows: Option<f64>,
    pub write: bool,
    /// Tables that it reads or writes, through views and functions too.
    pub tables: BTreeSet<Name>,
    pub values: Vec<Vec<Option<String>>>,
}

/// The statements, the most total time first, and what was passed over.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chosen {
    pub statements: Vec<Recorded>,
    pub gaps: Vec<Gap>,
}

/// The `top` statements by total time among those that read a table under row-level security as a role that its
/// policies apply to.
pub fn choose(seen: &[Seen], catalog: &Catalog, top: usize) -> Chosen {
    let mut passed = Passed::default();
    let mut found: BTreeMap<(String, String), Recorded> = BTreeMap::new();
    for one in seen {
        let Some(role) = &one.role else {
            passed.nobody += 1;
            continue;
        };
        let (Some(print), Some(kind)) = (fingerprint(&one.text), mentions(&one.text)) else {
            passed.unread += 1;
            continue;
        };
        let read = all_tables(&one.text, catalog);
        if !read.iter().any(|name| is_guarded(name, role, catalog)) {
            passed.unguarded += 1;
            continue;
        }
        if kind.kind == crate::sql::body::Kind::Other {
            passed.utility += 1;
            continue;
        }
        let Some(sql) = runnable(&one.text) else {
            passed.unread += 1;
            continue;
        };
        let entry = found
            .entry((role.clone(), print.clone()))
            .or_insert_with(|| Recorded {
                name: name(kind.command, &one.text, catalog, &print),
                role: role.clone(),
                write: writes(&sql),
                sql,
                tables: read,
                ..Recorded::default()
            });
        entry.calls += one.calls;
        entry.total_ms += one.total_ms;
        #[expect(clippy::cast_precision_loss, reason = "an average")]
        let rows = one.rows.map(|rows| rows as f64 / one.calls.max(1) as f64);
        entry.rows = entry.rows.into_iter().chain(rows).reduce(f64::max);
        entry.values.extend(one.values.iter().cloned());
    }
    let mut statements: Vec<Recorded> = found.into_values().collect();
    statements.sort_by(|a, b| {
        b.total_ms
            .total_cmp(&a.total_ms)
            .then_with(|| a.name.cmp(&b.name))
    });
    let rest = statements.split_off(top.min(statements.len()));
    let mut gaps = passed.gaps();
    gaps.extend(beyond(&rest, &statements));
    same_names(&mut statements);
    Chosen { statements, gaps }
}

#[derive(Default)]
struct Passed {
    nobody: usize,
    unread: usize,
    unguarded: usize,
    utility: usize,
}

impl Passed {
    fn gaps(&self) -> Vec<Gap> {
        let gap = |n: usize, why: &str, remedy: Option<&str>| {
            (n > 0).then(|| Gap {
                what: format!("{n} {}", if n == 1 { "statement" } else { "statements" }),
                why: why.to_owned(),
                remedy: remedy.map(str::to_owned),
            })
        };
        [
            gap(
                self.nobody,
                "who ran them is not known: the log names the role of the login, not that of SET ROLE",
                Some("Name it with --role ROLE."),
            ),
            gap(self.unread, "their texts cannot be read", None),
            gap(
                self.unguarded,
                "they read no table whose policies apply to their role",
                None,
            ),
            gap(
                self.utility,
                "they are no queries (COPY, DECLARE and their like)",
                None,
            ),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

fn beyond(rest: &[Recorded], kept: &[Recorded]) -> Option<Gap> {
    let time = |of: &[Recorded]| of.iter().map(|r| r.total_ms).sum::<f64>();
    let all = time(rest) + time(kept);
    (!rest.is_empty()).then(|| Gap {
        what: format!("{} quicker statements", rest.len()),
        why: format!(
            "only the first {} were asked for; the others took {:.1} % of the time",
            kept.len(),
            100.0 * time(rest) / all.max(f64::MIN_POSITIVE)
        ),
        remedy: Some("Take more with --top N.".to_owned()),
    })
}

/// The tables that a text names, those of views and functions too.
fn all_tables(text: &str, catalog: &Catalog) -> BTreeSet<Name> {
    let mut found = BTreeSet::new();
    let mut open = tables(text, catalog);
    while let Some(name) = open.pop() {
        if let Some(table) = catalog.table(&name)
            && found.insert(name)
        {
            open.extend(table.reads.iter().cloned());
        }
    }
    found
}

/// Whether row-level security of the table binds the role.
pub(super) fn is_guarded(name: &Name, role: &str, catalog: &Catalog) -> bool {
    let Some(table) = catalog.table(name).filter(|t| t.rls_enabled) else {
        return false;
    };
    catalog
        .roles
        .get(role)
        .is_none_or(|known| !known.superuser && !known.bypass_rls && !owns(table, role, known))
}

fn owns(table: &Table, role: &str, known: &Role) -> bool {
    !table.rls_forced
        && (table.owner == role || known.inherit && known.member_of.contains(&table.owner))
}

fn name(command: Command, text: &str, catalog: &Catalog, print: &str) -> String {
    let verb = command.keyword().to_ascii_lowercase();
    let named = mentions(text).map(|m| m.relations).unwrap_or_default();
    let table = named
        .iter()
        .find(|(schema, name)| catalog.resolve(schema, name).is_some())
        .map(|(_, name)| quote::ident(name).replace(['"', '@', ' '], "_"))
        .unwrap_or_default();
    let short: String = print.chars().take(6).collect();
    let all = if command == Command::All {
        "merge"
    } else {
        &verb
    };
    format!("{all}_{table}_{short}").replace("__", "_")
}

/// The same statement of two roles, or two fingerprints with the same start, get the role or a number added.
fn same_names(statements: &mut [Recorded]) {
    let mut taken = BTreeSet::new();
    for one in statements {
        if !taken.insert(one.name.clone()) {
            let base = format!("{}_{}", one.name, one.role);
            let mut name = base.clone();
            let mut number = 1;
            while taken.contains(&name) {
                number += 1;
                name = format!("{base}_{number}");
            }
            taken.insert(name.clone());
            one.name = name;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> Catalog {
        let mut catalog = Catalog::default();
        let table = |rls_enabled| Table {
            owner: "owner".to_owned(),
            rls_enabled,
            ..Table::default()
        };
        catalog
            .tables
            .insert(Name::new("public", "doc"), table(true));
        catalog
            .tables
            .insert(Name::new("public", "free"), table(false));
        for name in ["app", "owner"] {
            catalog.roles.insert(name.to_owned(), Role::default());
        }
        catalog
    }

    fn seen(text: &str, role: &str, total_ms: f64) -> Seen {
        Seen {
            text: text.to_owned(),
            role: Some(role.to_owned()),
            calls: 10,
            total_ms,
            rows: Some(30),
            values: Vec::new(),
        }
    }

    #[test]
    fn only_what_policies_apply_to() {
        let all = [
            seen("select * from doc where id = $1", "app", 5.0),
            seen("select  * from doc where id = $1 /* again */", "app", 4.0),
            seen("select * from doc", "owner", 50.0),
            seen("select * from free", "app", 50.0),
            seen("copy doc to stdout", "app", 50.0),
            seen("delete from doc where id = $1", "app", 20.0),
            seen("select count(*) from doc", "app", 1.0),
        ];
        let chosen = choose(&all, &catalog(), 2);
        let names: Vec<_> = chosen.statements.iter().map(|s| s.name.as_str()).collect();
        assert!(
            names[0].starts_with("delete_doc_") && names[1].starts_with("select_doc_"),
            "{names:?}"
        );
        assert!(chosen.statements[0].write && !chosen.statements[1].write);
        assert_eq!(chosen.statements[1].calls, 20);
        assert!((chosen.statements[1].total_ms - 9.0).abs() < 1e-9);
        let gaps: Vec<_> = chosen.gaps.iter().map(|g| g.what.as_str()).collect();
        assert_eq!(
            gaps,
            ["2 statements", "1 statement", "1 quicker statements"]
        );
    }
}
