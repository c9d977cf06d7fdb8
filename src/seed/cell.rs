//! The value of a cell, from its place alone.

use super::plan::{At, How, Member, Plan, Source, Table};
use super::random::Draw;
use super::template::Row;
use crate::db::Cell;

const DAY_MICROS: i64 = 86_400_000_000;
/// Draws after which an unused row is looked for one by one.
const DRAWS: usize = 64;

/// A row, as templates see it.
struct Place<'a> {
    plan: &'a Plan,
    table: usize,
    row: u64,
}

impl Row for Place<'_> {
    fn number(&self) -> u64 {
        self.row
    }

    fn nth(&self) -> u64 {
        self.plan
            .tables
            .get(self.table)
            .map_or(0, |t| t.nth(self.row))
    }

    fn column(&self, column: usize) -> String {
        let at = At {
            table: self.table,
            column,
        };
        self.plan.cell(at, self.row).label().unwrap_or_default()
    }
}

impl Table {
    /// Number of the row among the children of its parent, from 0.
    fn nth(&self, row: u64) -> u64 {
        row / self.parents.unwrap_or(u64::MAX).max(1)
    }
}

impl Plan {
    /// The value of one cell; NULL where there is no such column.
    pub(super) fn cell(&self, at: At, row: u64) -> Cell {
        let (Some(table), Some(column)) = (self.tables.get(at.table), self.column(at)) else {
            return Cell::Null;
        };
        let mut draw = column.stream.row(row);
        if self.is_null(at, row, &mut draw) {
            return Cell::Null;
        }
        let place = Place {
            plan: self,
            table: at.table,
            row,
        };
        match &column.source {
            Source::Ref { at: target, how } => self
                .referred(at, target.table, how, row, &mut draw)
                .map_or(Cell::Null, |row| self.cell(*target, row)),
            Source::Copy { from, at: target } => self
                .target(own(at, *from), row)
                .map_or(Cell::Null, |row| self.cell(*target, row)),
            Source::Member(member) => self
                .chosen(at, member, row, &mut draw)
                .map_or(Cell::Null, |row| self.cell(member.at, row)),
            Source::After { column, seconds } => {
                let since = match self.cell(own(at, *column), row) {
                    Cell::Timestamp(micros) => micros,
                    Cell::Date(days) => i64::from(days) * DAY_MICROS,
                    _ => return Cell::Null,
                };
                Cell::Timestamp(since + draw.between(seconds.0, seconds.1) * 1_000_000)
            }
            source => plain(source, table, &place, &mut draw),
        }
    }

    /// The row that a reference points at, in the table that [`Plan::refers_to`] names.
    pub(super) fn target(&self, at: At, row: u64) -> Option<u64> {
        let column = self.column(at)?;
        let mut draw = column.stream.row(row);
        if self.is_null(at, row, &mut draw) {
            return None;
        }
        match &column.source {
            Source::Ref { at: target, how } => self.referred(at, target.table, how, row, &mut draw),
            Source::Copy { from, at: target } => {
                self.target(*target, self.target(own(at, *from), row)?)
            }
            Source::Member(member) => {
                let chosen = self.chosen(at, member, row, &mut draw)?;
                if member.takes_reference {
                    self.target(member.at, chosen)
                } else {
                    Some(chosen)
                }
            }
            _ => None,
        }
    }

    fn is_null(&self, at: At, row: u64, draw: &mut Draw) -> bool {
        let Some(column) = self.column(at) else {
            return true;
        };
        if column.null_fraction > 0.0 && draw.chance(column.null_fraction) {
            return true;
        }
        column.only_when.as_ref().is_some_and(|(other, labels)| {
            let label = self.cell(own(at, *other), row).label();
            label.is_none_or(|label| !labels.contains(&label))
        })
    }

    fn referred(&self, at: At, table: usize, how: &How, row: u64, draw: &mut Draw) -> Option<u64> {
        let rows = self.tables.get(table)?.rows;
        let own_rows = self.tables.get(at.table)?.rows;
        match how {
            How::Uniform => Some(draw.below(rows)),
            How::Skewed(skew, shuffle) => Some(skew.share(shuffle, row, own_rows)),
            How::Each => Some(row % rows.max(1)),
            How::Earlier => (row > 0).then(|| draw.below(row)),
            How::Distinct { .. } => self.distinct(at, how, rows, row),
        }
    }

    /// The `nth` of the different rows that belong to the row's parent.
    fn distinct(&self, at: At, how: &How, rows: u64, row: u64) -> Option<u64> {
        let How::Distinct {
            skew,
            shuffle,
            first,
        } = how
        else {
            return None;
        };
        let table = self.tables.get(at.table)?;
        let parents = table.parents?.max(1);
        let parent = row % parents;
        let nth = usize::try_from(table.nth(row)).ok()?;
        let start = match (first, skew) {
            (Some(first), _) => self.target(*first, parent),
            (None, Some(skew)) => Some(skew.share(shuffle, parent, parents)),
            (None, None) => Some(shuffle.at(parent % rows.max(1))),
        };
        let mut used: Vec<u64> = start.into_iter().collect();
        let mut draw = self.column(at)?.stream.row(parent);
        while used.len() <= nth {
            let fresh = (0..DRAWS)
                .map(|_| match skew {
                    Some(skew) => skew.draw(&mut draw),
                    None => draw.below(rows),
                })
                .find(|candidate| !used.contains(candidate));
            used.push(fresh.or_else(|| (0..rows).find(|r| !used.contains(r)))?);
        }
        used.get(nth).copied()
    }

