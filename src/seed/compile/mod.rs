//! From a specification to a plan: every name is looked up here, once.

mod lookup;
mod reference;

use crate::model::Name;
use crate::seed::error::Error;
use crate::seed::json::Document;
use crate::seed::order;
use crate::seed::plan::{Column, How, Plan, Source, Table};
use crate::seed::random::Stream;
use crate::seed::spec::{ColumnSpec, Generator, SpanSpec, Spec, TableSpec};
use crate::seed::template::{Lists, Template};
use crate::seed::words;
use chrono::NaiveDate;

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
        plan.order = order::tables(&plan, &order::parents(&plan, &[]))?;
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
            Source::Turn(_)
            | Source::Nth(_)
            | Source::Every { .. }
            | Source::Ref {
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
