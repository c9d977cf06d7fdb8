use super::column::{is_text, length};
use super::{Derivation, set};
use crate::db::{Reference, TableShape};
use crate::model::Gap;
use crate::seed::spec::{ColumnSpec, CopySpec, Generator, RefSpec};
use std::collections::{BTreeMap, BTreeSet};

type Columns = BTreeMap<String, ColumnSpec>;

impl Derivation<'_> {
    /// Replaces the generators of foreign keys' columns.
    pub(super) fn follow_references(&mut self, shape: &TableShape, columns: &mut Columns) {
        let mut references: Vec<&Reference> = shape.references.iter().collect();
        // Wider keys first: a narrow one that shares a column with it holds by what it copies.
        references.sort_by_key(|r| std::cmp::Reverse(r.columns.len()));
        let mut taken: BTreeSet<&str> = BTreeSet::new();
        for reference in references {
            let key = (shape.name.clone(), reference.name.clone());
            if self.cut.contains(&key) || !self.shapes.iter().any(|s| s.name == reference.table) {
                self.leave_empty(shape, reference, columns);
                continue;
            }
            let free: Vec<(&String, &String)> = reference
                .columns
                .iter()
                .zip(&reference.referenced)
                .filter(|(column, _)| !taken.contains(column.as_str()))
                .collect();
            let shared = |column: &str| {
                let users = shape.references.iter();
                users
                    .filter(|r| r.columns.iter().any(|c| c == column))
                    .count()
                    > 1
            };
            let anchor = free
                .iter()
                .find(|(c, _)| !shared(c))
                .or(free.first())
                .copied();
            let Some((anchor, target)) = anchor else {
                continue;
            };
            let own = reference.table == shape.name;
            let optional = shape.column(anchor).is_some_and(|c| !c.not_null);
            set(
                columns,
                anchor,
                Generator::Ref(RefSpec {
                    table: reference.table.to_string(),
                    column: target.clone(),
                    earlier: own && optional,
                    ..RefSpec::default()
                }),
            );
            taken.insert(anchor);
            for (column, referenced) in free {
                if column == anchor {
                    continue;
                }
                let copy = CopySpec {
                    from: anchor.clone(),
                    column: referenced.clone(),
                };
                columns.insert(column.clone(), Generator::Copy(copy).into());
                taken.insert(column);
            }
        }
    }

    fn leave_empty(&mut self, shape: &TableShape, reference: &Reference, columns: &mut Columns) {
        for column in &reference.columns {
            if shape.column(column).is_some_and(|c| !c.not_null) {
                columns.remove(column);
            }
        }
        self.gaps.push(Gap {
            what: format!("foreign key {} of {}", reference.name, shape.name),
            why: "it closes a circle of tables or leaves the tables that can be seen; its optional columns stay NULL".to_owned(),
            remedy: None,
        });
    }

    /// Makes generators unique where keys ask for it; returns the rows that this leaves room for.
    pub(super) fn make_unique(&mut self, shape: &TableShape, columns: &mut Columns) -> u64 {
        let mut rows = self.size(&shape.name);
        let mut keys: Vec<&Vec<String>> = shape.unique.iter().collect();
        keys.sort_by_key(|key| key.len());
        for key in keys {
            if key.iter().any(|c| is_unique(shape, columns, c)) {
                continue;
            }
            let plain = key
                .iter()
                .find_map(|c| Some((c, unique_generator(shape, columns, c)?)));
            if let Some((column, generator)) = plain {
                set(columns, column, generator);
                continue;
            }
            let mut parents = key.iter().filter(|c| {
                matches!(
                    columns.get(*c).map(|c| &c.generator),
                    Some(Generator::Ref(_))
                )
            });
            let (first, second) = (parents.next(), parents.next());
            let each = |columns: &Columns| {
                columns
                    .values()
                    .any(|c| matches!(&c.generator, Generator::Ref(r) if r.each))
            };
            let Some(first) = first.filter(|_| !each(columns)) else {
                self.gaps.push(Gap {
                    what: format!("unique key ({}) of {}", key.join(", "), shape.name),
                    why: "no generator of these types and references is free of repetition"
                        .to_owned(),
                    remedy: Some("write a seed specification for the table".to_owned()),
                });
                continue;
            };
            let mut parent_rows = rows;
            change_reference(columns, first, |reference| {
                reference.each = true;
                reference.earlier = false;
                parent_rows = self.size(&crate::seed::spec::parse_name(&reference.table));
            });
            match second {
                Some(second) => {
                    let mut targets = rows;
                    change_reference(columns, second, |reference| {
                        reference.distinct_within = Some(first.clone());
                        reference.earlier = false;
                        targets = self.size(&crate::seed::spec::parse_name(&reference.table));
                    });
                    rows = rows.min(parent_rows.saturating_mul(targets) / 2).max(1);
                }
                None => rows = rows.min(parent_rows),
            }
        }
        rows
    }
}

/// Changes a reference in place; a key's column is never NULL.
fn change_reference(columns: &mut Columns, column: &str, change: impl FnOnce(&mut RefSpec)) {
    if let Some(spec) = columns.get_mut(column) {
        spec.null_fraction = 0.0;
        if let Generator::Ref(reference) = &mut spec.generator {
            change(reference);
        }
    }
}

fn is_unique(shape: &TableShape, columns: &Columns, column: &str) -> bool {
    match columns.get(column).map(|c| &c.generator) {
        Some(Generator::Uuid | Generator::Serial(_)) => true,
        Some(Generator::Text(text)) => text.contains("{row"),
        // Slices of the year for each row.
        Some(Generator::Timestamp(_)) => shape.column(column).is_some_and(|c| c.not_null),
        _ => false,
    }
}

fn unique_generator(shape: &TableShape, columns: &Columns, column: &str) -> Option<Generator> {
    let found = shape.column(column)?;
    match &columns.get(column)?.generator {
        Generator::Int(..) if found.type_name.starts_with("int") => Some(Generator::Serial(1)),
        Generator::Decimal(_) => Some(Generator::Serial(1)),
        Generator::Text(text) if is_text(found) => {
            let short = length(found).is_some_and(|length| length < 40);
            let text = match text.split_once('@') {
                _ if short => "{row}".to_owned(),
                Some((before, after)) => format!("{before}.{{row}}@{after}"),
                None => format!("{text} {{row}}"),
            };
            Some(Generator::Text(text))
        }
        _ => None,
    }
}
