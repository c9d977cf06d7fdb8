//! Which made-up rows a role can bring about whose privileges name columns.

use super::effective::{Clause, Effective};
use super::pairing::Subject;
use super::side::Column;
use super::tuples;
use crate::model::{Catalog, Volatility};
use crate::sql::quote;
use crate::sql::scope::worst_volatility;
use crate::sql::tree::parse_expression;
use std::collections::BTreeSet;

/// A condition on a made-up row; `None` where every one can come to be.
///
/// A column that may not be inserted takes its default; one that may not be updated keeps what it had in a row that the role
/// may choose for an UPDATE, `using`.
pub(super) fn reach(
    subject: &Subject,
    after: bool,
    clause: Clause,
    columns: &BTreeSet<&str>,
    using: &Effective,
    catalog: &Catalog,
) -> Option<String> {
    let fixed: Vec<&Column> = subject
        .columns
        .iter()
        .filter_map(|p| p.on(after))
        .filter(|c| !columns.contains(c.name.as_str()) || !c.writable && !c.generated)
        .filter(|c| !c.generated)
        .collect();
    if fixed.is_empty() {
        return None;
    }
    match clause {
        Clause::Insert => {
            let all: Vec<String> = fixed
                .iter()
                .filter_map(|c| default_of(c, catalog))
                .collect();
            (!all.is_empty()).then(|| all.join(" and "))
        }
        Clause::UpdateCheck => {
            let key = |alias: &str| {
                let parts: Vec<String> = fixed
                    .iter()
                    .map(|c| format!("{alias}.{}::text", quote::ident(&c.name)))
                    .collect();
                format!("row({})::text", parts.join(", "))
            };
            let alias = subject.on(after).alias();
            Some(format!(
                "{} in (select k from (select {} as k, ({}) as d from (select * from dbtune_verify.{}) as {alias} offset 0) own where d)",
                key(&alias),
                key(&alias),
                using.sql(),
                tuples::relation(subject)
            ))
        }
        Clause::Select | Clause::Update | Clause::Delete => None,
    }
}

/// `None` where the default is another one each time.
pub(super) fn default_of(column: &Column, catalog: &Catalog) -> Option<String> {
    let name = quote::ident(&column.name);
    let Some(default) = &column.default else {
        return column.writable.then(|| format!("{name} is null"));
    };
    let node = parse_expression(default).ok()?;
    (worst_volatility(&node, catalog) < Volatility::Volatile)
        .then(|| format!("{name}::text is not distinct from ({default})::text"))
}
