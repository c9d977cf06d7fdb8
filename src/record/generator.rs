//! Where the values of a statement's placeholders come from.

use super::choose::Recorded;
use super::literal;
use crate::model::{Catalog, Name, ParamSpec, RunAs, Table};
use crate::sql::placeholders::{Place, placeholders};
use crate::sql::quote;
use std::collections::BTreeMap;

/// A draw, and what is to be known about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Generated {
    pub param: ParamSpec,
    pub note: Option<String>,
}

/// A draw for each placeholder, whose types the server has told; or why there is none for one of them.
pub fn generate(
    statement: &Recorded,
    types: &[String],
    catalog: &Catalog,
) -> Result<Vec<Generated>, String> {
    if types.is_empty() {
        return Ok(Vec::new());
    }
    if !statement.values.is_empty() && statement.values.iter().all(|v| v.len() == types.len()) {
        return Ok(kept(statement, types));
    }
    let places = placeholders(&statement.sql, catalog).map_err(|e| format!("it has {e}"))?;
    (1..)
        .zip(types)
        .map(|(number, kind)| {
            let own = places.get(&number).map_or(&[][..], Vec::as_slice);
            let found = Draw {
                statement,
                places: &places,
                kind,
                catalog,
            }
            .best(own)?;
            let (sql, run_as, note) = found;
            Ok(Generated {
                param: ParamSpec {
                    type_name: kind.clone(),
                    sql,
                    run_as,
                },
                note,
            })
        })
        .zip(1..)
        .map(|(result, number): (Result<Generated, String>, u32)| {
            result.map_err(|why| format!("nothing says which values ${number} takes: {why}"))
        })
        .collect()
}

/// The values that were seen, each placeholder by itself.
fn kept(statement: &Recorded, types: &[String]) -> Vec<Generated> {
    let row = |value: &Option<String>| match value {
        Some(text) => format!("({})", quote::literal(text).trim_start()),
        None => "(null)".to_owned(),
    };
    types
        .iter()
        .enumerate()
        .map(|(at, kind)| {
            let rows: Vec<String> = statement
                .values
                .iter()
                .filter_map(|values| values.get(at))
                .map(row)
                .collect();
            Generated {
                param: ParamSpec {
                    type_name: kind.clone(),
                    sql: format!("values {}", rows.join(", ")),
                    run_as: RunAs::Owner,
                },
                note: Some("values that were seen".to_owned()),
            }
        })
        .collect()
}

type Found = (String, RunAs, Option<String>);

struct Draw<'a> {
    statement: &'a Recorded,
    places: &'a BTreeMap<u32, Vec<Place>>,
    kind: &'a str,
    catalog: &'a Catalog,
}

