//! Statements of the workload by what they cost: which tables each uses, writes, and sets columns of.

use super::sink::Found;
use super::visits::Visits;
use crate::model::{
    Catalog, Command, Name, ObjectKind, Severity, Statement, Statements, TableKind,
};
use crate::sql::body::{Kind, Mentions, Written};
use crate::sql::words;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

pub(super) struct Traffic<'a> {
    /// Queries over the database's own tables, most time first.
    pub(super) used: Vec<Used<'a>>,
    /// Of all top-level statements, those that no rule looks at too.
    pub(super) total_ms: f64,
    /// Hours that the statements were counted for; `None` where it is not known.
    pub(super) hours: Option<f64>,
    /// Statements whose text is hidden, lost or no SQL.
    pub(super) unreadable: usize,
    /// Places in `used`, by the tables they use.
    by_table: BTreeMap<Name, Vec<usize>>,
    /// What statements speak of where this database's statistics cannot see it: tables that views read, and words in
    /// function bodies (`None` where one cannot be read).
    elsewhere: OnceCell<(BTreeSet<&'a Name>, Option<BTreeSet<String>>)>,
}

/// One statement of one role.
pub(super) struct Used<'a> {
    pub(super) statement: &'a Statement,
    pub(super) text: &'a str,
    pub(super) command: Command,
    /// The tables it names, and those behind the views it names.
    pub(super) tables: BTreeSet<Name>,
    /// The tables it writes to, with the columns that SET names.
    pub(super) written: Vec<(Name, Vec<String>)>,
    pub(super) limited: bool,
    pub(super) locking: bool,
}

impl<'a> Traffic<'a> {
    pub(super) fn new(catalog: &'a Catalog, known: &'a Statements, visits: &Visits<'_>) -> Self {
        let mut used = Vec::new();
        let mut unreadable = 0;
        for (place, statement) in known.statements.iter().enumerate() {
            match (&statement.text, visits.mentions(place)) {
                (Some(text), Some(mentions)) if mentions.kind == Kind::Query => {
                    used.extend(resolve(catalog, statement, text, mentions));
                }
                (_, Some(_)) => {}
                (_, None) => unreadable += 1,
            }
        }
        used.sort_by(|a, b| b.statement.total_ms.total_cmp(&a.statement.total_ms));
        let top = known.statements.iter().filter(|s| s.top_level);
        let since = known.since.or(catalog.server.stats_since);
        let elapsed = catalog
            .server
            .read_at
            .zip(since)
            .map(|(now, since)| now - since);
        #[expect(clippy::cast_precision_loss, reason = "hours")]
        let hours = elapsed.map(|e| e.num_seconds() as f64 / 3600.0);
        let mut by_table: BTreeMap<Name, Vec<usize>> = BTreeMap::new();
        for (at, one) in used.iter().enumerate() {
            for table in &one.tables {
                by_table.entry(table.clone()).or_default().push(at);
            }
        }
        Self {
            used,
            by_table,
            elsewhere: OnceCell::new(),
            total_ms: top.map(|s| s.total_ms).sum(),
            hours: hours.filter(|h| *h > 0.0),
            unreadable,
        }
    }

    /// Top-level statements, most time first.
    pub(super) fn top(&self) -> impl Iterator<Item = &Used<'a>> {
        self.used.iter().filter(|u| u.statement.top_level)
    }

    /// Statements that use the table, most time first.
    pub(super) fn on(&self, table: &Name) -> impl Iterator<Item = &Used<'a>> {
        let places = self.by_table.get(table).map_or(&[][..], Vec::as_slice);
        places.iter().filter_map(|at| self.used.get(*at))
    }

    /// Whether a view or a function may read the table: what they say of it is in no statement's text.
    pub(super) fn read_elsewhere(&self, catalog: &'a Catalog, table: &Name) -> bool {
        let (viewed, words) = self.elsewhere.get_or_init(|| {
            let own = catalog.functions.iter().filter(|f| f.extension.is_none());
            let words: Option<Vec<_>> = own.map(|f| words::words(&f.body)).collect();
            let views = catalog.tables.values().flat_map(|t| &t.reads);
            (
                views.collect(),
                words.map(|all| all.into_iter().flatten().collect()),
            )
        });
        viewed.contains(table) || words.as_ref().is_none_or(|w| w.contains(&table.name))
    }

    /// Share of all time, in percent.
    pub(super) fn share(&self, ms: f64) -> f64 {
        if self.total_ms > 0.0 {
            100.0 * ms / self.total_ms
        } else {
            0.0
        }
    }
}

