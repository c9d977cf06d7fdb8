//! Look-ups made up for a table that the workload does not read, or not in every way that an application does: by key,
//! by page, the whole table, and writes. All as personas of the workload; what they write is taken back.

use super::columns::{self, created, key};
use super::lab::Lab;
use crate::model::{Catalog, Column, Command, Name, Persona, Policy, Query, Table};
use crate::sql::quote;
use std::collections::BTreeSet;
use std::time::Duration;

/// Drawing values takes no longer than this for each persona.
const DRAWING: Duration = Duration::from_secs(1);
/// Rows of one write of many.
const MANY: usize = 50;
/// Rows of one page, and how many a later page leaves out.
const PAGE: usize = 50;
const LATER: usize = 200;
/// Personas that a table's look-ups run as.
const MOST_PERSONAS: usize = 6;

/// One made-up statement.
#[derive(Clone, Debug)]
pub(super) struct Lookup {
    /// What it does: `by key`.
    pub words: &'static str,
    /// One row by its key, read or written: what an application does all the time.
    pub one: bool,
    pub query: Query,
}

impl Lookup {
    pub(super) fn name(&self) -> String {
        format!("{}@{}", self.words, self.query.persona.name)
    }
}

/// Keys as text, a column each.
type Key = Vec<Option<String>>;

/// The look-ups of `table` that ask one of `policies`. What cannot be drawn or may not be asked for is left out.
pub(super) async fn lookups<L: Lab>(
    lab: &mut L,
    catalog: &Catalog,
    name: &Name,
    policies: &[&Policy],
    personas: &[Persona],
) -> Vec<Lookup> {
    let Some(table) = catalog.table(name) else {
        return Vec::new();
    };
    let ground = Ground {
        catalog,
        name,
        table,
        key: key(table),
    };
    let foreign = ground.ends(lab).await;
    let mut found = Vec::new();
    let concerned = personas.iter().filter(|p| {
        policies
            .iter()
            .any(|policy| catalog.applies_to(policy, &p.role))
    });
    for persona in concerned.take(MOST_PERSONAS) {
        let asks = |command: Command| {
            policies.iter().any(|policy| {
                policy.command.covers(command) && catalog.applies_to(policy, &persona.role)
            })
        };
        let seen = ground.seen(lab, persona).await;
        if asks(Command::Select) {
            ground.reads(persona, &seen, &foreign, &mut found);
        }
        if asks(Command::Update) {
            ground.updates(persona, &seen, &mut found);
        }
        if asks(Command::Delete) {
            ground.deletes(persona, &seen, &mut found);
        }
        if asks(Command::Insert) {
            ground.inserts(lab, persona, &mut found).await;
        }
    }
    found
}

struct Ground<'a> {
    catalog: &'a Catalog,
    name: &'a Name,
    table: &'a Table,
    key: Vec<&'a Column>,
}