impl Draw<'_> {
    /// The first place that says most.
    fn best(&self, places: &[Place]) -> Result<Found, String> {
        let mut reason = "it is not understood where it stands".to_owned();
        let mut sorted: Vec<&Place> = places.iter().collect();
        sorted.sort_by_key(|place| match place {
            Place::Compared { .. } | Place::Element { .. } | Place::Assigned { .. } => 0,
            Place::Limit { .. } | Place::Offset => 1,
            Place::Returned => 2,
            Place::Inside(_) => 3,
        });
        for place in sorted {
            match self.draw(place) {
                Ok(found) => return Ok(found),
                Err(why) => reason = why,
            }
        }
        Err(reason)
    }

    fn draw(&self, place: &Place) -> Result<Found, String> {
        match place {
            Place::Compared {
                table,
                expression,
                column,
                operator,
                list,
            } => {
                let expression = if column.is_some() {
                    expression.clone()
                } else {
                    format!("({expression})")
                };
                self.compared(table, &expression, operator, *list)
            }
            Place::Element { table, column } => {
                let column = quote::ident(column);
                let (from, limit) = (self.from(table), 1000);
                Ok(as_persona(format!(
                    "select e::text from {from}, unnest({column}) e where e is not null limit {limit}"
                )))
            }
            Place::Assigned { table, column, .. } => self.assigned(table, column),
            Place::Limit { outermost } => {
                // What the statement makes of the rows inside is not told by how many it returns.
                let rows = self.statement.rows.filter(|_| *outermost);
                let note = match rows {
                    Some(_) => "a limit: the rows of a call, rounded up",
                    None => "a limit: how many rows people ask for is not known",
                };
                let n = round(rows.unwrap_or(50.0)).to_string();
                Ok((literal::list(&[&n]), RunAs::Owner, Some(note.to_owned())))
            }
            Place::Offset => Ok((
                literal::list(&["0"]),
                RunAs::Owner,
                Some("an offset: the first page".to_owned()),
            )),
            Place::Returned => literal::any(self.kind, self.catalog)
                .map(|sql| {
                    let note = "only returned: any value does".to_owned();
                    (sql, RunAs::Owner, Some(note))
                })
                .ok_or_else(|| format!("it is of type {} and only returned", self.kind)),
            // An API asks for headers that a function may have set; unless it is told not to, that fails.
            Place::Inside(what) if what == "current_setting()" => {
                let value = if self.kind == "boolean" {
                    "true"
                } else {
                    "response.headers"
                };
                Ok((literal::list(&[value]), RunAs::Owner, None))
            }
            Place::Inside(what) => literal::choices(self.kind, self.catalog)
                .map(|(sql, note)| (sql, RunAs::Owner, Some(note.to_owned())))
                .ok_or_else(|| format!("it is of type {} and part of {what}", self.kind)),
        }
    }

    /// The table, or a part of it that is read at once and stays the same.
    fn from(&self, table: &Name) -> String {
        const WANTED: f64 = 3000.0;
        const MANY: f64 = 20_000.0;
        let name = quote::name(table);
        let known = self.catalog.table(table);
        let sampled = known.is_some_and(|t| {
            use crate::model::TableKind;
            matches!(
                t.kind,
                TableKind::Ordinary | TableKind::Partitioned | TableKind::MaterializedView
            ) && t.row_estimate() > MANY
        });
        match known {
            Some(t) if sampled => format!(
                "{name} tablesample system ({:.4}) repeatable (1)",
                (100.0 * WANTED / t.row_estimate()).max(0.0001)
            ),
            _ => name,
        }
    }

    fn compared(
        &self,
        table: &Name,
        expression: &str,
        operator: &str,
        list: bool,
    ) -> Result<Found, String> {
        let from = self.from(table);
        if list {
            return Ok((
                format!(
                    "select array_agg(v)::text from (select {expression} as v, row_number() over () / 5 as part from {from} \
                     where {expression} is not null limit 500) s group by part"
                ),
                RunAs::Persona,
                Some("five at a time: how long the lists are is not known".to_owned()),
            ));
        }
        let word = format!("substring({expression}::text from '[[:alnum:]]+')");
        Ok(match operator {
            "~~" | "~~*" | "!~~" | "!~~*" => (
                format!(
                    "select '%' || {word} || '%' from {from} where {word} is not null limit 1000"
                ),
                RunAs::Persona,
                Some(
                    "looks for a word anywhere: whether people look for the beginning is not known"
                        .to_owned(),
                ),
            ),
            "~" | "~*" | "^@" => as_persona(format!(
                "select {word} from {from} where {word} is not null limit 1000"
            )),
            "?" => return Err("it is a key inside a document".to_owned()),
            "<" | "<=" | ">" | ">=" => self.bound(expression, &from, operator, table),
            _ => as_persona(format!(
                "select {expression}::text from {from} where {expression} is not null limit 1000"
            )),
        })
    }

    /// A bound of a range: where the other bound is drawn as well, from the lower or the upper half, so that the range
    /// is not empty.
    fn bound(&self, expression: &str, from: &str, operator: &str, table: &Name) -> Found {
        let lower = operator.starts_with('>');
        let both = self.places.values().flatten().any(|p| {
            matches!(p, Place::Compared { table: t, expression: e, operator: o, .. }
                if t == table && (e == expression || format!("({e})") == expression) && o.starts_with(['<', '>']) && o.starts_with('>') != lower)
        });
        let half = if both {
            format!(
                " and {expression} {} (select percentile_disc(0.5) within group (order by {expression}) from {from})",
                if lower { "<=" } else { ">=" }
            )
        } else {
            String::new()
        };
        let note = if both {
            "from one half of the values, the other bound from the other: how wide people ask is not known"
        } else {
            "anywhere in the values: how far people look is not known"
        };
        (
            format!(
                "select {expression}::text from {from} where {expression} is not null{half} limit 1000"
            ),
            RunAs::Persona,
            Some(note.to_owned()),
        )
    }

    fn assigned(&self, table: &Name, column: &str) -> Result<Found, String> {
        let known = self.catalog.table(table);
        let ident = quote::ident(column);
        if known.is_some_and(|t| is_unique(t, column)) {
            return literal::fresh(self.kind, &ident, &quote::name(table))
                .map(|sql| {
                    let note = "values that no row has".to_owned();
                    (sql, RunAs::Owner, Some(note))
                })
                .ok_or_else(|| {
                    format!(
                        "{column} is unique, and of type {} there are no new values to make",
                        self.kind
                    )
                });
        }
        let kind = known
            .and_then(|t| t.column(column))
            .map(|c| c.type_name.as_str());
        if kind == Some("boolean") || known.is_some_and(|t| t.row_estimate() < 1.0) {
            return literal::any(self.kind, self.catalog)
                .map(|sql| (sql, RunAs::Owner, None))
                .ok_or_else(|| format!("{column} has no values yet"));
        }
        let from = self.from(table);
        Ok(as_persona(format!(
            "select {ident}::text from {from} where {ident} is not null limit 1000"
        )))
    }
}

fn as_persona(sql: String) -> Found {
    (sql, RunAs::Persona, None)
}

/// Whether the column alone must be unique.
fn is_unique(table: &Table, column: &str) -> bool {
    table.indexes.iter().any(|i| {
        i.unique
            && i.predicate.is_none()
            && matches!(i.keys.as_slice(), [key] if key.column.as_deref() == Some(column))
    })
}

/// The next number that people choose.
fn round(rows: f64) -> u32 {
    [1, 5, 10, 20, 25, 50, 100, 200, 500, 1000]
        .into_iter()
        .find(|n| f64::from(*n) >= rows)
        .unwrap_or(5000)
}
