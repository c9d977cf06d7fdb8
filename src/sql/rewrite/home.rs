//! Where a companion function lives, and what it is called.

use super::grants;
use super::opened::Given;
use crate::model::{Catalog, Function, Name};
use crate::sql::scope::calls;
use crate::sql::tree::{parse_expression, print_expression, qualified};
use pg_query::protobuf::FuncCall;
use std::collections::BTreeSet;

/// Words of a schema's name that say that nobody is to call in from outside.
const INSIDE: [&str; 4] = ["private", "internal", "hidden", "security"];
/// What an API exposes where nothing says otherwise.
const EXPOSED: [&str; 5] = ["public", "api", "graphql_public", "storage", "rest"];

/// `f_set` in a schema that the API does not expose, within the 63 bytes of an identifier and not taken.
pub(super) fn name(
    function: &Function,
    call: &FuncCall,
    given: &[Given],
    catalog: &Catalog,
) -> Name {
    let schema = schema(function, catalog);
    let mut stem = function.name.name.clone();
    while stem.len() > 56 {
        stem.pop();
    }
    let taken = |name: &str| catalog.functions_named(&schema, name).next().is_some();
    let first = variant(function, call, given, catalog);
    let numbered = |n: usize| {
        if n == 1 {
            format!("{stem}_set")
        } else {
            format!("{stem}_set{n}")
        }
    };
    // Calls that bind other arguments have companions of other names.
    let mut free = (1..1000).map(numbered).filter(|name| !taken(name));
    let found = free.nth(first).unwrap_or_else(|| numbered(1));
    Name::new(&*schema, found)
}

/// The place of this call among those of all policies that bind something else.
fn variant(function: &Function, call: &FuncCall, given: &[Given], catalog: &Catalog) -> usize {
    let bound = |call: &FuncCall| -> Vec<String> {
        call.args
            .iter()
            .zip(given)
            .filter(|(_, g)| matches!(g, Given::Bound(_)))
            .map(|(argument, _)| print_expression(argument).unwrap_or_default())
            .collect()
    };
    let mine = bound(call);
    if mine.is_empty() {
        return 0;
    }
    let mut all = BTreeSet::from([mine.clone()]);
    let policies = catalog.tables.values().flat_map(|t| &t.policies);
    for text in policies.flat_map(|p| [&p.using, &p.check]).flatten() {
        let found = parse_expression(text).ok().and_then(|node| calls(&node));
        for other in found.unwrap_or_default() {
            let (schema, name) = qualified(&other.funcname);
            let same =
                name == function.name.name && (schema.is_empty() || schema == function.name.schema);
            if same {
                all.insert(bound(&other));
            }
        }
    }
    all.iter().position(|other| *other == mine).unwrap_or(0)
}

/// The original's own schema, unless that is exposed and another is not.
fn schema(function: &Function, catalog: &Catalog) -> String {
    let own = &function.name.schema;
    if !is_exposed(own, catalog) {
        return own.clone();
    }
    let callers = grants::needed(function, catalog);
    let creators = [catalog.server.user.as_str(), function.owner.as_str()];
    let fits = |name: &&String| {
        let Some(schema) = catalog.schemas.get(*name) else {
            return false;
        };
        let has = |granted: &[String], role: &str| {
            schema.owner == role || granted.iter().any(|g| g == "public" || g == role)
        };
        let superuser = |role: &str| catalog.roles.get(role).is_some_and(|r| r.superuser);
        !is_exposed(name, catalog)
            && INSIDE.iter().any(|word| name.contains(word))
            && callers.iter().all(|role| has(&schema.usage, role))
            && creators
                .iter()
                .all(|role| superuser(role) || has(&schema.create, role))
    };
    let found = catalog.schemas.keys().find(fits);
    found.unwrap_or(own).clone()
}

fn is_exposed(schema: &str, catalog: &Catalog) -> bool {
    match catalog.server.settings.get("pgrst.db_schemas") {
        Some(listed) => listed
            .split(',')
            .any(|s| s.trim().trim_matches('"') == schema),
        None => EXPOSED.contains(&schema),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Schema;

    fn catalog(schemas: &[&str]) -> (Catalog, Function) {
        let mut catalog = Catalog::default();
        catalog.server.user = "owner".into();
        for name in schemas {
            let schema = Schema {
                owner: "owner".into(),
                usage: vec!["app".into()],
                create: Vec::new(),
            };
            catalog.schemas.insert((*name).to_owned(), schema);
        }
        let function = Function {
            name: Name::new("public", "f"),
            owner: "owner".into(),
            executors: vec!["app".into()],
            ..Function::default()
        };
        catalog.functions.push(function.clone());
        (catalog, function)
    }

    #[test]
    fn companions_live_where_the_api_does_not_look() {
        for (schemas, expected) in [
            (&["public", "tenant"][..], "public"),
            (&["public", "app_private"][..], "app_private"),
        ] {
            let (catalog, function) = catalog(schemas);
            assert_eq!(schema(&function, &catalog), expected);
        }
        let (mut catalog, mut function) = catalog(&["public", "app_private"]);
        let listed = "public, app_private".to_owned();
        let settings = &mut catalog.server.settings;
        settings.insert("pgrst.db_schemas".into(), listed);
        assert_eq!(schema(&function, &catalog), "public");
        catalog.server.settings.clear();
        // Who calls it could not reach it there.
        function.executors.push("guest".into());
        assert_eq!(schema(&function, &catalog), "public");
        function.executors.pop();
        catalog.server.user = "somebody".into();
        assert_eq!(schema(&function, &catalog), "public");
    }
}
