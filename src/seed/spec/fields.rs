//! Columns as they stand in the file, and what is wrong with them.

use super::{
    AfterSpec, ArraySpec, ColumnSpec, CopySpec, DecimalSpec, EverySpec, Generator, MemberSpec,
    ParagraphSpec, RefSpec, SpanSpec, When,
};
use serde::Deserialize;
use std::collections::BTreeMap;

/// A column as it stands in the file: one key is the generator.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ColumnFields {
    uuid: Option<Nothing>,
    #[serde(rename = "ref")]
    reference: Option<RefSpec>,
    copy: Option<CopySpec>,
    member: Option<MemberSpec>,
    serial: Option<i64>,
    int: Option<(i64, i64)>,
    decimal: Option<DecimalSpec>,
    bool: Option<f64>,
    choice: Option<BTreeMap<String, u32>>,
    turn: Option<Vec<String>>,
    nth: Option<i64>,
    text: Option<String>,
    paragraph: Option<ParagraphSpec>,
    array: Option<ArraySpec>,
    json: Option<serde_json::Value>,
    date: Option<SpanSpec>,
    every: Option<EverySpec>,
    timestamp: Option<SpanSpec>,
    after: Option<AfterSpec>,
    inet: Option<Nothing>,
    #[serde(default)]
    null_fraction: f64,
    only_when: Option<When>,
}

/// `{}`: a generator without settings.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl TryFrom<ColumnFields> for ColumnSpec {
    type Error = String;

    fn try_from(fields: ColumnFields) -> Result<Self, String> {
        let null_fraction = fields.null_fraction;
        let generators = [
            fields.uuid.map(|Nothing {}| Generator::Uuid),
            fields.reference.map(Generator::Ref),
            fields.copy.map(Generator::Copy),
            fields.member.map(Generator::Member),
            fields.serial.map(Generator::Serial),
            fields.int.map(|(from, to)| Generator::Int(from, to)),
            fields.decimal.map(Generator::Decimal),
            fields.bool.map(Generator::Bool),
            fields.choice.map(Generator::Choice),
            fields.turn.map(Generator::Turn),
            fields.nth.map(Generator::Nth),
            fields.text.map(Generator::Text),
            fields.paragraph.map(Generator::Paragraph),
            fields.array.map(Generator::Array),
            fields.json.map(Generator::Json),
            fields.date.map(Generator::Date),
            fields.every.map(Generator::Every),
            fields.timestamp.map(Generator::Timestamp),
            fields.after.map(Generator::After),
            fields.inet.map(|Nothing {}| Generator::Inet),
        ];
        let mut given = generators.into_iter().flatten();
        let generator = given
            .next()
            .ok_or_else(|| format!("a column needs one of {GENERATORS}"))?;
        if given.next().is_some() {
            return Err(format!("a column takes only one of {GENERATORS}"));
        }
        if !(0.0..=1.0).contains(&null_fraction) {
            return Err("null_fraction is a share from 0 to 1".to_owned());
        }
        generator.check()?;
        Ok(Self {
            generator,
            null_fraction,
            only_when: fields.only_when,
        })
    }
}

const GENERATORS: &str = "uuid, ref, copy, member, serial, int, decimal, bool, choice, turn, nth, text, paragraph, array, json, date, every, timestamp, after, inet";

impl Generator {
    /// What the types alone do not rule out.
    fn check(&self) -> Result<(), String> {
        let wrong = match self {
            Self::Int(from, to) if from > to => "int: [FROM, TO] needs FROM <= TO",
            Self::Decimal(d) if d.from > d.to => "decimal needs from <= to",
            Self::Decimal(d) if d.places > 9 => "decimal takes at most 9 places",
            Self::Bool(chance) if !(0.0..=1.0).contains(chance) => "bool is a chance from 0 to 1",
            Self::Choice(weights) if weights.values().all(|w| *w == 0) => {
                "choice needs a label with a weight over 0"
            }
            Self::Turn(values) if values.is_empty() => "turn needs a value",
            Self::Date(span) | Self::Timestamp(span) if span.from >= span.to => {
                "from must be before to"
            }
            Self::Paragraph(ParagraphSpec { count, .. }) | Self::Array(ArraySpec { count, .. })
                if count.0 > count.1 =>
            {
                "count: [FEWEST, MOST] needs FEWEST <= MOST"
            }
            Self::After(after) if after.seconds.0 > after.seconds.1 => {
                "seconds: [FEWEST, MOST] needs FEWEST <= MOST"
            }
            Self::Ref(r) if r.skew.is_some_and(|s| s.is_nan() || s < 1.0) => {
                "skew is how many times as often, at least 1"
            }
            Self::Ref(r)
                if r.each && (r.skew.is_some() || r.earlier || r.distinct_within.is_some()) =>
            {
                "each goes with neither skew, earlier nor distinct_within"
            }
            Self::Ref(r) if r.first.is_some() && r.distinct_within.is_none() => {
                "first needs distinct_within"
            }
            _ => return Ok(()),
        };
        Err(wrong.to_owned())
    }
}