    /// A row of the member's table that agrees with this one; any row of it where none does.
    fn chosen(&self, at: At, member: &Member, row: u64, draw: &mut Draw) -> Option<u64> {
        let shared = self.target(own(at, member.own), row);
        let groups = member.groups.get_or_init(|| self.groups(member));
        let group = shared.and_then(|shared| groups.get(usize::try_from(shared).ok()?));
        match group {
            Some(group) if !group.is_empty() => draw.pick(group).copied(),
            _ => Some(draw.below(self.tables.get(member.of)?.rows)),
        }
    }

    fn groups(&self, member: &Member) -> Vec<Vec<u64>> {
        let on = At {
            table: member.of,
            column: member.on,
        };
        let rows = |table: usize| self.tables.get(table).map_or(0, |t| t.rows);
        let mut groups = Vec::new();
        groups.resize(
            self.refers_to(on)
                .map_or(0, |t| usize::try_from(rows(t)).unwrap_or_default()),
            Vec::new(),
        );
        for row in 0..rows(member.of) {
            let shared = self.target(on, row).and_then(|r| usize::try_from(r).ok());
            if let Some(group) = shared.and_then(|shared| groups.get_mut(shared)) {
                group.push(row);
            }
        }
        groups
    }
}

fn own(at: At, column: usize) -> At {
    At {
        table: at.table,
        column,
    }
}

/// Sources that look at nothing but their own row.
fn plain(source: &Source, table: &Table, place: &Place<'_>, draw: &mut Draw) -> Cell {
    let row = place.row;
    match source {
        Source::Uuid => Cell::Uuid(draw.uuid()),
        Source::Serial(start) => Cell::Int(start.saturating_add_unsigned(row)),
        Source::Int(from, to) => Cell::Int(draw.between(*from, *to)),
        Source::Decimal { from, to, places } => Cell::Decimal {
            unscaled: draw.between(*from, *to),
            places: *places,
        },
        Source::Bool(chance) => Cell::Bool(draw.chance(*chance)),
        Source::Choice { labels, sums } => {
            let point = draw.below(sums.last().copied().unwrap_or_default());
            let chosen = labels.get(sums.partition_point(|sum| *sum <= point));
            chosen.map_or(Cell::Null, |label| Cell::Text(label.clone()))
        }
        Source::Turn(values) => {
            let turn = table.nth(row) % (values.len() as u64).max(1);
            let value = usize::try_from(turn).ok().and_then(|turn| values.get(turn));
            value.map_or(Cell::Null, |value| Cell::Text(value.clone()))
        }
        Source::Nth(start) => Cell::Int(start.saturating_add_unsigned(table.nth(row))),
        Source::Text(template) => Cell::Text(template.fill(draw, place)),
        Source::Paragraph { of, count } => {
            let sentences: Vec<String> = (0..amount(*count, draw))
                .map(|_| of.fill(draw, place))
                .collect();
            Cell::Text(sentences.join(" "))
        }
        Source::Array { of, count } => {
            let mut words: Vec<String> = Vec::new();
            for _ in 0..amount(*count, draw) {
                if let Some(word) = draw.pick(of).filter(|word| !words.contains(word)) {
                    words.push(word.clone());
                }
            }
            Cell::Texts(words)
        }
        Source::Json(document) => Cell::Json(document.fill(draw, place).to_string()),
        Source::Date { from, days, rising } => {
            let day = span(u64::from(*days), *rising, row, table.rows, draw);
            Cell::Date(from.saturating_add_unsigned(u32::try_from(day).unwrap_or_default()))
        }
        Source::Every { from, days } => {
            let since = table.nth(row).saturating_mul(u64::from(*days));
            Cell::Date(from.saturating_add_unsigned(u32::try_from(since).unwrap_or(u32::MAX)))
        }
        Source::Timestamp {
            from,
            micros,
            rising,
        } => {
            let since = span(*micros, *rising, row, table.rows, draw);
            // Whole milliseconds, as applications write them.
            Cell::Timestamp(from.saturating_add_unsigned(since / 1_000 * 1_000))
        }
        Source::Inet => Cell::Text(format!(
            "10.{}.{}.{}",
            draw.below(256),
            draw.below(256),
            1 + draw.below(254)
        )),
        Source::Ref { .. } | Source::Copy { .. } | Source::Member(_) | Source::After { .. } => {
            Cell::Null
        }
    }
}

fn amount(count: (u32, u32), draw: &mut Draw) -> i64 {
    draw.between(i64::from(count.0), i64::from(count.1))
}

/// A place within `width`: anywhere, or in the row's own slice of it.
fn span(width: u64, rising: bool, row: u64, rows: u64, draw: &mut Draw) -> u64 {
    if !rising {
        return draw.below(width);
    }
    let slice = |row: u64| {
        let place = u128::from(width) * u128::from(row.min(rows)) / u128::from(rows.max(1));
        u64::try_from(place).unwrap_or(width)
    };
    slice(row) + draw.below(slice(row + 1) - slice(row))
}
