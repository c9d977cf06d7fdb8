//! Few values a type, so that rows meet: what policies and bodies compare with and what lies beside it, texts in another case
//! or with a blank behind them, the empty, the past and the future.

use super::dice::Dice;
use super::kind::{Family, Kind, family_of_cast, uuid};
use crate::sql::said::Said;
use std::collections::{BTreeMap, BTreeSet};

/// The two values of each family that most cells of one world have.
#[derive(Clone, Debug, Default)]
pub(super) struct Favourites {
    values: BTreeMap<Family, [String; 2]>,
    /// Of a hundred cells, how many have one of the two, and how many of those the first. In a world where nearly everything is
    /// equal, conditions joined by AND are met; in others they are not.
    either: usize,
    first: usize,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Pools {
    /// What is drawn mostly, and what only now and then.
    plain: BTreeMap<Family, Vec<String>>,
    rare: BTreeMap<Family, Vec<String>>,
    /// By the column, field or setting that they stand beside.
    beside: BTreeMap<String, Vec<String>>,
    fields: Vec<(Vec<String>, Family)>,
    /// Families of the columns that are read: what a text without a type may be compared with.
    compared: Vec<Family>,
}

impl Favourites {
    /// For whom the rows of the world are mostly about.
    pub(super) fn of_identity(&self) -> Self {
        Self {
            either: 95,
            first: 80,
            ..self.clone()
        }
    }
}

impl Pools {
    /// `names` are those of roles: texts as `current_user` gives them. `compared` are the families of the columns that are
    /// read.
    pub(super) fn new(said: &Said, names: &[String], compared: BTreeSet<Family>) -> Self {
        let mut pools = Self {
            compared: compared.into_iter().collect(),
            ..Self::default()
        };
        pools.put(Family::Integer, &["1", "2"], &["3", "0", "-1"]);
        pools.put(
            Family::Number,
            &["1", "2"],
            &["1.0", "1.5", "0", "-1", "NaN"],
        );
        pools.put(
            Family::Text,
            &["ann", "bob"],
            &["Ann", "ann ", "", "1", "2"],
        );
        pools.put(Family::Boolean, &["true", "false"], &[]);
        pools.put(
            Family::Moment,
            &["2001-01-01", "2999-01-01"],
            &["yesterday", "tomorrow", "infinity"],
        );
        pools.put(Family::Time, &["00:00", "23:59"], &["12:00"]);
        pools.put(Family::Interval, &["1 day", "1000 years"], &["0", "-1 day"]);
        pools.put(Family::Bytes, &["\\x00", "\\x01"], &["\\x"]);
        pools.put(Family::Network, &["10.0.0.1", "192.168.0.0/16"], &["::1"]);
        pools.put(Family::Json, &["{}", "[]"], &["null", "{\"a\": 1}"]);
        let uuids = [1, 2, 3, 0].map(uuid);
        let [one, two, three, zero] = uuids.each_ref().map(String::as_str);
        pools.put(Family::Uuid, &[one, two], &[three, zero]);
        pools.numbers(&said.numbers);
        pools.strings(&said.strings, names);
        for (subject, constants) in &said.compared {
            let mut near: BTreeSet<String> = constants.clone();
            near.extend(constants.iter().flat_map(|c| beside(c)));
            pools
                .beside
                .insert(subject.clone(), near.into_iter().collect());
        }
        let fields = said.fields.iter();
        pools.fields = fields
            .map(|(path, reading)| (path.clone(), family_of_cast(reading.cast.as_deref())))
            .collect();
        pools
    }

    fn put(&mut self, family: Family, plain: &[&str], rare: &[&str]) {
        let owned = |of: &[&str]| of.iter().map(|v| (*v).to_owned()).collect();
        self.plain.insert(family.clone(), owned(plain));
        self.rare.insert(family, owned(rare));
    }

