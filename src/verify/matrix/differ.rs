//! One cell beside what it was.

use super::against::Direction;
use super::found::{Access, By, Kinds};

pub(super) type Said = (Vec<(Direction, String)>, Option<String>);

/// What is different in one cell, and why it could not be told.
pub(super) fn cell(b: &Access, a: &Access, same_data: bool, same_pool: bool) -> Said {
    let mut found = Vec::new();
    let rewritten = b.definition != a.definition;
    if let Some((direction, what)) = columns(b.columns.as_deref(), a.columns.as_deref()) {
        found.push((direction, what));
    }
    if b.by != a.by {
        let more = a.by > b.by;
        let direction = if more {
            Direction::Widening
        } else {
            Direction::Narrowing
        };
        found.push((direction, format!("{}, and before {}", by(a.by), by(b.by))));
    }
    if let Some(why) = a.unknown.as_ref().or(b.unknown.as_ref()) {
        let dark = rewritten || a.unknown.is_some() != b.unknown.is_some();
        return (found, dark.then(|| why.clone()));
    }
    if b.ends != a.ends {
        let words = |state: &Option<String>| match state {
            Some(state) => format!("ends with {state}"),
            None => "ends well".to_owned(),
        };
        let what = format!(
            "a statement over all rows {}, and before {}",
            words(&a.ends),
            words(&b.ends)
        );
        found.push((Direction::Other, what));
    }
    if same_data && let Some(change) = rows(b, a) {
        found.push(change);
    }
    if let Some(change) = kinds(b.kinds.as_ref(), a.kinds.as_ref(), same_data && same_pool) {
        found.push(change);
    }
    let dark = !same_data && rewritten && found.is_empty();
    let why = "its policies, or what they call, were changed, and the data is another one";
    (found, dark.then(|| why.to_owned()))
}

fn rows(b: &Access, a: &Access) -> Option<(Direction, String)> {
    let (Some(before), Some(now)) = (b.rows, a.rows) else {
        return None;
    };
    if before != now {
        let direction = Direction::of(now > before, now < before)?;
        return Some((direction, format!("{now} rows, and before {before}")));
    }
    (b.digest != a.digest).then(|| {
        (
            Direction::Both,
            format!("{now} rows as before, but other ones"),
        )
    })
}

/// Exactly where the same rows were made up on both sides; else by whether none, some or all of them are admitted.
fn kinds(b: Option<&Kinds>, a: Option<&Kinds>, same: bool) -> Option<(Direction, String)> {
    let (b, a) = (b?, a?);
    let words = |k: &Kinds| format!("{} of {}", k.admitted, k.all);
    let what = format!(
        "{} kinds of rows that may come to be, and before {}",
        words(a),
        words(b)
    );
    if same && b.all == a.all {
        if b.admitted == a.admitted && b.digest != a.digest {
            return Some((Direction::Both, format!("{what}, but other ones")));
        }
        return Some((
            Direction::of(a.admitted > b.admitted, a.admitted < b.admitted)?,
            what,
        ));
    }
    let share = |k: &Kinds| match k.admitted {
        0 => 0,
        all if all == k.all => 2,
        _ => 1,
    };
    Some((
        Direction::of(share(a) > share(b), share(a) < share(b))?,
        what,
    ))
}

fn columns(b: Option<&[String]>, a: Option<&[String]>) -> Option<(Direction, String)> {
    match (b, a) {
        (None, None) => None,
        (Some(_), None) => Some((Direction::Widening, "all columns are granted".to_owned())),
        (None, Some(_)) => Some((
            Direction::Narrowing,
            "not all columns are granted any more".to_owned(),
        )),
        (Some(b), Some(a)) => {
            let gained: Vec<&str> = a
                .iter()
                .filter(|c| !b.contains(c))
                .map(String::as_str)
                .collect();
            let lost: Vec<&str> = b
                .iter()
                .filter(|c| !a.contains(c))
                .map(String::as_str)
                .collect();
            let direction = Direction::of(!gained.is_empty(), !lost.is_empty())?;
            let mut words = Vec::new();
            for (which, names) in [("granted", gained), ("not granted any more", lost)] {
                if !names.is_empty() {
                    words.push(format!("{which}: column {}", names.join(", ")));
                }
            }
            Some((direction, words.join("; ")))
        }
    }
}

pub(super) fn by(by: By) -> &'static str {
    match by {
        By::Nobody => "no policy admits anything",
        By::Policies => "policies decide",
        By::Exempt => "exempt from policies",
        By::Open => "open: no row-level security",
    }
}
