//! One role in front of one table on one side: what its statements may name, and how they name a row.

use super::predict::{Asked, Says, Whole};
use super::stage::{Facts, Spot, staged};
use crate::sql::quote;
use crate::verify::effective::Clause;
use crate::verify::pairing::Subject;

pub(super) struct Scene<'a> {
    pub(super) subject: &'a Subject,
    pub(super) after: bool,
    pub(super) facts: &'a Facts,
    pub(super) asked: &'a Asked<'a>,
    pub(super) spots: &'a [Spot],
    pub(super) says: &'a Says,
    /// Made-up rows to insert.
    pub(super) inserts: &'a [String],
    /// Made-up rows to update to.
    pub(super) targets: &'a [String],
    pub(super) whole: Whole,
}

impl Scene<'_> {
    pub(super) fn table(&self) -> String {
        self.subject.on(self.after).quoted()
    }

    pub(super) fn staged(&self) -> String {
        staged(self.subject)
    }

    pub(super) fn asks(&self, clauses: &[Clause]) -> bool {
        clauses.iter().all(|c| self.asked.contains_key(c))
    }

    /// Whether the role may read what names a row: its place, or its whole key.
    pub(super) fn names_rows(&self) -> bool {
        self.facts.places || self.by_key()
    }

    fn by_key(&self) -> bool {
        let key = &self.facts.key;
        !key.is_empty() && key.iter().all(|c| self.facts.select.contains(c))
    }

    /// The condition on `t` that chooses one row.
    pub(super) fn at(&self, spot: &Spot) -> String {
        if self.facts.places {
            return format!(
                "t.ctid = {}::tid and t.tableoid = {}",
                quote::literal(&spot.place),
                spot.part
            );
        }
        let staged = self.staged();
        let of = |column: &String| {
            let column = quote::ident(column);
            format!(
                "t.{column} = (select r.{column} from {staged} r where r.dbtune_i = {})",
                spot.number
            )
        };
        let all: Vec<String> = self.facts.key.iter().map(of).collect();
        all.join(" and ")
    }

    /// What a row is called in the answer to [`Scene::list`].
    pub(super) fn label(&self, spot: &Spot) -> String {
        if self.facts.places {
            spot.label()
        } else {
            spot.number.to_string()
        }
    }

    /// Gives the labels of those of the rows that are seen; `lock` is nothing or ` for update`.
    pub(super) fn list(&self, spots: &[&Spot], lock: bool) -> String {
        let table = self.table();
        let lock = if lock { " for update of t" } else { "" };
        if self.facts.places {
            let places: Vec<String> = spots
                .iter()
                .map(|s| format!("{}::tid", quote::literal(&s.place)))
                .collect();
            return format!(
                "select string_agg(x, ';') from (select t.tableoid::text || t.ctid::text as x from {table} t
                 where t.ctid = any (array[{}]){lock}) s",
                places.join(", ")
            );
        }
        let staged = self.staged();
        let keys: Vec<String> = self.facts.key.iter().map(|c| quote::ident(c)).collect();
        let on: Vec<String> = keys.iter().map(|c| format!("t.{c} = r.{c}")).collect();
        let numbers: Vec<String> = spots.iter().map(|s| s.number.to_string()).collect();
        let numbers = numbers.join(", ");
        let first = keys.first().cloned().unwrap_or_default();
        format!(
            "select string_agg(x, ';') from (select r.dbtune_i::text as x from {staged} r join {table} t on {}
             where r.dbtune_i in ({numbers}) and t.{first} = any (array(select {first} from {staged} where dbtune_i in ({numbers}))){lock}) s",
            on.join(" and ")
        )
    }

    /// Columns of the table that the policies read.
    pub(super) fn read(&self) -> impl Iterator<Item = &crate::verify::side::Column> {
        self.subject.columns.iter().filter_map(|p| p.on(self.after))
    }

    /// Whether a column that the policies read is computed from others.
    pub(super) fn computed(&self) -> bool {
        self.read().any(|c| c.generated)
    }
}