    fn add(&mut self, family: Family, plain: bool, value: String) {
        let known = |lists: &BTreeMap<Family, Vec<String>>| {
            lists.get(&family).is_some_and(|l| l.contains(&value))
        };
        if plain && !known(&self.plain) {
            self.plain.entry(family).or_default().push(value);
        } else if !plain && !known(&self.plain) && !known(&self.rare) {
            self.rare.entry(family).or_default().push(value);
        }
    }

    fn numbers(&mut self, numbers: &BTreeSet<String>) {
        for number in numbers {
            for value in std::iter::once(number.clone()).chain(beside(number)) {
                let itself = value == *number;
                if value.parse::<i64>().is_ok() {
                    self.add(Family::Integer, itself, value.clone());
                }
                self.add(Family::Number, itself, value.clone());
                self.add(Family::Text, false, value);
            }
        }
    }

    fn strings(&mut self, strings: &BTreeSet<String>, names: &[String]) {
        for name in names {
            self.add(Family::Text, true, name.clone());
        }
        for text in strings.iter().filter(|t| t.len() <= 200) {
            self.add(Family::Text, true, text.clone());
            for other in beside(text) {
                self.add(Family::Text, false, other);
            }
            for (family, fits) in [
                (Family::Integer, text.parse::<i64>().is_ok()),
                (Family::Number, text.parse::<f64>().is_ok()),
                (Family::Uuid, is_uuid(text)),
                (Family::Moment, is_date(text)),
                (Family::Json, text.starts_with(['{', '[']) && is_json(text)),
            ] {
                if fits {
                    self.add(family, true, text.clone());
                }
            }
        }
    }

    /// Two values of each family for one world.
    pub(super) fn favourites(&self, dice: &mut Dice) -> Favourites {
        let alike = dice.percent(30);
        let (either, first) = if alike { (92, 80) } else { (75, 60) };
        let mut found = Favourites {
            either,
            first,
            ..Favourites::default()
        };
        for (family, plain) in &self.plain {
            let usual = dice.percent(60);
            let rare = self.rare.get(family).filter(|r| !r.is_empty());
            let mut one = |at: usize| {
                let first = plain.get(at).filter(|_| usual);
                let from = rare.filter(|_| dice.percent(30)).unwrap_or(plain);
                first
                    .or_else(|| dice.pick(from))
                    .cloned()
                    .unwrap_or_default()
            };
            let (own, mut other) = (one(0), one(1));
            // Collations and operators that take two texts for one are told by texts that are nearly one.
            if *family == Family::Text && dice.percent(25) {
                let near = beside(&own);
                other = dice.pick(&near).cloned().unwrap_or(other);
            }
            found.values.insert(family.clone(), [own, other]);
        }
        found
    }

    /// A value of `kind` for what is called `subject`; `None` where the type is not known.
    pub(super) fn draw(
        &self,
        kind: &Kind,
        subject: &str,
        favourites: &Favourites,
        dice: &mut Dice,
    ) -> Option<String> {
        if kind.array {
            return Some(self.array(kind, subject, favourites, dice));
        }
        if kind.range {
            let bound = || Kind {
                range: false,
                ..kind.clone()
            };
            let from = self.draw(&bound(), subject, favourites, dice)?;
            return Some(match dice.below(4) {
                0 => "empty".to_owned(),
                1 => format!("[{from},)"),
                2 => format!("(,{from})"),
                _ => format!("[{from},{from}]"),
            });
        }
        // A value that the type does not take is drawn again.
        (0..8).find_map(|_| {
            let value = self.single(&kind.family, subject, favourites, dice)?;
            kind.takes(&value).then_some(value)
        })
    }

    fn array(
        &self,
        kind: &Kind,
        subject: &str,
        favourites: &Favourites,
        dice: &mut Dice,
    ) -> String {
        let single = Kind {
            array: false,
            ..kind.clone()
        };
        let mut items = Vec::new();
        for _ in 0..dice.below(3) {
            items.push(match self.draw(&single, subject, favourites, dice) {
                Some(value) if !dice.percent(10) => {
                    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
                }
                _ => "NULL".to_owned(),
            });
        }
        format!("{{{}}}", items.join(","))
    }

