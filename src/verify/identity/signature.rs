//! One user for each set of what policies and bodies test of users and their memberships.

use super::Kind;
use super::asks::{Asks, Subject, named};
use super::crowd::One;
use super::reader::{Reader, number, text};
use super::size::{Way, is_key, memberships, ways};
use crate::db::Result;
use crate::sql::quote;
use crate::sql::ties::Test;
use std::collections::BTreeSet;

/// A table whose rows say something of users.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Bearing {
    way: Way,
    tenant: Option<String>,
    /// As SQL over `m`, and in words.
    tests: Vec<(String, String)>,
}

/// What one letter of a signature says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Field {
    /// 0, 1, or 2 for more than one, tenants of this table.
    Memberships(String),
    /// n no row, t every row, f no row of those there are, b some.
    Test(String, String),
}

/// Users beyond these are left out: the sets of some would be those of nobody else.
const MOST: usize = 60;
const MOST_ROWS: f64 = 2e6;
const MOST_TESTS: usize = 12;

/// One of each signature; those first that show a letter nobody before them has shown.
pub(super) async fn people(
    reader: &mut Reader<'_>,
    asks: &Asks,
    subject: &Subject,
    everybody: &str,
) -> Result<Vec<One>> {
    let bearings = bearings(asks, subject);
    if bearings.is_empty() {
        return Ok(Vec::new());
    }
    let doing = format!("tell users of {} apart", named(&subject.claim));
    let sql = query(&bearings, everybody);
    let rows = reader.ask(&doing, &sql, &[]).await?.unwrap_or_default();
    let rows: Vec<(String, String, u64)> = rows
        .iter()
        .filter_map(|row| Some((text(row, 0)?, text(row, 1)?, number(row, 2))))
        .collect();
    let members = memberships(asks, subject);
    let main = members.first().map(|m| m.way.table.name.as_str());
    Ok(chosen(&rows, &fields(&bearings), main))
}

fn bearings(asks: &Asks, subject: &Subject) -> Vec<Bearing> {
    let members = memberships(asks, subject);
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for way in ways(asks, subject) {
        let place = (way.table.clone(), way.column.clone());
        let main = members.first().is_some_and(|m| m.way == way);
        let asked = asks.ties.asked.contains(&place) || way.is_by_way();
        let about_users = asked || main || is_key(asks, &place);
        if !about_users || asks.rows(&way.table) > MOST_ROWS || !seen.insert(way.table.clone()) {
            continue;
        }
        let member = members.iter().find(|m| m.way == way);
        let tests: Vec<_> = asks
            .ties
            .tests
            .iter()
            .filter(|((table, column), _)| *table == way.table && *column != way.column)
            .filter_map(|((_, column), test)| {
                let known = asks.tables.get(&way.table)?.column(column)?;
                condition(column, &known.type_name, test)
            })
            .take(MOST_TESTS)
            .collect();
        if member.is_some() || !tests.is_empty() {
            found.push(Bearing {
                tenant: member.map(|m| m.tenant.clone()),
                way,
                tests,
            });
        }
    }
    found
}

/// As SQL, and in words.
fn condition(column: &str, type_name: &str, test: &Test) -> Option<(String, String)> {
    let name = quote::ident(column);
    Some(match test {
        Test::True if type_name == "boolean" => (format!("m.{name}"), column.to_owned()),
        Test::Null => (format!("m.{name} is null"), format!("{column} is null")),
        Test::Clock if type_name.starts_with("timestamp") || type_name == "date" => (
            format!("m.{name} > now()"),
            format!("{column} in the future"),
        ),
        Test::Compare(operator, other) => {
            let words = format!("{column} {operator} {}", quote::literal(other).trim_start());
            let literal = quote::literal(other);
            match operator.as_str() {
                "=" | "<>" => (format!("m.{name}::text {operator} {literal}"), words),
                "<" | "<=" | ">" | ">=" => (format!("m.{name} {operator} {literal}"), words),
                _ => return None,
            }
        }
        _ => return None,
    })
}

fn query(bearings: &[Bearing], everybody: &str) -> String {
    let mut with = format!("with u as (select distinct who from ({everybody}) e)");
    let mut letters = Vec::new();
    let mut joins = String::new();
    for (at, bearing) in bearings.iter().enumerate() {
        let mut columns = vec![format!("{}::text as who", bearing.way.user)];
        if let Some(tenant) = &bearing.tenant {
            let tenant = quote::ident(tenant);
            columns.push(format!("least(count(distinct m.{tenant}), 2)::text as c"));
            letters.push(format!("coalesce(b{at}.c, '0')"));
        }
        for (number, (sql, _)) in bearing.tests.iter().enumerate() {
            columns.push(format!(
                "case when bool_and({sql}) and bool_and(({sql}) is not null) then 't' when bool_or({sql}) then 'b' else 'f' end as t{number}"
            ));
            letters.push(format!("coalesce(b{at}.t{number}, 'n')"));
        }
        with = format!(
            "{with}, b{at} as (select {} from {} group by 1)",
            columns.join(", "),
            bearing.way.from
        );
        joins = format!("{joins} left join b{at} on b{at}.who = u.who");
    }
    format!(
        "{with} select json_build_array(s, min(who), count(*))::text from (select u.who, concat({}) as s from u{joins}) x \
         group by s order by count(*) desc, s limit {MOST}",
        letters.join(", ")
    )
}

