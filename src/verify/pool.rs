//! Rows that do not exist yet: combinations of the values on which a policy can decide.

use super::side::Column;
use std::collections::BTreeSet;

/// Rows that are made up for one table.
pub(super) const MOST_ROWS: usize = 1500;
/// Every combination is tried where there are no more than this.
const WHOLE_PRODUCT: usize = 600;
/// Values of one column.
const MOST_VALUES: usize = 24;

/// A value as text, or NULL.
pub(super) type Value = Option<String>;

/// What values may come from.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources {
    /// Texts in the settings of the identities: who they are.
    pub(super) claims: BTreeSet<String>,
    /// Constants of the policies and of the functions they reach.
    pub(super) constants: BTreeSet<String>,
    /// The server's clock, as texts in the past and the future.
    pub(super) times: Vec<String>,
}

/// Candidates for a column, the likeliest to matter first. The server says which of them its type takes.
pub(super) fn candidates(column: &Column, sources: &Sources, there: &[String]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut add = |texts: &mut dyn Iterator<Item = String>| {
        for text in texts {
            if !all.contains(&text) {
                all.push(text);
            }
        }
    };
    let owned = |texts: &[&str]| -> Vec<String> { texts.iter().map(|t| (*t).to_owned()).collect() };
    add(&mut column.labels.iter().cloned());
    match column.category {
        'E' => {}
        'B' => add(&mut owned(&["true", "false"]).into_iter()),
        'N' => {
            add(&mut sources.claims.iter().filter(|c| is_number(c)).cloned());
            let numbers = sources.constants.iter().filter(|c| is_number(c));
            for number in numbers {
                add(&mut std::iter::once(number.clone()).chain(beside(number)));
            }
            add(&mut there.iter().take(3).cloned());
            add(&mut owned(&["0", "-1", "2147480000"]).into_iter());
        }
        'D' | 'T' => {
            add(&mut sources.times.iter().cloned());
            add(&mut there.iter().take(2).cloned());
            add(&mut sources.constants.iter().cloned());
            add(&mut owned(&["infinity", "-infinity"]).into_iter());
        }
        'A' => {
            add(&mut owned(&["{}", "{NULL}"]).into_iter());
            for text in sources.claims.iter().chain(&sources.constants).take(24) {
                let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
                add(&mut std::iter::once(format!("{{\"{quoted}\"}}")));
            }
            add(&mut there.iter().take(3).cloned());
        }
        _ => {
            add(&mut sources.claims.iter().cloned());
            for text in &sources.constants {
                add(&mut std::iter::once(text.clone()).chain(cases(text)));
            }
            add(&mut there.iter().take(3).cloned());
            let unknown = [
                "00000000-0000-0000-0000-00000000dead",
                "",
                "dbtune unknown",
                "{}",
                "null",
            ];
            add(&mut owned(&unknown).into_iter());
        }
    }
    all
}

/// The values of a column that its type takes, NULL among them, no more than are worth combining.
///
/// NULL is one of them even where a constraint forbids it: such a row is marked.
pub(super) fn values(valid: Vec<String>) -> Vec<Value> {
    let mut values: Vec<Value> = valid.into_iter().take(MOST_VALUES).map(Some).collect();
    values.push(None);
    values
}

/// Combinations of one value a column: all, or every pair of values of every two columns; and `bases` with one or two of
/// their values changed.
pub(super) fn combine(pools: &[Vec<Value>], bases: &[Vec<Value>]) -> Vec<Vec<Value>> {
    let mut rows: BTreeSet<Vec<Value>> = BTreeSet::new();
    let product = pools.iter().map(Vec::len).try_fold(1_usize, |a, b| {
        a.checked_mul(b).filter(|n| *n <= WHOLE_PRODUCT)
    });
    if product.is_some() {
        rows.extend(whole(pools));
    } else {
        rows.extend(pairwise(pools));
    }
    for base in bases {
        rows.insert(base.clone());
        for (at, pool) in pools.iter().enumerate() {
            for value in pool {
                if rows.len() >= MOST_ROWS {
                    return rows.into_iter().collect();
                }
                let mut row = base.clone();
                if let Some(cell) = row.get_mut(at) {
                    cell.clone_from(value);
                }
                rows.insert(row);
            }
        }
    }
    rows.into_iter().collect()
}

fn whole(pools: &[Vec<Value>]) -> Vec<Vec<Value>> {
    pools.iter().fold(vec![Vec::new()], |rows, pool| {
        rows.iter()
            .flat_map(|row| {
                pool.iter().map(move |value| {
                    let mut longer = row.clone();
                    longer.push(value.clone());
                    longer
                })
            })
            .collect()
    })
}

