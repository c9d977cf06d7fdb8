//! From a specification to a plan: every name is looked up here, once.

use super::error::{Error, nearest};
use super::json::Document;
use super::order;
use super::plan::{At, Column, How, Member, Plan, Source, Table};
use super::random::{Shuffle, Stream};
use super::skew::Skew;
use super::spec::{
    ColumnSpec, Generator, MemberSpec, RefSpec, SpanSpec, Spec, TableSpec, parse_name,
};
use super::template::{Lists, Template};
use super::words;
use crate::model::Name;
use chrono::NaiveDate;
use std::sync::OnceLock;

const DAY_MICROS: i64 = 86_400_000_000;

impl Plan {
    /// Resolves `spec` at `scale`. Pure: the database is not asked.
    ///
    /// # Errors
    /// Where a name is unknown, or tables or columns depend on each other in a circle.
    pub fn compile(spec: &Spec, scale: f64) -> Result<Self, Error> {
        let names: Vec<Name> = spec.tables.iter().map(TableSpec::name).collect();
        for (place, name) in names.iter().enumerate() {
            if names.iter().take(place).any(|other| other == name) {
                return Err(Error::TwiceNamed {
                    table: name.clone(),
                });
            }
        }
        let compiler = Compiler {
            spec,
            lists: words::lists(&spec.lists),
            columns: spec
                .tables
                .iter()
                .map(|table| table.columns.keys().cloned().collect())
                .collect(),
            rows: spec.tables.iter().map(|t| t.rows_at(scale)).collect(),
            names,
        };
        let tables = spec
            .tables
            .iter()
            .enumerate()
            .map(|(place, table)| compiler.table(place, table))
            .collect::<Result<_, _>>()?;
        let mut plan = Self {
            tables,
            order: Vec::new(),
        };
        order::check_columns(&plan)?;
        plan.order = order::tables(&plan, &[])?;
        Ok(plan)
    }
}

struct Compiler<'a> {
    spec: &'a Spec,
    lists: Lists,
    names: Vec<Name>,
    /// Names of the columns of each table, in the order of [`Table::columns`].
    columns: Vec<Vec<String>>,
    rows: Vec<u64>,
}

