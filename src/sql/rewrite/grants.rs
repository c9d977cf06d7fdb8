//! Who may execute a companion function: those who need it for the policies that call the original, and no more.

use crate::model::{Catalog, Function};
use crate::sql::quote;
use crate::sql::scope::calls;
use crate::sql::tree::{parse_expression, qualified};
use std::collections::BTreeSet;

/// The statements that take EXECUTE from everybody and give it to those who need it.
pub(super) fn statements(original: &Function, signature: &str, catalog: &Catalog) -> Vec<String> {
    let needed = needed(original, catalog);
    if needed.contains("public") {
        return vec![format!("grant execute on function {signature} to public")];
    }
    // Default privileges may hand a new function to roles that the original is kept from.
    let taken: BTreeSet<&str> = catalog
        .functions
        .iter()
        .filter(|f| f.name.schema == original.name.schema)
        .flat_map(|f| f.executors.iter().map(String::as_str))
        .filter(|role| !needed.contains(role) && !["public", &original.owner].contains(role))
        .collect();
    let mut from = vec!["public"];
    from.extend(taken);
    let mut statements = vec![format!(
        "revoke execute on function {signature} from {}",
        list(&from)
    )];
    if !needed.is_empty() {
        let to: Vec<&str> = needed.into_iter().collect();
        statements.push(format!(
            "grant execute on function {signature} to {}",
            list(&to)
        ));
    }
    statements
}

/// The roles of the policies that call the original, as far as they may execute it; never its owner, who may anyway.
fn needed<'a>(original: &'a Function, catalog: &'a Catalog) -> BTreeSet<&'a str> {
    let callers = callers(original, catalog);
    let everybody = original.executors.iter().any(|r| r == "public");
    let mut needed = BTreeSet::new();
    if callers.is_empty() || callers.contains("public") {
        // A policy for everybody may meet any role that has the right today.
        if everybody {
            return BTreeSet::from(["public"]);
        }
        needed.extend(original.executors.iter().map(String::as_str));
    } else {
        for role in callers {
            let named = everybody || original.executors.iter().any(|r| r == role);
            if named {
                needed.insert(role);
                continue;
            }
            // The right comes from a role that this one is a member of.
            let above = catalog.roles.get(role).map(|r| &r.member_of);
            let granted = original.executors.iter().map(String::as_str);
            needed.extend(granted.filter(|e| above.is_some_and(|a| a.iter().any(|m| m == e))));
        }
    }
    needed.remove(original.owner.as_str());
    needed
}

fn callers<'a>(original: &Function, catalog: &'a Catalog) -> BTreeSet<&'a str> {
    let is_call = |text: &String| {
        let found = parse_expression(text).ok().and_then(|node| calls(&node));
        // What cannot be read may call it.
        found.is_none_or(|found| {
            found.iter().any(|call| {
                let (schema, name) = qualified(&call.funcname);
                name == original.name.name && (schema.is_empty() || schema == original.name.schema)
            })
        })
    };
    catalog
        .tables
        .values()
        .flat_map(|table| &table.policies)
        .filter(|p| [&p.using, &p.check].into_iter().flatten().any(is_call))
        .flat_map(|p| p.roles.iter().map(String::as_str))
        .collect()
}

fn list(roles: &[&str]) -> String {
    let quoted: Vec<String> = roles
        .iter()
        .map(|role| match *role {
            "public" => "public".to_owned(),
            role => quote::ident(role),
        })
        .collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Name, Policy, Role, Table};

    fn catalog(roles: &[&str], executors: &[&str]) -> Catalog {
        let mut catalog = Catalog::default();
        catalog.functions.push(Function {
            name: Name::new("public", "f"),
            owner: "owner".into(),
            executors: executors.iter().map(|e| (*e).into()).collect(),
            ..Function::default()
        });
        let table = Table {
            policies: vec![Policy {
                roles: roles.iter().map(|r| (*r).into()).collect(),
                using: Some("public.f(a)".into()),
                ..Policy::default()
            }],
            ..Table::default()
        };
        catalog.tables.insert(Name::new("public", "t"), table);
        let member = Role {
            member_of: vec!["staff".into()],
            ..Role::default()
        };
        catalog.roles.insert("nurse".into(), member);
        catalog
    }

    #[track_caller]
    fn grants(roles: &[&str], executors: &[&str], expected: &[&str]) {
        let catalog = catalog(roles, executors);
        let made = statements(&catalog.functions[0], "f_set()", &catalog);
        let short: Vec<String> = made
            .iter()
            .map(|s| s.replace(" execute on function f_set()", ""))
            .collect();
        assert_eq!(short, expected);
    }

    #[test]
    fn only_who_needs_it_may_execute() {
        let platform = ["anon", "authenticated", "owner", "public"];
        let to = "grant to authenticated";
        grants(
            &["authenticated"],
            &platform,
            &["revoke from public, anon", to],
        );
        grants(
            &["authenticated"],
            &["authenticated"],
            &["revoke from public", to],
        );
        grants(&["public"], &platform, &["grant to public"]);
        grants(
            &["public"],
            &["authenticated", "owner"],
            &["revoke from public", to],
        );
        grants(
            &["anon"],
            &["authenticated"],
            &["revoke from public, authenticated"],
        );
        grants(
            &["nurse"],
            &["staff"],
            &["revoke from public", "grant to staff"],
        );
        grants(&["owner"], &["owner"], &["revoke from public"]);
    }
}
