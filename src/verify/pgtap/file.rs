//! The text of one file.

use super::claims::Claims;
use crate::model::Persona;
use crate::sql::quote::{ident, literal};
use crate::verify::pairing::Subject;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Every row of the table, whoever asks: a view of the role that runs the file.
pub(super) const ALL: &str = "pg_temp.dbtune_all";

/// Two counts that are to be the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) actual: String,
    pub(super) expected: String,
}

impl Seen {
    pub(super) fn new(subject: &Subject, expression: &str) -> Self {
        Self {
            actual: format!("select count(*) from {}", subject.before.quoted()),
            expected: format!(
                "select count(*) from (select * from {ALL}) as {} where ({expression})",
                subject.before.alias()
            ),
        }
    }
}

/// An INSERT of a row like one that the check refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Inserted {
    pub(super) insert: String,
    /// Rows like which it may not insert any.
    pub(super) foreign: String,
}

impl Inserted {
    pub(super) fn new(subject: &Subject, expression: &str, columns: &[&str]) -> Self {
        let columns: Vec<String> = columns.iter().map(|c| ident(c)).collect();
        let (columns, alias) = (columns.join(", "), subject.before.alias());
        let from =
            format!("from (select * from {ALL}) as {alias} where ({expression}) is not true");
        Self {
            insert: format!(
                "insert into {} ({columns}) select {columns} {from} limit 1",
                subject.before.quoted()
            ),
            foreign: format!("select 1 {from}"),
        }
    }
}

/// Runs a statement and takes it back; says with which SQLSTATE it ended.
pub(super) const STATE: &str =
    "create function pg_temp.dbtune_state(statement text) returns text language plpgsql as $$
begin
  execute statement;
  raise exception using errcode = 'DBT00';
exception when others then
  return sqlstate;
end $$";

pub(super) struct File {
    table: String,
    quoted: String,
    roles: BTreeSet<String>,
    /// Settings that identities so far had.
    earlier: BTreeSet<String>,
    variables: BTreeMap<String, String>,
    body: String,
    tests: usize,
    controlled: (bool, bool),
}

impl File {
    pub(super) fn new(subject: &Subject) -> Self {
        Self {
            table: subject.name().to_string(),
            quoted: subject.before.quoted(),
            roles: BTreeSet::new(),
            earlier: BTreeSet::new(),
            variables: BTreeMap::new(),
            body: String::new(),
            tests: 0,
            controlled: (false, false),
        }
    }

    pub(super) fn tests(&self) -> usize {
        self.tests
    }

    pub(super) fn add(
        &mut self,
        persona: &Persona,
        claims: Claims,
        seen: Option<Seen>,
        inserted: Option<Inserted>,
    ) {
        let (who, role) = (&persona.name, ident(&persona.role));
        self.roles.insert(role.clone());
        self.line(&format!("\n-- As {}.", one_line(who)));
        self.body.push_str(&claims.sql(&self.earlier));
        self.earlier.extend(claims.names().cloned());
        self.variables.extend(claims.variables);
        if let Some(seen) = seen {
            let says = literal(&format!(
                "{who} sees exactly the rows of {} that its policies admit",
                self.table
            ));
            self.line(&format!("set local role {role};"));
            self.test(&format!(
                "is(({}), ({}), {says})",
                seen.actual, seen.expected
            ));
            self.line("reset role;");
            if !self.controlled.0 {
                self.controlled.0 = true;
                self.control_of_seen(&role, &seen);
            }
        }
        if let Some(inserted) = inserted {
            let quoted = literal(&inserted.insert);
            let says = literal(&format!(
                "{who} may not insert into {} what its policies refuse",
                self.table
            ));
            let skip = literal(&format!(
                "{who} may insert every row like those that are in {}",
                self.table
            ));
            self.line(&format!("set local role {role};"));
            self.test(&format!(
                "case when exists ({}) then throws_ok({quoted}, '42501', null, {says}) else skip({skip}, 1) end",
                inserted.foreign
            ));
            self.line("reset role;");
            if !self.controlled.1 {
                self.controlled.1 = true;
                self.control_of_inserted(&role, &inserted);
            }
        }
    }

