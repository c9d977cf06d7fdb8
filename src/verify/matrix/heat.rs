//! A table whose cells are coloured, one for each clause.

use super::found::{Access, By, Matrix, TableLine};
use super::lines::{measured, only_schema, short};
use crate::model::{Heat, HeatCell, Name, Tone};
use crate::verify::effective::Clause;
use std::collections::BTreeMap;

/// Tables down, identities across.
pub(super) fn heat(matrix: &Matrix, clause: Clause) -> Heat {
    let cells: BTreeMap<(&Name, &str), &Access> = matrix
        .cells
        .iter()
        .filter(|c| c.clause == clause)
        .map(|c| ((&c.table, c.identity.as_str()), c))
        .collect();
    let shown: Vec<&str> = matrix
        .identities
        .iter()
        .map(|p| p.name.as_str())
        .filter(|name| cells.keys().any(|(_, identity)| identity == name))
        .collect();
    let alone = only_schema(matrix);
    let rows = matrix
        .tables
        .iter()
        .filter(|t| cells.keys().any(|(table, _)| **table == t.table));
    Heat {
        title: format!("May {}: {}", clause.words(), unit(clause)),
        corner: match alone {
            Some(schema) => format!("{schema} · as"),
            None => "table · as".to_owned(),
        },
        columns: shown.iter().map(|name| (*name).to_owned()).collect(),
        rows: rows
            .map(|table| {
                let row = shown.iter().map(|name| {
                    let cell = cells.get(&(&table.table, *name))?;
                    Some(heat_cell(cell, table))
                });
                (short(&table.table, alone), row.collect())
            })
            .collect(),
    }
}

fn unit(clause: Clause) -> &'static str {
    match clause {
        Clause::Insert => "kinds of new rows that are admitted, of those made up",
        Clause::UpdateCheck => "kinds of rows that an update may leave, of those made up",
        _ => "rows that are admitted",
    }
}

fn heat_cell(cell: &Access, table: &TableLine) -> HeatCell {
    let (part, all) = measured(cell, table);
    #[expect(clippy::cast_precision_loss, reason = "a colour")]
    let share = if all == 0 {
        0.0
    } else {
        part as f64 / all as f64
    };
    let whole = part == all && all > 0;
    let (tone, strength) = match (cell.by, whole) {
        _ if cell.unknown.is_some() || cell.ends.is_some() => (Tone::Warn, 0.0),
        (By::Open, _) => (Tone::Bad, 1.0),
        (By::Exempt, _) => (Tone::Bad, 0.0),
        (By::Nobody, _) => (Tone::Dim, 0.0),
        (By::Policies, true) => (Tone::Warn, 1.0),
        (By::Policies, false) => (Tone::Good, if part == 0 { 0.0 } else { share.max(0.1) }),
    };
    let mut note = match (cell.by, &cell.ends, &cell.unknown) {
        (_, _, Some(_)) => "unknown".to_owned(),
        (_, Some(state), _) => format!("error {state}"),
        (By::Open, ..) => "open".to_owned(),
        (By::Exempt, ..) => "exempt".to_owned(),
        (By::Nobody, ..) => "no policy".to_owned(),
        (By::Policies, ..) if whole => "all".to_owned(),
        (By::Policies, ..) if part == 0 => "none".to_owned(),
        (By::Policies, ..) => format!("of {all}"),
    };
    if let Some(columns) = &cell.columns {
        let s = if columns.len() == 1 { "" } else { "s" };
        note = format!("{note}, {} column{s}", columns.len());
    }
    let is_known = if cell.clause.of_new_rows() {
        cell.kinds.is_some()
    } else {
        cell.rows.is_some()
    };
    HeatCell {
        text: if is_known {
            part.to_string()
        } else {
            String::new()
        },
        note,
        tone,
        strength,
    }
}