impl Ground<'_> {
    fn quoted(&self) -> String {
        quote::name(self.name)
    }

    fn key_texts(&self) -> String {
        let texts: Vec<String> = self
            .key
            .iter()
            .map(|c| format!("{}::text", quote::ident(&c.name)))
            .collect();
        texts.join(", ")
    }

    /// The first and the last row by key: most personas do not see them.
    async fn ends<L: Lab>(&self, lab: &mut L) -> Vec<Key> {
        if self.key.is_empty() {
            return Vec::new();
        }
        let order = |direction: &str| {
            let keys: Vec<String> = self
                .key
                .iter()
                .map(|c| format!("{} {direction}", quote::ident(&c.name)))
                .collect();
            format!(
                "(select {} from {} order by {} limit 1)",
                self.key_texts(),
                self.quoted(),
                keys.join(", ")
            )
        };
        let sql = format!("{} union all {}", order("asc"), order("desc"));
        lab.rows(&sql, None, DRAWING).await.unwrap_or_default()
    }

    /// Keys of rows that the persona sees.
    async fn seen<L: Lab>(&self, lab: &mut L, persona: &Persona) -> Vec<Key> {
        if self.key.is_empty() {
            return Vec::new();
        }
        let sql = format!(
            "select {} from {} limit {MANY}",
            self.key_texts(),
            self.quoted()
        );
        let seen = lab.rows(&sql, Some(persona), DRAWING).await;
        seen.unwrap_or_default()
    }

    fn reads(&self, persona: &Persona, seen: &[Key], foreign: &[Key], found: &mut Vec<Lookup>) {
        let columns = self.permitted(persona, "SELECT");
        if columns.is_empty() {
            return;
        }
        let list = list(&columns);
        let from = self.quoted();
        let mut put = |words, sql: String, draws: Vec<Key>| {
            found.push(self.lookup(words, persona, sql, draws, false));
        };
        let keyed = !self.key.is_empty()
            && self
                .key
                .iter()
                .all(|k| columns.iter().any(|c| c.name == k.name));
        let draws: BTreeSet<&Key> = seen
            .first()
            .into_iter()
            .chain(seen.last())
            .chain(foreign)
            .collect();
        if keyed && !draws.is_empty() {
            let sql = format!("select {list} from {from} where {}", self.is_key(1));
            put("by key", sql, draws.into_iter().cloned().collect());
        }
        if let Some(created) = created(&columns) {
            let sql = format!(
                "select {list} from {from} order by {} desc limit {PAGE}",
                quote::ident(&created.name)
            );
            put("newest page", sql, Vec::new());
        }
        put(
            "whole table",
            format!("select count(*) from {from}"),
            Vec::new(),
        );
        if keyed {
            let order = format!(
                "select {list} from {from} order by {}",
                self::list(&self.key)
            );
            put("first page", format!("{order} limit {PAGE}"), Vec::new());
            put(
                "later page",
                format!("{order} limit {PAGE} offset {LATER}"),
                Vec::new(),
            );
        }
    }

    fn updates(&self, persona: &Persona, seen: &[Key], found: &mut Vec<Lookup>) {
        let readable = self.permitted(persona, "SELECT");
        let mut writable = self.permitted(persona, "UPDATE");
        writable.retain(|c| {
            !c.generated
                && !c.identity
                && self.key.iter().all(|k| k.name != c.name)
                && readable.iter().any(|r| r.name == c.name)
        });
        // An unindexed column: what is looked at is the policy, not the upkeep of indexes.
        writable.sort_by_key(|c| self.indexes_of(&c.name));
        let Some(column) = writable.first().map(|c| quote::ident(&c.name)) else {
            return;
        };
        let sql = format!("update {} set {column} = {column} where ", self.quoted());
        self.writes(
            persona,
            &sql,
            ("update by key", "update of many"),
            seen,
            found,
        );
    }

    fn deletes(&self, persona: &Persona, seen: &[Key], found: &mut Vec<Lookup>) {
        let sql = format!("delete from {} where ", self.quoted());
        self.writes(
            persona,
            &sql,
            ("delete by key", "delete of many"),
            seen,
            found,
        );
    }

    fn writes(
        &self,
        persona: &Persona,
        sql: &str,
        (one, many): (&'static str, &'static str),
        seen: &[Key],
        found: &mut Vec<Lookup>,
    ) {
        let Some(first) = seen.first() else {
            return;
        };
        let text = format!("{sql}{}", self.is_key(1));
        found.push(self.lookup(one, persona, text, vec![first.clone()], true));
        if seen.len() > 1 {
            let each: Vec<String> = (0..seen.len())
                .map(|n| format!("({})", self.is_key(n * self.key.len() + 1)))
                .collect();
            let text = format!("{sql}{}", each.join(" or "));
            found.push(self.lookup(many, persona, text, vec![seen.concat()], true));
        }
    }

    /// Copies of rows that the persona sees and may insert: they conflict with what is there, after the check was asked.
    async fn inserts<L: Lab>(&self, lab: &mut L, persona: &Persona, found: &mut Vec<Lookup>) {
        let mut columns = self.permitted(persona, "INSERT");
        columns.retain(|c| !c.generated);
        if columns.is_empty() {
            return;
        }
        let checks: Vec<String> = self
            .table
            .policies
            .iter()
            .filter(|p| p.permissive && p.command.covers(Command::Insert))
            .filter(|p| self.catalog.applies_to(p, &persona.role))
            .filter_map(|p| p.check.as_ref().or(p.using.as_ref()))
            .map(|check| format!("({check})"))
            .collect();
        if checks.is_empty() {
            return;
        }
        let (list, table) = (list(&columns), self.quoted());
        // The check is asked of what the policy for reading let through, not together with it: the server takes an index
        // scan with two long lists for one column apart pair by pair, and cannot be interrupted in it.
        let read = self::list(&self.permitted(persona, "SELECT"));
        let alias = quote::ident(&self.name.name);
        let overriding = if columns.iter().any(|c| c.identity) {
            "overriding system value "
        } else {
            ""
        };
        let insert = format!(
            "insert into {table} ({list}) {overriding}select {list} from jsonb_populate_recordset(null::{table}, $1) on conflict do nothing"
        );
        for (words, rows) in [("insert of one", 1), ("insert of many", MANY)] {
            let copied = format!(
                "select jsonb_agg(to_jsonb(x))::text from (select {list} from (select {read} from {table} offset 0) {alias} where {} limit {rows}) x",
                checks.join(" or ")
            );
            let drawn = lab.rows(&copied, Some(persona), DRAWING).await;
            let Some(row @ [Some(_)]) = drawn
                .as_ref()
                .ok()
                .and_then(|d| d.first())
                .map(Vec::as_slice)
            else {
                return;
            };
            let mut lookup = self.lookup(words, persona, insert.clone(), vec![row.to_vec()], true);
            lookup.query.types = vec!["jsonb".to_owned()];
            found.push(lookup);
        }
    }

    fn lookup(
        &self,
        words: &'static str,
        persona: &Persona,
        sql: String,
        draws: Vec<Key>,
        write: bool,
    ) -> Lookup {
        let given = draws.first().map_or(0, Vec::len);
        let types = self.key.iter().map(|c| c.type_name.clone());
        let query = Query {
            id: format!("{words} of {}@{}", self.name, persona.name),
            name: words.to_owned(),
            persona: persona.clone(),
            sql,
            types: types.cycle().take(given).collect(),
            draws: if draws.is_empty() {
                vec![Vec::new()]
            } else {
                draws
            },
            weight: 1.0,
            write,
            ..Query::default()
        };
        let one = matches!(
            words,
            "by key" | "update by key" | "delete by key" | "insert of one"
        );
        Lookup { words, one, query }
    }

    /// `a = $1 and b = $2`, counted from `first`.
    fn is_key(&self, first: usize) -> String {
        let tests: Vec<String> = (first..)
            .zip(&self.key)
            .map(|(n, c)| format!("{} = ${n}", quote::ident(&c.name)))
            .collect();
        tests.join(" and ")
    }

    /// The columns for which the persona's role holds `privilege`.
    fn permitted(&self, persona: &Persona, privilege: &str) -> Vec<&Column> {
        columns::permitted(self.catalog, self.table, &persona.role, privilege)
    }

    fn indexes_of(&self, column: &str) -> usize {
        let on = |i: &&crate::model::Index| {
            i.keys.iter().any(|k| k.column.as_deref() == Some(column))
                || i.predicate.as_ref().is_some_and(|p| p.contains(column))
        };
        self.table.indexes.iter().filter(on).count()
    }
}

fn list(columns: &[&Column]) -> String {
    let names: Vec<String> = columns.iter().map(|c| quote::ident(&c.name)).collect();
    names.join(", ")
}
