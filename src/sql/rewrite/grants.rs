//! Who may execute a companion function: those who need it for the policies that call the original, and no more.

use crate::model::{Catalog, Function};
use crate::sql::quote;
use crate::sql::scope::calls;
use crate::sql::tree::{parse_expression, qualified};
use std::collections::BTreeSet;

/// The statements that take EXECUTE from everybody and give it to those who need it.
pub(super) fn statements(
    original: &Function,
    signature: &str,
    schema: &str,
    catalog: &Catalog,
) -> Vec<String> {
    let needed = needed(original, catalog);
    if needed.contains("public") {
        return vec![format!("grant execute on function {signature} to public")];
    }
    let mut from = vec!["public"];
    from.extend(given_by_default(original, schema, &needed, catalog));
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

/// Roles that the creator's default privileges hand a new function of `schema`, and that have no use for it. Never the
/// creator or the owner, who may call it anyway and may be called otherwise on another server.
fn given_by_default<'a>(
    original: &Function,
    schema: &str,
    needed: &BTreeSet<&str>,
    catalog: &'a Catalog,
) -> BTreeSet<&'a str> {
    let creator = catalog.server.user.as_str();
    catalog
        .default_privileges
        .iter()
        .filter(|d| d.kind == 'f' && d.owner == creator)
        .filter(|d| d.schema.as_deref().is_none_or(|s| s == schema))
        .filter(|d| d.privileges.iter().any(|p| p == "EXECUTE"))
        .map(|d| d.grantee.as_str())
        .filter(|role| !needed.contains(role))
        .filter(|role| !["public", creator, &original.owner].contains(role))
        .filter(|role| !catalog.roles.get(*role).is_some_and(|r| r.superuser))
        .collect()
}

/// The roles of the policies that call the original, as far as they may execute it; never its owner, who may anyway.
pub(super) fn needed<'a>(original: &'a Function, catalog: &'a Catalog) -> BTreeSet<&'a str> {
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
    // A superuser may anyway, and has another name on another server.
    needed.retain(|role| !catalog.roles.get(*role).is_some_and(|r| r.superuser));
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
    use crate::model::{DefaultPrivilege, Name, Policy, Role, Table};

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
        let admin = Role {
            superuser: true,
            ..Role::default()
        };
        catalog.roles.insert("postgres".into(), admin);
        catalog.server.user = "owner".into();
        let default = |owner: &str, schema: Option<&str>, grantee: &str| DefaultPrivilege {
            owner: owner.into(),
            schema: schema.map(str::to_owned),
            kind: 'f',
            grantee: grantee.into(),
            privileges: vec!["EXECUTE".into()],
        };
        catalog.default_privileges = vec![
            default("owner", Some("public"), "anon"),
            default("owner", None, "owner"),
            default("owner", None, "postgres"),
            default("owner", Some("other"), "elsewhere"),
            default("somebody", None, "not_asked"),
        ];
        catalog
    }

    #[track_caller]
    fn grants(roles: &[&str], executors: &[&str], expected: &[&str]) {
        let catalog = catalog(roles, executors);
        let made = statements(&catalog.functions[0], "f_set()", "public", &catalog);
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
        // Default privileges hand the new function to `anon`.
        let from = "revoke from public, anon";
        grants(&["authenticated"], &platform, &[from, to]);
        grants(&["authenticated"], &["authenticated"], &[from, to]);
        grants(&["public"], &platform, &["grant to public"]);
        grants(&["public"], &["authenticated", "owner"], &[from, to]);
        grants(&["anon"], &["authenticated"], &[from]);
        grants(&["nurse"], &["staff"], &[from, "grant to staff"]);
        grants(&["owner"], &["owner"], &[from]);
    }

    #[test]
    fn no_role_is_named_that_another_server_may_lack() {
        grants(
            &["public"],
            &["authenticated", "owner", "postgres"],
            &["revoke from public, anon", "grant to authenticated"],
        );
    }
}