    /// The count must move when the table stands open, or when a policy closes it: one of both shows where there are rows.
    fn control_of_seen(&mut self, role: &str, seen: &Seen) {
        let quoted = self.quoted.clone();
        let note = |name: &str, count: &str| {
            format!(
                "set local role {role};\nselect set_config('dbtune.{name}', ({count})::text, true) \\g /dev/null\nreset role;"
            )
        };
        self.line("-- Negative control: a test that a wrong policy does not fail says nothing.");
        self.line(&note("right", &seen.expected));
        self.line(&format!("alter table {quoted} disable row level security;"));
        self.line(&note("open", &seen.actual));
        self.line(&format!("alter table {quoted} enable row level security;"));
        self.line(&format!(
            "create policy dbtune_closed on {quoted} as restrictive using (false);"
        ));
        self.line(&note("closed", &seen.actual));
        self.line(&format!("drop policy dbtune_closed on {quoted};"));
        let says = literal(&format!(
            "control: a wrong policy on {} changes what is seen",
            self.table
        ));
        self.test(&format!(
            "ok(current_setting('dbtune.open') <> current_setting('dbtune.right') or current_setting('dbtune.closed') <> \
             current_setting('dbtune.right') or not exists (select from {ALL}), {says})"
        ));
    }

    fn control_of_inserted(&mut self, role: &str, inserted: &Inserted) {
        let quoted = self.quoted.clone();
        let says = literal(&format!(
            "control: without row-level security {} refuses no such row for it",
            self.table
        ));
        let skip = literal(&format!("nothing is refused on {}", self.table));
        self.line(
            "-- Negative control: without row-level security the same row is not refused for it.",
        );
        self.line(&format!("alter table {quoted} disable row level security;"));
        self.line(&format!("set local role {role};"));
        self.test(&format!(
            "case when exists ({}) then isnt(pg_temp.dbtune_state({}), '42501', {says}) else skip({skip}, 1) end",
            inserted.foreign,
            literal(&inserted.insert)
        ));
        self.line("reset role;");
        self.line(&format!("alter table {quoted} enable row level security;"));
    }

    fn line(&mut self, line: &str) {
        self.body.push_str(line);
        self.body.push('\n');
    }

    fn test(&mut self, test: &str) {
        self.tests += 1;
        self.line(&format!("select {test};"));
    }

    pub(super) fn text(&self) -> String {
        let mut text = format!(
            "-- Who sees which rows of {}, and whose new rows are refused, as decided when `dbtune verify --export pgtap` wrote this.\n\
             -- For psql or pg_prove on a copy of the database that has the extension pgtap, as the owner of the table or a superuser\n\
             -- who may become the roles: pg_prove -d DATABASE FILE. Everything is rolled back; the table is locked meanwhile.\n",
            one_line(&self.table)
        );
        for (variable, setting) in &self.variables {
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "-- Variable {variable}: the value of {} (psql -v {variable}=…). Without it, that identity is nobody.\n\
                 \\if :{{?{variable}}}\n\\else\n\\set {variable} ''\n\\endif",
                one_line(setting)
            );
        }
        let roles: Vec<&str> = self.roles.iter().map(String::as_str).collect();
        let _ = write!(
            text,
            "\\set ON_ERROR_STOP on\n\\set QUIET on\n\\pset format unaligned\n\\pset tuples_only on\n\\pset pager off\nbegin;\nselect plan({});\n\
             create temporary view dbtune_all as select * from {};\ngrant select on {ALL} to {};\n{STATE};\n{}\n\
             select * from finish();\nrollback;\n",
            self.tests,
            self.quoted,
            roles.join(", "),
            self.body
        );
        text
    }
}

/// A name in a comment must stay in it.
fn one_line(words: &str) -> String {
    words.replace(['\n', '\r'], " ")
}