fn fields(bearings: &[Bearing]) -> Vec<Field> {
    let mut found = Vec::new();
    for bearing in bearings {
        let table = &bearing.way.table.name;
        if bearing.tenant.is_some() {
            found.push(Field::Memberships(table.clone()));
        }
        let tests = bearing.tests.iter();
        found.extend(tests.map(|(_, words)| Field::Test(table.clone(), words.clone())));
    }
    found
}

/// `rows` are signature, user and how many have it, the commonest first; `main` is the table that says who is of which
/// tenant.
fn chosen(rows: &[(String, String, u64)], fields: &[Field], main: Option<&str>) -> Vec<One> {
    let mut shown = BTreeSet::new();
    let mut classes = BTreeSet::new();
    let main = fields
        .iter()
        .position(|f| matches!(f, Field::Memberships(t) if Some(t.as_str()) == main));
    rows.iter()
        .map(|(signature, user, _)| {
            let letters: Vec<(usize, char)> = signature.chars().enumerate().collect();
            let new = letters.iter().filter(|l| shown.insert(**l)).count() > 0;
            let class = main.and_then(|at| signature.chars().nth(at));
            let kind = match class.filter(|c| classes.insert(*c)) {
                Some('2') => Kind::TwoMemberships,
                Some('1') => Kind::OneMembership,
                Some(_) => Kind::NoMembership,
                None => Kind::Flagged,
            };
            let rank = if new { 2 } else { 6 };
            One::new(user.clone(), kind, rank, words(&letters, fields))
        })
        .collect()
}

fn words(letters: &[(usize, char)], fields: &[Field]) -> String {
    let each = letters.iter().filter_map(|(at, letter)| {
        Some(match (fields.get(*at)?, letter) {
            (Field::Memberships(table), '0') => format!("no tenant of {table}"),
            (Field::Memberships(table), '1') => format!("one tenant of {table}"),
            (Field::Memberships(table), _) => format!("several tenants of {table}"),
            (Field::Test(..), 'n') => return None,
            (Field::Test(table, what), letter) => {
                let how_many = match letter {
                    't' => "all",
                    'b' => "some",
                    _ => "none",
                };
                format!("rows of {table}, {how_many} where {what}")
            }
        })
    });
    let each: Vec<String> = each.collect();
    if each.is_empty() {
        "somebody of whom nothing that is tested is known".to_owned()
    } else {
        format!("somebody with {}", each.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_letter_is_seen_early_and_values_stay_out() {
        let fields = [
            Field::Memberships("m".to_owned()),
            Field::Test("r".to_owned(), "role = 'a'".to_owned()),
        ];
        let row = |s: &str, who: &str| (s.to_owned(), who.to_owned(), 1);
        let rows = [
            row("1t", "w1"),
            row("2f", "w2"),
            row("1f", "w3"),
            row("0n", "w4"),
        ];
        let found = chosen(&rows, &fields, Some("m"));
        let kinds: Vec<_> = found.iter().map(|p| (p.kind, p.rank)).collect();
        assert_eq!(
            kinds,
            [
                (Kind::OneMembership, 2),
                (Kind::TwoMemberships, 2),
                (Kind::Flagged, 6),
                (Kind::NoMembership, 2)
            ]
        );
        assert_eq!(
            found[0].about,
            "somebody with one tenant of m; rows of r, all where role = 'a'"
        );
        assert!(
            found
                .iter()
                .all(|p| !p.about.contains('w') || !p.about.contains("w1"))
        );
    }

    #[test]
    fn tests_are_asked_of_their_columns() {
        let sql = |test: &Test, kind: &str| condition("c", kind, test).map(|(sql, _)| sql);
        assert_eq!(sql(&Test::True, "boolean").as_deref(), Some("m.c"));
        assert_eq!(sql(&Test::True, "text"), None);
        assert_eq!(sql(&Test::Clock, "date").as_deref(), Some("m.c > now()"));
        let equal = Test::Compare("=".to_owned(), "it's".to_owned());
        assert_eq!(sql(&equal, "level").as_deref(), Some("m.c::text = 'it''s'"));
        let like = Test::Compare("~~".to_owned(), "x%".to_owned());
        assert_eq!(sql(&like, "text"), None);
    }
}
