//! Text with placeholders.
//!
//! | placeholder | stands for |
//! | --- | --- |
//! | `{NAME}` | a word of the list NAME |
//! | `{row}`, `{row:6}` | the number of the row from 1, padded with zeros to a width |
//! | `{nth}` | the number of the child among its parent's, from 1 |
//! | `{digits:4}`, `{letters:2}` | random digits, random capital letters |
//! | `{column:NAME}` | another column of the same row |
//! | `{lower:…}` | any of these in lower case, with `-` for each blank |

use super::random::Draw;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Word lists by name.
pub(super) type Lists = BTreeMap<String, Arc<[String]>>;

#[derive(Clone, Debug)]
pub(super) struct Template {
    parts: Vec<(Part, Case)>,
}

#[derive(Clone, Debug)]
enum Part {
    Literal(String),
    Row { width: usize },
    Nth,
    Digits(usize),
    Letters(usize),
    Word(Arc<[String]>),
    Column(usize),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Case {
    AsIs,
    Lower,
}

/// What a template may ask of the row it is filled for.
pub(super) trait Row {
    /// From 0.
    fn number(&self) -> u64;
    /// From 0.
    fn nth(&self) -> u64;
    fn column(&self, column: usize) -> String;
}

impl Template {
    /// `columns` are the names of the table's columns.
    pub(super) fn parse(text: &str, lists: &Lists, columns: &[String]) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (inside, after) = after
                .split_once('}')
                .ok_or_else(|| format!("`{text}` has a {{ without a }}"))?;
            parts.push((Part::Literal(before.to_owned()), Case::AsIs));
            let (case, inside) = match inside.strip_prefix("lower:") {
                Some(inside) => (Case::Lower, inside),
                None => (Case::AsIs, inside),
            };
            parts.push((Part::parse(inside, lists, columns)?, case));
            rest = after;
        }
        parts.push((Part::Literal(rest.to_owned()), Case::AsIs));
        parts.retain(|(part, _)| !matches!(part, Part::Literal(text) if text.is_empty()));
        Ok(Self { parts })
    }

    pub(super) fn fill(&self, draw: &mut Draw, row: &impl Row) -> String {
        let mut out = String::new();
        for (part, case) in &self.parts {
            let start = out.len();
            part.fill(&mut out, draw, row);
            if *case == Case::Lower {
                let word = out.split_off(start);
                out.push_str(&word.to_lowercase().replace(' ', "-"));
            }
        }
        out
    }

    /// Columns of the same row that it shows.
    pub(super) fn columns(&self) -> impl Iterator<Item = usize> {
        self.parts.iter().filter_map(|(part, _)| match part {
            Part::Column(column) => Some(*column),
            _ => None,
        })
    }

    pub(super) fn needs_nth(&self) -> bool {
        self.parts.iter().any(|(part, _)| matches!(part, Part::Nth))
    }
}

impl Part {
    fn parse(text: &str, lists: &Lists, columns: &[String]) -> Result<Self, String> {
        let count = |n: &str| {
            n.parse::<usize>()
                .ok()
                .filter(|n| *n <= 64)
                .ok_or_else(|| format!("`{{{text}}}` needs a number up to 64 after the colon"))
        };
        match text.split_once(':') {
            None if text == "row" => Ok(Self::Row { width: 0 }),
            None if text == "nth" => Ok(Self::Nth),
            Some(("row", n)) => Ok(Self::Row { width: count(n)? }),
            Some(("digits", n)) => Ok(Self::Digits(count(n)?)),
            Some(("letters", n)) => Ok(Self::Letters(count(n)?)),
            Some(("column", name)) => columns
                .iter()
                .position(|c| c == name)
                .map(Self::Column)
                .ok_or_else(|| format!("`{{{text}}}` names a column without a generator")),
            _ => lists.get(text).cloned().map(Self::Word).ok_or_else(|| {
                format!("`{{{text}}}` is neither a word list (under `lists:`, or built in) nor a placeholder")
            }),
        }
    }

    fn fill(&self, out: &mut String, draw: &mut Draw, row: &impl Row) {
        match self {
            Self::Literal(text) => out.push_str(text),
            Self::Row { width } => {
                let number = (row.number() + 1).to_string();
                out.extend(std::iter::repeat_n('0', width.saturating_sub(number.len())));
                out.push_str(&number);
            }
            Self::Nth => out.push_str(&(row.nth() + 1).to_string()),
            Self::Digits(count) => {
                out.extend((0..*count).map(|_| symbol(draw, b"0123456789")));
            }
            Self::Letters(count) => {
                out.extend((0..*count).map(|_| symbol(draw, b"ABCDEFGHJKLMNPQRSTUVWXYZ")));
            }
            Self::Word(list) => out.push_str(draw.pick(list).map_or("", String::as_str)),
            Self::Column(column) => out.push_str(&row.column(*column)),
        }
    }
}

fn symbol(draw: &mut Draw, alphabet: &[u8]) -> char {
    draw.pick(alphabet).map_or('0', |byte| char::from(*byte))
}
