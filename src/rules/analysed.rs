//! Every policy of a catalog, analysed: most of an audit's work on a large schema.

use super::PolicyFacts;
use crate::model::{Catalog, Gap, Name, Policy, Table};
use crate::sql::qual::{Parsed, Qual};
use std::collections::BTreeMap;

/// A thread for fewer expressions than this costs more than it saves.
const WORTH_A_THREAD: usize = 500;
/// How many policies with the same expression are analysed in one go.
const PIECE: usize = 256;
/// As the main thread has: expressions nest.
pub(super) const STACK: usize = 8 * 1024 * 1024;

/// `USING` and `WITH CHECK` of one policy.
type Pair = [Option<Qual>; 2];

/// An expression, and the policies that have it: number, and which of the two it is.
type Users<'a> = (&'a str, Vec<(usize, usize)>);

/// The policies by table and name, and what was not understood of them. An expression that stands at many tables is
/// parsed once.
pub(super) fn analyse(catalog: &Catalog) -> (Vec<PolicyFacts<'_>>, Vec<Gap>) {
    let all: Vec<(&Name, &Table, &Policy)> = catalog
        .tables
        .iter()
        .flat_map(|(name, table)| table.policies.iter().map(move |p| (name, table, p)))
        .collect();
    let mut users: BTreeMap<&str, Vec<(usize, usize)>> = BTreeMap::new();
    for (number, (_, _, policy)) in all.iter().enumerate() {
        for (which, text) in [&policy.using, &policy.check].into_iter().enumerate() {
            if let Some(text) = text {
                users.entry(text).or_default().push((number, which));
            }
        }
    }
    // In pieces, so that no thread is left alone with one that stands everywhere.
    let users: Vec<Users<'_>> = users
        .into_iter()
        .flat_map(|(text, of)| {
            let pieces: Vec<_> = of.chunks(PIECE).map(<[_]>::to_vec).collect();
            pieces.into_iter().map(move |piece| (text, piece))
        })
        .collect();
    let mut pairs: Vec<Pair> = all.iter().map(|_| [None, None]).collect();
    let mut problems = Vec::new();
    let names: Vec<&Name> = all.iter().map(|(name, _, _)| *name).collect();
    for ((number, which), result) in on_all_cores(&users, &names, catalog) {
        match result {
            Ok(qual) => {
                let slot = pairs.get_mut(number).and_then(|p| p.get_mut(which));
                if let Some(slot) = slot {
                    *slot = Some(qual);
                }
            }
            Err(why) => problems.push(((number, which), why)),
        }
    }
    problems.sort();
    let gaps = problems
        .into_iter()
        .filter_map(|((number, _), why)| {
            let (name, _, policy) = all.get(number)?;
            Some(Gap {
                what: format!("policy {} on {name}", policy.name),
                why: format!("its expression could not be analysed: {why}"),
                remedy: None,
            })
        })
        .collect();
    let policies = all
        .into_iter()
        .zip(pairs)
        .map(|((name, table, policy), [using, check])| PolicyFacts {
            name,
            table,
            policy,
            using,
            check,
        })
        .collect();
    (policies, gaps)
}

type Analysed = ((usize, usize), Result<Qual, String>);

/// In no order that matters: each result says whose it is.
fn on_all_cores(users: &[Users<'_>], names: &[&Name], catalog: &Catalog) -> Vec<Analysed> {
    let total: usize = users.iter().map(|(_, of)| of.len()).sum();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(total / WORTH_A_THREAD).max(1);
    let part = |first: usize| {
        let mine = users.iter().skip(first).step_by(threads);
        mine.flat_map(|user| of_one(user, names, catalog))
            .collect::<Vec<_>>()
    };
    if threads == 1 {
        return part(0);
    }
    std::thread::scope(|scope| {
        let part = &part;
        let running: Vec<_> = (0..threads)
            .map(|first| {
                let builder = std::thread::Builder::new().stack_size(STACK);
                (first, builder.spawn_scoped(scope, move || part(first)))
            })
            .collect();
        running
            .into_iter()
            .flat_map(
                |(first, handle)| match handle.map(std::thread::ScopedJoinHandle::join) {
                    Ok(Ok(done)) => done,
                    Ok(Err(panic)) => std::panic::resume_unwind(panic),
                    // The system has no thread to give.
                    Err(_) => part(first),
                },
            )
            .collect()
    })
}

fn of_one<'a>(
    (text, of): &'a Users<'_>,
    names: &'a [&Name],
    catalog: &'a Catalog,
) -> impl Iterator<Item = Analysed> + 'a {
    let parsed = Parsed::new(text);
    of.iter().filter_map(move |whose| {
        let name = names.get(whose.0)?;
        let result = match &parsed {
            Ok(parsed) => Qual::of_parsed(parsed, name, catalog).map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        };
        Some((*whose, result))
    })
}
