//! What changed, in words that name no value.

use super::differ::Difference;
use super::{Change, Key, Kind, OWNER};

/// `policy r on public.docs: USING changed; roles changed`.
pub(super) fn sentence(key: &Key, was: Option<&Key>, change: Change, what: &[String]) -> String {
    let head = match (change, was) {
        (Change::Added, _) => format!("{key} added"),
        (Change::Removed, _) => format!("{key} dropped"),
        (Change::Renamed, Some(was)) => format!("{was} renamed to {}", new_name(was, key)),
        _ => key.to_string(),
    };
    if what.is_empty() {
        head
    } else {
        format!("{head}: {}", what.join("; "))
    }
}

fn new_name(was: &Key, key: &Key) -> String {
    if key.kind.is_part() && was.name == key.name {
        crate::sql::quote::ident(&key.part)
    } else if key.name.schema.is_empty() {
        crate::sql::quote::ident(&key.name.name)
    } else if key.kind == Kind::Function {
        format!("{}({})", crate::sql::quote::name(&key.name), key.part)
    } else {
        crate::sql::quote::name(&key.name)
    }
}

/// One difference, as `USING changed`, `SELECT granted to app`.
pub(super) fn phrase(kind: Kind, difference: &Difference) -> String {
    let Difference {
        fact,
        before,
        after,
    } = difference;
    let (was, is) = (before.as_deref(), after.as_deref());
    if let Some(grant) = fact.strip_prefix("grant ") {
        return granted(grant, was, is);
    }
    if let Some(role) = fact.strip_prefix("member of ") {
        return match (was, is) {
            (None, _) => format!("became a member of {role}"),
            (_, None) => format!("is no longer a member of {role}"),
            _ => format!("options of its membership of {role} changed"),
        };
    }
    if let Some(parent) = fact.strip_prefix("child of ") {
        return match (was, is) {
            (None, _) => format!("became a child of {parent}"),
            (_, None) => format!("is no longer a child of {parent}"),
            _ => format!("its bounds as a child of {parent} changed"),
        };
    }
    if let Some(option) = fact.strip_prefix("option ") {
        return match (was, is) {
            (None | Some("false"), _) => format!("gained {option}"),
            (_, None | Some("false")) => format!("lost {option}"),
            _ => format!("{option} changed"),
        };
    }
    match (fact.as_str(), was, is) {
        ("owner", Some(was), Some(is)) => format!("owner changed from {was} to {is}"),
        ("row security", _, Some("on")) => "row-level security switched on".to_owned(),
        ("row security", ..) => "row-level security switched off".to_owned(),
        ("forced", _, Some("true" | "on")) => "FORCE ROW LEVEL SECURITY set".to_owned(),
        ("forced", ..) => "FORCE ROW LEVEL SECURITY taken away".to_owned(),
        ("security", _, Some("definer")) => "became SECURITY DEFINER".to_owned(),
        ("security", ..) => "is no longer SECURITY DEFINER".to_owned(),
        ("strict" | "leakproof", _, Some("true")) => format!("became {}", fact.to_uppercase()),
        ("strict" | "leakproof", ..) => format!("is no longer {}", fact.to_uppercase()),
        (fact, _, Some("true")) if kind == Kind::Role => format!("gained {fact}"),
        (fact, _, Some("false")) if kind == Kind::Role => format!("lost {fact}"),
        ("enabled", _, Some("D")) => "disabled".to_owned(),
        ("enabled", Some("D"), _) => "enabled".to_owned(),
        (fact, None, _) => format!("{fact} added"),
        (fact, _, None) if fact.starts_with("column ") => format!("{fact} dropped"),
        (fact, _, None) => format!("{fact} taken away"),
        // The text is the same, what it means is not.
        (fact, was, is) if was == is => format!("{fact} refers to other objects"),
        (fact, ..) => format!("{fact} changed"),
    }
}

fn granted(grant: &str, was: Option<&str>, is: Option<&str>) -> String {
    let (what, to) = grant.split_once(" to ").unwrap_or((grant, ""));
    let to = if to == OWNER { "the owner" } else { to };
    match (was, is) {
        (None, _) => format!("{what} granted to {to}"),
        (_, None) => format!("{what} revoked from {to}"),
        _ => format!("grant option of {what} for {to} changed"),
    }
}
