//! Whom a claim may name, and who of them is worth a look.

use super::asks::{Asks, Subject, named};
use super::fill::Filled;
use super::reader::{Reader, number, text};
use super::{Kind, signature, size, stranger};
use crate::db::Result;
use crate::model::Name;
use crate::sql::quote;
use crate::sql::ties::{Claim, Form, Place};
use std::collections::{BTreeMap, BTreeSet};

/// What one claim may hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Crowd {
    pub(super) claim: Claim,
    pub(super) form: Option<Form>,
    /// The column holds numbers or booleans: a document holds them so too.
    pub(super) bare: bool,
    /// The most telling first.
    pub(super) people: Vec<One>,
}

/// A value of the claim, or several where it is a list. Never printed.
#[derive(Clone)]
pub(super) struct One {
    pub(super) values: Vec<String>,
    pub(super) kind: Kind,
    pub(super) about: String,
    /// How soon it is wanted: 0 first.
    pub(super) rank: u8,
    /// Other claims that belong to it.
    pub(super) beside: BTreeMap<Claim, Filled>,
}

impl std::fmt::Debug for One {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("One")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl One {
    pub(super) fn new(value: String, kind: Kind, rank: u8, about: impl Into<String>) -> Self {
        Self {
            values: vec![value],
            kind,
            about: about.into(),
            rank,
            beside: BTreeMap::new(),
        }
    }
}

/// With no more than these, everyone is looked at.
const FEW: u64 = 12;

/// Whoever the claim may name.
pub(super) async fn find(reader: &mut Reader<'_>, asks: &Asks, subject: &Subject) -> Result<Crowd> {
    let mut crowd = Crowd {
        claim: subject.claim.clone(),
        form: subject.form.clone(),
        bare: subject.places.iter().any(|p| is_bare(asks, p)),
        people: Vec::new(),
    };
    let doing = format!("find values of {}", named(&subject.claim));
    let mut everybody = everybody(asks, &roots(asks, subject));
    let mut counted = count(reader, &doing, &everybody).await?;
    if counted.is_none() {
        everybody = self::everybody(asks, &subject.places);
        counted = count(reader, &doing, &everybody).await?;
    }
    let Some((total, few)) = counted else {
        return Ok(crowd);
    };
    if subject.loose {
        crowd.people = size::by_value(reader, asks, subject).await?;
    } else {
        crowd.people = size::people(reader, asks, subject).await?;
        crowd
            .people
            .extend(signature::people(reader, asks, subject, &everybody).await?);
    }
    if total <= FEW {
        let of = few.len();
        crowd
            .people
            .extend(few.into_iter().enumerate().map(|(at, value)| {
                let about = format!("number {} of all {of}", at + 1);
                One::new(value, Kind::EveryUser, 3, about)
            }));
    }
    if let Some(value) = stranger::find(reader, asks, subject, &everybody).await? {
        crowd.people.push(One::new(
            value,
            Kind::Stranger,
            1,
            "one of whom there is no row",
        ));
    }
    if subject.form.is_some() {
        lists(&mut crowd.people);
    }
    distinct(&mut crowd.people);
    Ok(crowd)
}

/// A value that somebody holds, where there is one.
pub(super) fn somebody(crowd: &Crowd) -> Option<String> {
    let held = |p: &&One| p.kind != Kind::Stranger && !p.values.is_empty();
    let one = crowd.people.iter().find(held)?;
    one.values.first().cloned()
}

/// A list of two, and an empty one, beside the lists of one.
fn lists(people: &mut Vec<One>) {
    let of = |kind: Kind| {
        let found = people.iter().find(|p| p.kind == kind);
        found.and_then(|p| p.values.first().cloned())
    };
    let ends = (of(Kind::Biggest), of(Kind::Smallest));
    if let (Some(big), Some(small)) = ends {
        let mut two = One::new(big, Kind::TwoMemberships, 2, "a list of two");
        two.values.push(small);
        people.push(two);
    }
    let mut none = One::new(String::new(), Kind::NoMembership, 2, "an empty list");
    none.values.clear();
    people.push(none);
}

/// One for each value; the one that comes first by rank gives it its name.
fn distinct(people: &mut Vec<One>) {
    people.sort_by_key(|p| p.rank);
    let mut seen = BTreeSet::new();
    people.retain(|p| seen.insert(p.values.clone()));
}

/// Columns that hold all values, in place of those that refer to them.
fn roots(asks: &Asks, subject: &Subject) -> BTreeSet<Place> {
    subject
        .places
        .iter()
        .map(|p| root(asks, p.clone()))
        .collect()
}

fn root(asks: &Asks, mut place: Place) -> Place {
    const DEEPEST: usize = 4;
    for _ in 0..DEEPEST {
        let keys = asks.tables.get(&place.0).map(|t| &t.foreign_keys);
        let up = keys.into_iter().flatten().find_map(|key| {
            let ([column], [referenced]) =
                (key.columns.as_slice(), key.referenced_columns.as_slice())
            else {
                return None;
            };
            let known = asks.tables.contains_key(&key.references);
            (*column == place.1 && known && key.references != place.0)
                .then(|| (key.references.clone(), referenced.clone()))
        });
        match up {
            Some(up) => place = up,
            None => break,
        }
    }
    place
}

/// A query of every value as `who`.
fn everybody(asks: &Asks, places: &BTreeSet<Place>) -> String {
    const MOST_ROWS: f64 = 5e6;
    let small = |p: &&Place| asks.rows(&p.0) <= MOST_ROWS;
    let mut chosen: Vec<&Place> = places.iter().filter(small).collect();
    if chosen.is_empty() {
        chosen = places.iter().collect();
    }
    let each: Vec<String> = chosen.into_iter().map(|p| values(asks, p)).collect();
    each.join(" union ")
}

/// The values of a column as `who`, NULL left out; the elements of an array.
pub(super) fn values(asks: &Asks, (table, column): &Place) -> String {
    let name = quote::ident(column);
    let value = if is_array(asks, table, column) {
        format!("unnest(t.{name})")
    } else {
        format!("t.{name}")
    };
    format!(
        "select v::text as who from (select {value} as v from {} t) x where v is not null",
        quote::name(table)
    )
}

fn is_array(asks: &Asks, table: &Name, column: &str) -> bool {
    let column = asks.tables.get(table).and_then(|t| t.column(column));
    column.is_some_and(|c| c.type_category == 'A')
}

fn is_bare(asks: &Asks, (table, column): &Place) -> bool {
    let column = asks.tables.get(table).and_then(|t| t.column(column));
    column.is_some_and(|c| matches!(c.type_category, 'N' | 'B'))
}

/// How many there are, and all of them where they are few.
async fn count(
    reader: &mut Reader<'_>,
    doing: &str,
    everybody: &str,
) -> Result<Option<(u64, Vec<String>)>> {
    let sql = format!(
        "with u as materialized (select distinct who from ({everybody}) e) \
         select json_build_array(n, w.who)::text from (select count(*) as n from u) c \
         left join lateral (select who from u where n <= {FEW}) w on true order by w.who"
    );
    let Some(rows) = reader.ask(doing, &sql, &[]).await? else {
        return Ok(None);
    };
    let total = rows.first().map_or(0, |row| number(row, 0));
    Ok(Some((
        total,
        rows.iter().filter_map(|r| text(r, 1)).collect(),
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_of_a_value_stays() {
        let mut people = vec![
            One::new("b".to_owned(), Kind::EveryUser, 3, ""),
            One::new("a".to_owned(), Kind::Smallest, 1, ""),
            One::new("b".to_owned(), Kind::Biggest, 1, ""),
        ];
        lists(&mut people);
        distinct(&mut people);
        let kinds: Vec<_> = people.iter().map(|p| (p.kind, p.values.len())).collect();
        assert_eq!(
            kinds,
            [
                (Kind::Smallest, 1),
                (Kind::Biggest, 1),
                (Kind::TwoMemberships, 2),
                (Kind::NoMembership, 0)
            ]
        );
        assert!(!format!("{people:?}").contains('"'));
    }
}
