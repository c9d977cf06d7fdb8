//! What a decision rests on, as a digest that the data does not change.

use super::found::By;
use super::weave::{digest, digest_of_all};
use crate::model::Catalog;
use crate::sql::words::words;
use crate::verify::effective::Effective;
use crate::verify::side::Side;
use std::collections::{BTreeMap, BTreeSet};

/// How deep functions that call functions are followed.
const DEPTH: usize = 6;

/// Digests by the text that is applied, which many identities share.
pub(super) struct Definitions<'a> {
    side: &'a Side,
    catalog: &'a Catalog,
    known: BTreeMap<String, String>,
}

impl<'a> Definitions<'a> {
    pub(super) fn new(side: &'a Side, catalog: &'a Catalog) -> Self {
        Self {
            side,
            catalog,
            known: BTreeMap::new(),
        }
    }

    pub(super) fn of(&mut self, by: By, effective: &Effective) -> String {
        let Effective::Tested(text) = effective else {
            return digest_of_all([digest(&format!("{by:?}"))]);
        };
        if let Some(known) = self.known.get(text) {
            return known.clone();
        }
        let texts = reached(text, self.side, self.catalog);
        let made = digest_of_all(texts.iter().map(|t| digest(t)));
        self.known.insert(text.clone(), made.clone());
        made
    }
}

/// The text, the functions that it names, the policies of tables that it names, and what those name in turn. A name that only
/// looks like one of them is taken along: that makes a digest more careful, not less.
fn reached(text: &str, side: &Side, catalog: &Catalog) -> BTreeSet<String> {
    let mut all: BTreeSet<String> = [text.to_owned()].into();
    let mut fresh = all.clone();
    for _ in 0..DEPTH {
        let spoken: BTreeSet<String> = fresh.iter().filter_map(|t| words(t)).flatten().collect();
        let functions = catalog
            .functions
            .iter()
            .filter(|f| spoken.contains(&f.name.name));
        let bodies = functions.map(|f| {
            format!(
                "{}({}) {} {} {} {:?}",
                f.name, f.arguments, f.security_definer, f.strict, f.body, f.config
            )
        });
        let tables = side
            .tables
            .values()
            .filter(|t| spoken.contains(&t.name().name));
        let policies = tables.flat_map(|t| {
            t.policies.iter().map(|p| {
                format!(
                    "{} {} {} {:?} {:?}",
                    t.name(),
                    p.command,
                    p.permissive,
                    p.using,
                    p.check
                )
            })
        });
        let next: BTreeSet<String> = bodies
            .chain(policies)
            .filter(|t| !all.contains(t))
            .collect();
        if next.is_empty() {
            break;
        }
        all.extend(next.iter().cloned());
        fresh = next;
    }
    all
}