impl Compiler<'_> {
    fn table(&self, place: usize, spec: &TableSpec) -> Result<Table, Error> {
        let each = spec
            .columns
            .values()
            .find_map(|column| match &column.generator {
                Generator::Ref(reference) if reference.each => Some(reference),
                _ => None,
            });
        let parents = match each {
            Some(reference) => Some(self.rows_of(self.find_table(&reference.table)?)),
            None => None,
        };
        let name = spec.name();
        let columns = spec
            .columns
            .iter()
            .map(|(column, spec)| {
                let stream = Stream::new(self.spec.seed, &format!("{name}.{column}"));
                self.column(place, column, spec, stream, parents)
            })
            .collect::<Result<_, _>>()?;
        Ok(Table {
            name,
            rows: self.rows_of(place),
            columns,
            parents,
        })
    }

    fn column(
        &self,
        table: usize,
        name: &str,
        spec: &ColumnSpec,
        stream: Stream,
        parents: Option<u64>,
    ) -> Result<Column, Error> {
        let only_when = match &spec.only_when {
            Some(when) => Some((self.find_column(table, &when.column)?, when.is.clone())),
            None => None,
        };
        let source = self.source(table, name, &spec.generator, &stream)?;
        let needs_parent = match &source {
            Source::Turn(_) | Source::Nth(_) | Source::Every { .. } => true,
            Source::Ref {
                how: How::Distinct { .. },
                ..
            } => true,
            Source::Text(template) | Source::Paragraph { of: template, .. } => template.needs_nth(),
            Source::Json(document) => document.templates().iter().any(|t| t.needs_nth()),
            _ => false,
        };
        if needs_parent && parents.is_none() {
            return Err(self.wrong(
                table,
                name,
                "counts the children of a parent, so the table needs a column with `ref: {table: …, each: true}`",
            ));
        }
        Ok(Column {
            name: name.to_owned(),
            stream,
            source,
            null_fraction: spec.null_fraction,
            only_when,
        })
    }

    fn source(
        &self,
        table: usize,
        name: &str,
        generator: &Generator,
        stream: &Stream,
    ) -> Result<Source, Error> {
        let bad = |message: String| self.wrong(table, name, message);
        let own_columns = self
            .columns
            .get(table)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let template = |text: &str| Template::parse(text, &self.lists, own_columns).map_err(bad);
        Ok(match generator {
            Generator::Uuid => Source::Uuid,
            Generator::Ref(spec) => self.reference(table, name, spec, stream)?,
            Generator::Copy(spec) => {
                let from = self.find_column(table, &spec.from)?;
                let parent = self.refers_to(table, &spec.from, 0)?;
                Source::Copy {
                    from,
                    at: self.find_at(parent, &spec.column)?,
                }
            }
            Generator::Member(spec) => Source::Member(self.member(table, spec)?),
            Generator::Serial(start) => Source::Serial(*start),
            Generator::Int(from, to) => Source::Int(*from, *to),
            Generator::Decimal(spec) => {
                let unit = 10_f64.powi(i32::from(spec.places));
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "a cast from a float saturates"
                )]
                let unscaled = |value: f64| (value * unit).round() as i64;
                Source::Decimal {
                    from: unscaled(spec.from),
                    to: unscaled(spec.to),
                    places: spec.places,
                }
            }
            Generator::Bool(chance) => Source::Bool(*chance),
            Generator::Choice(weights) => Source::Choice {
                labels: weights.keys().cloned().collect(),
                sums: weights
                    .values()
                    .scan(0, |sum, weight| {
                        *sum += u64::from(*weight);
                        Some(*sum)
                    })
                    .collect(),
            },
            Generator::Turn(values) => Source::Turn(values.clone()),
            Generator::Nth(start) => Source::Nth(*start),
            Generator::Text(text) => Source::Text(template(text)?),
            Generator::Paragraph(spec) => Source::Paragraph {
                of: template(&spec.of)?,
                count: spec.count,
            },
            Generator::Array(spec) => Source::Array {
                of: self.lists.get(&spec.of).cloned().ok_or_else(|| {
                    bad(format!(
                        "the word list `{}` is neither under `lists:` nor built in",
                        spec.of
                    ))
                })?,
                count: spec.count,
            },
            Generator::Json(value) => {
                Source::Json(Document::parse(value, &self.lists, own_columns).map_err(bad)?)
            }
            Generator::Date(spec) => {
                let (from, days) = days_of(spec);
                Source::Date {
                    from,
                    days,
                    rising: spec.rising,
                }
            }
            Generator::Every(spec) => Source::Every {
                from: days_since_epoch(spec.from),
                days: spec.days,
            },
            Generator::Timestamp(spec) => {
                let (from, days) = days_of(spec);
                Source::Timestamp {
                    from: i64::from(from) * DAY_MICROS,
                    micros: u64::from(days) * DAY_MICROS.unsigned_abs(),
                    rising: spec.rising,
                }
            }
            Generator::After(spec) => Source::After {
                column: self.find_column(table, &spec.column)?,
                seconds: spec.seconds,
            },
            Generator::Inet => Source::Inet,
        })
    }

    fn reference(
        &self,
        table: usize,
        name: &str,
        spec: &RefSpec,
        stream: &Stream,
    ) -> Result<Source, Error> {
        let parent = self.find_table(&spec.table)?;
        let at = self.find_at(parent, &spec.column)?;
        let (rows, own_rows) = (self.rows_of(parent), self.rows_of(table));
        let skew = spec.skew.map(|ratio| Skew::new(rows, ratio));
        let how = if let Some(within) = &spec.distinct_within {
            let family = self.refers_to(table, within, 0)?;
            let parents = self.rows_of(family).max(1);
            if own_rows.div_ceil(parents) > rows {
                return Err(self.wrong(
                    table,
                    name,
                    format!(
                        "cannot be distinct: a parent has {} children, and {} only {rows} rows",
                        own_rows.div_ceil(parents),
                        spec.table
                    ),
                ));
            }
            let first = match &spec.first {
                Some(column) => Some(self.find_at(family, column)?),
                None => None,
            };
            How::Distinct {
                shuffle: Shuffle::new(stream.key(), if skew.is_some() { parents } else { rows }),
                skew,
                first,
            }
        } else if spec.each {
            How::Each
        } else if spec.earlier {
            if parent != table {
                return Err(self.wrong(table, name, "earlier: true refers to the table itself"));
            }
            How::Earlier
        } else if let Some(skew) = skew {
            How::Skewed(skew, Shuffle::new(stream.key(), own_rows))
        } else {
            How::Uniform
        };
        Ok(Source::Ref { at, how })
    }

    fn member(&self, table: usize, spec: &MemberSpec) -> Result<Member, Error> {
        let of = self.find_table(&spec.of)?;
        let key = spec.take.as_ref().unwrap_or(&spec.column);
        let own = spec.own.as_ref().unwrap_or(&spec.on);
        let (ours, theirs) = (
            self.refers_to(table, own, 0)?,
            self.refers_to(of, &spec.on, 0)?,
        );
        if ours != theirs {
            let message = format!(
                "`{own}` and `{}.{}` refer to different tables",
                spec.of, spec.on
            );
            return Err(self.wrong(table, own, message));
        }
        if let Some(take) = &spec.take {
            self.refers_to(of, take, 0)?;
        }
        Ok(Member {
            of,
            on: self.find_column(of, &spec.on)?,
            own: self.find_column(table, own)?,
            at: self.find_at(of, key)?,
            takes_reference: spec.take.is_some(),
            groups: OnceLock::new(),
        })
    }

    /// The table that a reference refers to, from the specification alone; `depth` ends circles of copies.
    fn refers_to(&self, table: usize, column: &str, depth: u8) -> Result<usize, Error> {
        self.find_column(table, column)?;
        let spec = self
            .spec
            .tables
            .get(table)
            .and_then(|t| t.columns.get(column));
        match spec.map(|spec| &spec.generator) {
            Some(Generator::Ref(spec)) => self.find_table(&spec.table),
            Some(Generator::Copy(spec)) if depth < 32 => {
                let parent = self.refers_to(table, &spec.from, depth + 1)?;
                self.refers_to(parent, &spec.column, depth + 1)
            }
            Some(Generator::Member(spec)) if depth < 32 => {
                let of = self.find_table(&spec.of)?;
                match &spec.take {
                    Some(take) => self.refers_to(of, take, depth + 1),
                    None => Ok(of),
                }
            }
            _ => Err(self.wrong(
                table,
                column,
                "has to refer to a row here: a `ref`, a `member`, or a `copy` of one",
            )),
        }
    }

    fn find_table(&self, text: &str) -> Result<usize, Error> {
        let name = parse_name(text);
        self.names.iter().position(|n| *n == name).ok_or_else(|| {
            let known: Vec<String> = self.names.iter().map(ToString::to_string).collect();
            Error::UnknownTable {
                nearest: nearest(&name.to_string(), known.iter().map(String::as_str)),
                table: name,
                place: "its list of tables",
            }
        })
    }

    fn find_column(&self, table: usize, column: &str) -> Result<usize, Error> {
        let columns = self
            .columns
            .get(table)
            .map(Vec::as_slice)
            .unwrap_or_default();
        columns.iter().position(|c| c == column).ok_or_else(|| {
            self.wrong(
                table,
                column,
                format!(
                    "is referred to, but has no generator in the specification{}",
                    nearest(column, columns.iter().map(String::as_str))
                        .map(|n| format!("; is it `{n}`?"))
                        .unwrap_or_default()
                ),
            )
        })
    }

    fn find_at(&self, table: usize, column: &str) -> Result<At, Error> {
        let column = self.find_column(table, column)?;
        Ok(At { table, column })
    }

    fn rows_of(&self, table: usize) -> u64 {
        self.rows.get(table).copied().unwrap_or_default()
    }

    fn wrong(&self, table: usize, column: &str, message: impl Into<String>) -> Error {
        Error::Column {
            table: self.names.get(table).cloned().unwrap_or_default(),
            column: column.to_owned(),
            message: message.into(),
        }
    }
}

/// First day, and how many days.
fn days_of(span: &SpanSpec) -> (i32, u32) {
    let days = (span.to - span.from).num_days();
    (
        days_since_epoch(span.from),
        u32::try_from(days).unwrap_or_default(),
    )
}

fn days_since_epoch(date: NaiveDate) -> i32 {
    date.to_epoch_days()
}