/// Places in the pools of two columns.
type TwoPlaces = (usize, usize, usize, usize);

/// A covering array of strength two: each row is begun with a pair that no row has, and goes on with the values that
/// bring most further ones. See Cohen et al., "The AETG System" (1997).
fn pairwise(pools: &[Vec<Value>]) -> Vec<Vec<Value>> {
    let mut open: BTreeSet<TwoPlaces> = BTreeSet::new();
    for (i, first) in pools.iter().enumerate() {
        for (j, second) in pools.iter().enumerate().skip(i + 1) {
            let all = (0..first.len()).flat_map(|a| (0..second.len()).map(move |b| (i, a, j, b)));
            open.extend(all);
        }
    }
    let mut rows = Vec::new();
    while let Some((i, a, j, b)) = open.first().copied() {
        if rows.len() >= MOST_ROWS {
            break;
        }
        let mut row: Vec<Option<usize>> = vec![None; pools.len()];
        for (at, value) in [(i, a), (j, b)] {
            if let Some(cell) = row.get_mut(at) {
                *cell = Some(value);
            }
        }
        for (at, pool) in pools.iter().enumerate() {
            if row.get(at).is_some_and(Option::is_some) {
                continue;
            }
            let gain = |value: usize| {
                row.iter()
                    .enumerate()
                    .filter_map(|(other, v)| Some((other, (*v)?)))
                    .filter(|(other, v)| open.contains(&ordered(at, value, *other, *v)))
                    .count()
            };
            let best =
                (0..pool.len()).max_by_key(|value| (gain(*value), std::cmp::Reverse(*value)));
            if let Some(cell) = row.get_mut(at) {
                *cell = best;
            }
        }
        let places: Vec<(usize, usize)> = row
            .iter()
            .enumerate()
            .filter_map(|(at, value)| Some((at, (*value)?)))
            .collect();
        for (n, (i, a)) in places.iter().enumerate() {
            for (j, b) in places.iter().skip(n + 1) {
                open.remove(&ordered(*i, *a, *j, *b));
            }
        }
        rows.push(
            pools
                .iter()
                .zip(&row)
                .map(|(pool, value)| value.and_then(|v| pool.get(v).cloned()).flatten())
                .collect(),
        );
    }
    rows
}

fn ordered(i: usize, a: usize, j: usize, b: usize) -> TwoPlaces {
    if i < j { (i, a, j, b) } else { (j, b, i, a) }
}

fn is_number(text: &str) -> bool {
    text.parse::<f64>().is_ok()
}

/// A number's neighbours, where a comparison turns.
fn beside(number: &str) -> Vec<String> {
    match number.parse::<i64>() {
        Ok(whole) => [whole.checked_sub(1), whole.checked_add(1)]
            .into_iter()
            .flatten()
            .map(|n| n.to_string())
            .collect(),
        Err(_) => Vec::new(),
    }
}

/// The same word in other letters, and with a blank behind it.
fn cases(text: &str) -> Vec<String> {
    let mut all = vec![format!("{text} ")];
    for other in [text.to_uppercase(), text.to_lowercase()] {
        if other != text {
            all.push(other);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(column: &str, values: usize) -> Vec<Value> {
        (0..values).map(|n| Some(format!("{column}{n}"))).collect()
    }

    #[test]
    fn small_products_are_whole() {
        let rows = combine(&[pool("a", 4), pool("b", 5)], &[]);
        assert_eq!(rows.len(), 20);
        assert_eq!(combine(&[], &[]), vec![Vec::<Value>::new()]);
    }

    #[test]
    fn larger_ones_hold_every_pair() {
        let pools: Vec<_> = (0..5).map(|n| pool(&n.to_string(), 9)).collect();
        let rows = combine(&pools, &[]);
        assert!(rows.len() < 250, "{}", rows.len());
        for (i, first) in pools.iter().enumerate() {
            for (j, second) in pools.iter().enumerate().skip(i + 1) {
                for (a, b) in first
                    .iter()
                    .flat_map(|a| second.iter().map(move |b| (a, b)))
                {
                    assert!(rows.iter().any(|row| row[i] == *a && row[j] == *b));
                }
            }
        }
    }

    #[test]
    fn bases_are_changed_in_one_place() {
        let pools: Vec<_> = (0..6).map(|n| pool(&n.to_string(), 10)).collect();
        let base: Vec<Value> = (0..6).map(|_| Some("own".to_owned())).collect();
        let rows = combine(&pools, std::slice::from_ref(&base));
        assert!(rows.contains(&base));
        let mut changed = base;
        changed[3] = Some("37".to_owned());
        assert!(rows.contains(&changed));
    }
}