    pub(super) fn single(
        &self,
        family: &Family,
        subject: &str,
        favourites: &Favourites,
        dice: &mut Dice,
    ) -> Option<String> {
        if let Family::Enum(labels) = family {
            return dice.pick(labels).cloned();
        }
        if *family == Family::Json && dice.percent(60) {
            return Some(self.document(favourites, dice));
        }
        let near = self.beside.get(subject).map_or(&[][..], Vec::as_slice);
        if !near.is_empty() && dice.percent(35) {
            return dice.pick(near).cloned();
        }
        if dice.percent(favourites.either)
            && let Some([own, other]) = favourites.values.get(family)
        {
            let first = dice.percent(favourites.first);
            return Some(if first { own } else { other }.clone());
        }
        let rare = self
            .rare
            .get(family)
            .filter(|r| !r.is_empty() && dice.percent(60));
        dice.pick(rare.or_else(|| self.plain.get(family))?).cloned()
    }

    /// A value that comes as text: one without a type may be anything that a column holds.
    pub(super) fn untyped(
        &self,
        family: &Family,
        subject: &str,
        favourites: &Favourites,
        dice: &mut Dice,
    ) -> String {
        let other = dice.pick(&self.compared);
        let other = other.filter(|_| *family == Family::Text && dice.percent(50));
        self.single(other.unwrap_or(family), subject, favourites, dice)
            .unwrap_or_default()
    }

    /// A JSON document with the fields that policies take out of one.
    pub(super) fn document(&self, favourites: &Favourites, dice: &mut Dice) -> String {
        let mut root = serde_json::Map::new();
        for (path, family) in &self.fields {
            let Some((last, above)) = path.split_last() else {
                continue;
            };
            if dice.percent(12) {
                continue;
            }
            let value = self.untyped(family, last, favourites, dice);
            let value = match dice.below(10) {
                0 if *family == Family::Text => serde_json::json!([value]),
                1 => serde_json::Value::Null,
                _ => serde_json::Value::String(value),
            };
            put_field(&mut root, above, last, value);
        }
        serde_json::Value::Object(root).to_string()
    }
}

/// Puts a field into a document, making the objects on the way to it.
fn put_field(
    object: &mut serde_json::Map<String, serde_json::Value>,
    above: &[String],
    last: &str,
    value: serde_json::Value,
) {
    let Some((step, rest)) = above.split_first() else {
        object.entry(last.to_owned()).or_insert(value);
        return;
    };
    let next = object
        .entry(step.clone())
        .or_insert_with(|| serde_json::json!({}));
    if !next.is_object() {
        *next = serde_json::json!({});
    }
    if let Some(next) = next.as_object_mut() {
        put_field(next, rest, last, value);
    }
}

/// What lies beside a constant: one less, one more; the text in other cases and with a blank.
fn beside(constant: &str) -> Vec<String> {
    if let Ok(number) = constant.parse::<i64>() {
        let near = [number.checked_sub(1), number.checked_add(1)];
        return near.into_iter().flatten().map(|n| n.to_string()).collect();
    }
    let cased = if constant.chars().any(char::is_uppercase) {
        constant.to_lowercase()
    } else {
        constant.to_uppercase()
    };
    let mut found = vec![cased, format!("{constant} ")];
    found.retain(|f| f != constant && !f.trim().is_empty());
    found
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && ::uuid::Uuid::parse_str(text).is_ok()
}

fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 10
        && bytes.get(4) == Some(&b'-')
        && text
            .get(..10)
            .is_some_and(|d| chrono::NaiveDate::parse_from_str(d, "%Y-%m-%d").is_ok())
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(text).is_ok()
}
