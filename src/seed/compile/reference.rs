//! Generators that point at rows of other tables.

use super::Compiler;
use crate::seed::error::Error;
use crate::seed::plan::{How, Member, Source};
use crate::seed::random::{Shuffle, Stream};
use crate::seed::skew::Skew;
use crate::seed::spec::{MemberSpec, RefSpec};
use std::sync::OnceLock;

impl Compiler<'_> {
    pub(super) fn reference(
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

    pub(super) fn member(&self, table: usize, spec: &MemberSpec) -> Result<Member, Error> {
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
}