impl Used<'_> {
    /// A finding on this statement, as its role.
    pub(super) fn found(&self, severity: Severity, message: impl std::fmt::Display) -> Found {
        Found::new(
            severity,
            ObjectKind::Statement,
            &Name::new("", &self.statement.role),
            Some(&self.statement.query_id.to_string()),
            format!("{message}: {}", self.short()),
        )
        .evidence("role", self.statement.role.clone())
        .evidence("calls", self.statement.calls)
        .evidence("total_ms", self.statement.total_ms)
        .evidence("mean_ms", self.statement.mean_ms)
        .evidence("text", self.text)
    }

    /// The text on one line, cut.
    pub(super) fn short(&self) -> String {
        const MOST: usize = 120;
        let line = self.text.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut shown: String = line.chars().take(MOST).collect();
        if shown.len() < line.len() {
            shown.push('…');
        }
        shown
    }

    /// Blocks that one call looks at.
    pub(super) fn blocks_per_call(&self) -> f64 {
        per_call(
            self.statement,
            self.statement.shared_hit + self.statement.shared_read,
        )
    }
}

/// `total` for each call of the statement.
pub(super) fn per_call(statement: &Statement, total: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    let ratio = total as f64 / statement.calls.max(1) as f64;
    ratio
}

/// `None` where it reads nothing of the database's own.
fn resolve<'a>(
    catalog: &Catalog,
    statement: &'a Statement,
    text: &'a str,
    mentions: &Mentions,
) -> Option<Used<'a>> {
    let find = |(schema, name): &Written| catalog.resolve(schema, name).map(|(name, _)| name);
    let mut tables = BTreeSet::new();
    let mut open: Vec<&Name> = mentions.relations.iter().filter_map(find).collect();
    while let Some(name) = open.pop() {
        if !tables.insert(name.clone()) {
            continue;
        }
        if let Some(view) = catalog.table(name).filter(|t| t.kind == TableKind::View) {
            open.extend(&view.reads);
        }
    }
    let written = mentions
        .written
        .iter()
        .filter_map(|(relation, columns)| Some((find(relation)?.clone(), columns.clone())));
    (!tables.is_empty()).then(|| Used {
        statement,
        text,
        command: mentions.command,
        written: written.collect(),
        tables,
        limited: mentions.limited,
        locking: mentions.locking,
    })
}

#[cfg(test)]
pub(super) mod fixture {
    //! Catalogs and workloads to judge in tests.

    use crate::model::{Catalog, Column, Finding, Name, Statement, Statements, Table};
    use crate::rules::{Facts, Rule, Sink};
    use chrono::{TimeDelta, Utc};

    /// `public.doc` with a million rows, read a month after the statistics began.
    pub(in crate::rules) fn catalog() -> Catalog {
        let mut catalog = Catalog::default();
        let now = Utc::now();
        catalog.server.read_at = Some(now);
        catalog.server.stats_since = Some(now - TimeDelta::days(30));
        catalog.server.database = "app".to_owned();
        catalog.server.version_num = 150_000;
        catalog.tables.insert(doc(), table());
        catalog
    }

    pub(in crate::rules) fn doc() -> Name {
        Name::new("public", "doc")
    }

    fn table() -> Table {
        let column = |name: &str| Column {
            name: name.to_owned(),
            type_name: "integer".to_owned(),
            type_kind: 'b',
            ..Column::default()
        };
        Table {
            rows: Some(1_000_000.0),
            pages: 20_000,
            bytes: 160_000_000,
            columns: ["id", "org", "status", "seen"].map(column).to_vec(),
            ..Table::default()
        }
    }

    pub(in crate::rules) fn statement(text: &str, calls: i64, mean_ms: f64) -> Statement {
        #[expect(clippy::cast_precision_loss, reason = "a test")]
        let total_ms = calls as f64 * mean_ms;
        Statement {
            query_id: i64::try_from(text.len()).unwrap(),
            text: Some(text.to_owned()),
            role: "app".to_owned(),
            calls,
            rows: calls,
            mean_ms,
            total_ms,
            min_ms: mean_ms,
            max_ms: mean_ms,
            top_level: true,
            ..Statement::default()
        }
    }

    /// What `rule` says.
    pub(in crate::rules) fn judge(
        rule: &Rule,
        catalog: &Catalog,
        statements: &[Statement],
    ) -> Vec<Finding> {
        let known = Statements {
            since: catalog.server.stats_since,
            evicted: Some(0),
            statements: statements.to_vec(),
        };
        let facts = Facts::new(catalog, Some(&known), 100.0);
        let (mut findings, mut gaps) = (Vec::new(), Vec::new());
        (rule.check)(&facts, &mut Sink::new(rule.id, &mut findings, &mut gaps));
        findings
    }
}
