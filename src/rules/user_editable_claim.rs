use super::reach::{COMMANDS, list};
use super::{Category, Facts, PolicyFacts, Sink, rule};
use crate::model::Severity;
use crate::sql::expr::{Call, Compare, Expr};

rule! {
    /// ## What it finds
    /// A policy, or a function that it calls, that reads `user_metadata` out of the token, or `raw_user_meta_data` out of
    /// the user's record.
    ///
    /// ## Why it matters
    /// Users change these data themselves, by a call of the sign-in API. Whoever writes `"role": "admin"` there gets it
    /// into the next token, and through the policy.
    ///
    /// ## What to do
    /// Keep what decides about access in `app_metadata`, which only the server writes, or in a table of your own.
    /// ```sql,bad
    /// create table doc (id int primary key);
    /// grant select on doc to app;
    /// alter table doc enable row level security;
    /// create policy admins on doc for select to app
    ///   using ((select auth.jwt()) -> 'user_metadata' ->> 'role' = 'admin');
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key);
    /// grant select on doc to app;
    /// alter table doc enable row level security;
    /// create policy admins on doc for select to app
    ///   using ((select auth.jwt()) -> 'app_metadata' ->> 'role' = 'admin');
    /// ```
    "user-editable-claim" {
        summary: "a policy trusts data that users edit themselves",
        category: Category::Safety,
        severity: Severity::Error,
        also: &["pgrls SEC033", "splinter 0015_rls_references_user_metadata"],
        check: check,
    }
}

const ARROWS: &[&str] = &["->", "->>", "#>", "#>>"];
const EXTRACT: &[&str] = &[
    "json_extract_path",
    "json_extract_path_text",
    "jsonb_extract_path",
    "jsonb_extract_path_text",
];
const EDITABLE: &str = "user_metadata";
const EDITABLE_COLUMN: &str = "raw_user_meta_data";
/// What only the server writes.
const SAFE: &[&str] = &["app_metadata", "raw_app_meta_data"];

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for policy in facts.in_force() {
        let direct = policy.quals().any(|(_, q)| q.expr.any(is_editable));
        let through = through_function(facts, policy);
        if !direct && through.is_none() {
            continue;
        }
        let roles = facts.reached(policy, &COMMANDS);
        let severity = if roles.is_empty() {
            Severity::Warning
        } else {
            Severity::Error
        };
        let by = match &through {
            Some(function) if !direct => format!(" by {function}"),
            _ => String::new(),
        };
        sink.report(
            policy
                .found(
                    severity,
                    format!(
                        "reads {EDITABLE}{by}, which users edit themselves: it decides for {}",
                        list(&roles)
                    ),
                )
                .evidence("roles", roles)
                .evidence("function", through)
                .advice("Read app_metadata instead, or a table that users cannot write."),
        );
    }
}

/// A function called by the policy whose body reads it.
fn through_function(facts: &Facts<'_>, policy: &PolicyFacts<'_>) -> Option<String> {
    let mut calls = policy.quals().flat_map(|(_, q)| &q.calls);
    calls.find_map(|call| {
        let mut functions = facts.functions(call).into_iter();
        let found = functions.find(|f| facts.body(f).is_some_and(|b| b.any(is_editable)))?;
        Some(found.name.to_string())
    })
}

/// Whether the expression takes user-editable data out of the token or the user's record.
fn is_editable(expr: &Expr) -> bool {
    match expr {
        Expr::Compare(c) if ARROWS.contains(&c.operator.as_str()) => takes(c),
        Expr::Call(call) if EXTRACT.contains(&call.name.as_str()) => extracts(call),
        _ => false,
    }
}

fn takes(compare: &Compare) -> bool {
    let root = root(&compare.left);
    if is_column(root, EDITABLE_COLUMN) {
        return true;
    }
    let keys = keys(&Expr::Compare(Box::new(compare.clone())));
    is_token(root) && leads_to(&keys)
}

fn extracts(call: &Call) -> bool {
    let Some((from, path)) = call.arguments.split_first() else {
        return false;
    };
    let mut all = keys(from);
    all.extend(path.iter().filter_map(Expr::text).map(str::to_owned));
    is_column(root(from), EDITABLE_COLUMN) || is_token(root(from)) && leads_to(&all)
}

/// Whether the path comes to the editable part before one that is not.
fn leads_to(keys: &[String]) -> bool {
    let first = keys
        .iter()
        .find(|k| *k == EDITABLE || SAFE.contains(&k.as_str()));
    first.is_some_and(|k| k == EDITABLE)
}

/// What a chain of `->` starts with.
fn root(expr: &Expr) -> &Expr {
    match expr.value() {
        Expr::Compare(c) if ARROWS.contains(&c.operator.as_str()) => root(&c.left),
        Expr::Call(call) if call.name == "nullif" || EXTRACT.contains(&call.name.as_str()) => {
            call.arguments.first().map_or(expr, root)
        }
        // `nullif(current_setting(…), '')`.
        Expr::Compare(c) if c.how == crate::sql::expr::How::NullIf => root(&c.left),
        Expr::Coalesce(all) => all.first().map_or(expr, root),
        value => value,
    }
}

/// The keys of a chain of `->`, outermost object first.
fn keys(expr: &Expr) -> Vec<String> {
    let Expr::Compare(c) = expr.value() else {
        return Vec::new();
    };
    if !ARROWS.contains(&c.operator.as_str()) {
        return Vec::new();
    }
    let mut found = keys(&c.left);
    match c.right.value() {
        // A path, as a literal of an array.
        Expr::Text(text) if c.operator.starts_with('#') => found.extend(
            text.trim_matches(['{', '}'])
                .split(',')
                .map(|part| part.trim().trim_matches('"').to_owned()),
        ),
        Expr::Text(text) => found.push(text.clone()),
        Expr::Array(parts) => found.extend(parts.iter().filter_map(Expr::text).map(str::to_owned)),
        _ => {}
    }
    found
}

fn is_column(expr: &Expr, name: &str) -> bool {
    matches!(expr, Expr::Column(column) if column.name == name)
}

/// Whether the value is the token's claims.
fn is_token(expr: &Expr) -> bool {
    let Expr::Call(call) = expr else {
        return false;
    };
    let setting = call.arguments.first().and_then(Expr::text);
    call.schema == "auth" && call.name == "jwt"
        || call.schema.is_empty()
            && call.name == "current_setting"
            && setting.is_some_and(|s| s.starts_with("request.jwt"))
}
