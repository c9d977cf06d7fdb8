//! The specification file: tables, their sizes, and a generator for each column.

mod fields;

use crate::config;
use crate::model::Name;
use crate::seed::error::Error;
use chrono::NaiveDate;
use fields::ColumnFields;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A seed specification (`version: 1`).
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    pub version: u32,
    /// Another number gives other data of the same shape.
    #[serde(default)]
    pub seed: u64,
    /// Word lists for `text`, `array` and `json`, beside the built-in ones (see `src/seed/words.rs`).
    #[serde(default)]
    pub lists: BTreeMap<String, Vec<String>>,
    pub tables: Vec<TableSpec>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableSpec {
    /// `schema.name`, or a name in `public`.
    pub table: String,
    /// At scale 1.
    pub rows: u64,
    /// The scale does not change the number of rows.
    #[serde(default)]
    pub fixed: bool,
    /// Rows at least, however small the scale.
    #[serde(default)]
    pub at_least: u64,
    /// Columns left out take their default.
    pub columns: BTreeMap<String, ColumnSpec>,
}

/// A generator, and when its value is NULL instead.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "ColumnFields")]
pub struct ColumnSpec {
    pub generator: Generator,
    /// Share of rows with NULL, 0 to 1.
    pub null_fraction: f64,
    /// NULL in every other row.
    pub only_when: Option<When>,
}

/// What fills a column. The names are the keys of the file.
#[derive(Clone, Debug, PartialEq)]
pub enum Generator {
    /// A random uuid, version 4.
    Uuid,
    /// The key of a row of another table.
    Ref(RefSpec),
    /// A column of the row that another column of this table refers to.
    Copy(CopySpec),
    /// A row of a table that agrees with this row in one reference: a nurse of this very location.
    Member(MemberSpec),
    /// Start, start + 1 …
    Serial(i64),
    /// From and to, both included.
    Int(i64, i64),
    Decimal(DecimalSpec),
    /// Chance of true.
    Bool(f64),
    /// Labels with their weights.
    Choice(BTreeMap<String, u32>),
    /// The first child of a parent takes the first value, the second the second …; needs an `each` reference.
    Turn(Vec<String>),
    /// Number of this child among its parent's, counted from the given one; needs an `each` reference.
    Nth(i64),
    /// Words with placeholders, see `src/seed/template.rs`.
    Text(String),
    Paragraph(ParagraphSpec),
    Array(ArraySpec),
    /// Strings are templates; `{$int: [1, 5]}`, `{$bool: 0.5}` and `{$list: NAME}` stand for values.
    Json(serde_json::Value),
    Date(SpanSpec),
    /// A date for each child of a parent, evenly apart; needs an `each` reference.
    Every(EverySpec),
    Timestamp(SpanSpec),
    /// Some time after another column of the same row.
    After(AfterSpec),
    /// A private IPv4 address.
    Inet,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefSpec {
    pub table: String,
    /// The referenced column.
    #[serde(default = "id")]
    pub column: String,
    /// How many times as often the first row is referred to as the last (Zipf's law in between).
    #[serde(default)]
    pub skew: Option<f64>,
    /// Row after row in turn, so that every parent has the same number of children, give or take one.
    #[serde(default)]
    pub each: bool,
    /// A row before this one of the same table (a tree); NULL in the first.
    #[serde(default)]
    pub earlier: bool,
    /// An `each` column of this table: no two children of one parent refer to the same row.
    #[serde(default)]
    pub distinct_within: Option<String>,
    /// With `distinct_within`: a reference of the parent that its first child repeats.
    #[serde(default)]
    pub first: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CopySpec {
    /// A column of this table that refers to a row …
    pub from: String,
    /// … of which this column is taken.
    pub column: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberSpec {
    /// The table to choose a row from …
    pub of: String,
    /// … whose reference in this column agrees with …
    pub on: String,
    /// … this one of ours; the same name if not given.
    #[serde(default)]
    pub own: Option<String>,
    /// The reference to take from the chosen row; without it, the row itself.
    #[serde(default)]
    pub take: Option<String>,
    /// Key column of the chosen row, where `take` is not given.
    #[serde(default = "id")]
    pub column: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecimalSpec {
    pub from: f64,
    pub to: f64,
    /// Digits after the point, at most 9.
    #[serde(default = "two")]
    pub places: u8,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParagraphSpec {
    /// A template, filled anew for each sentence.
    pub of: String,
    /// Sentences, fewest and most.
    pub count: (u32, u32),
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArraySpec {
    /// A word list; an array holds no word twice.
    pub of: String,
    /// Words, fewest and most.
    pub count: (u32, u32),
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpanSpec {
    pub from: NaiveDate,
    /// Not included.
    pub to: NaiveDate,
    /// Later rows have later times, as in a log.
    #[serde(default)]
    pub rising: bool,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EverySpec {
    pub from: NaiveDate,
    pub days: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AfterSpec {
    /// A timestamp or date column of the same row.
    pub column: String,
    /// Fewest and most.
    pub seconds: (i64, i64),
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    pub column: String,
    pub is: Vec<String>,
}

impl Spec {
    /// Reads a specification; `file` is named in errors.
    ///
    /// # Errors
    /// With file, line and column, and what was expected there.
    pub fn parse(text: &str, file: &str) -> Result<Self, Error> {
        let spec: Self = config::from_yaml(file, text)?;
        if spec.version == 1 {
            return Ok(spec);
        }
        let message = format!(
            "version {} is unknown to this dbtune, which reads version 1",
            spec.version
        );
        Err(config::Error::at(file, 0, 0, message).into())
    }
}

impl TableSpec {
    pub fn name(&self) -> Name {
        parse_name(&self.table)
    }

    /// Rows at a scale.
    pub fn rows_at(&self, scale: f64) -> u64 {
        if self.fixed {
            return self.rows;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "row counts are far below 2^53, and a cast from a float saturates"
        )]
        let scaled = (self.rows as f64 * scale).round() as u64;
        scaled.max(self.at_least).max(1)
    }
}

/// `schema.name`, or a name in `public`.
pub(super) fn parse_name(text: &str) -> Name {
    match text.split_once('.') {
        Some((schema, name)) => Name::new(schema, name),
        None => Name::new("public", text),
    }
}

impl From<Generator> for ColumnSpec {
    fn from(generator: Generator) -> Self {
        Self {
            generator,
            null_fraction: 0.0,
            only_when: None,
        }
    }
}

fn id() -> String {
    "id".to_owned()
}

fn two() -> u8 {
    2
}
