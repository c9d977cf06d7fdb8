//! Names to places.

use super::Compiler;
use crate::seed::error::{Error, nearest};
use crate::seed::plan::At;
use crate::seed::spec::{Generator, parse_name};

impl Compiler<'_> {
    /// The table that a reference refers to, from the specification alone; `depth` ends circles of copies.
    pub(super) fn refers_to(&self, table: usize, column: &str, depth: u8) -> Result<usize, Error> {
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

    pub(super) fn find_table(&self, text: &str) -> Result<usize, Error> {
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

    pub(super) fn find_column(&self, table: usize, column: &str) -> Result<usize, Error> {
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

    pub(super) fn find_at(&self, table: usize, column: &str) -> Result<At, Error> {
        let column = self.find_column(table, column)?;
        Ok(At { table, column })
    }

    pub(super) fn rows_of(&self, table: usize) -> u64 {
        self.rows.get(table).copied().unwrap_or_default()
    }

    pub(super) fn wrong(&self, table: usize, column: &str, message: impl Into<String>) -> Error {
        Error::Column {
            table: self.names.get(table).cloned().unwrap_or_default(),
            column: column.to_owned(),
            message: message.into(),
        }
    }
}
