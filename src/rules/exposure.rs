//! Who reaches an object from outside: the one judgement of "exposed" that every rule uses.
//!
//! A role is an outsider where requests of users run as it: the roles an API server switches to, whatever they are
//! called, and the roles that policies name. It reaches an object where it holds a privilege on it, by itself, by
//! inheritance or through PUBLIC, and USAGE on the schema; and, where `PostgREST` keeps its list of schemas in the
//! database, where the schema is on that list.

use crate::model::{Catalog, Function, Name, Table};
use std::collections::{BTreeMap, BTreeSet};

/// Names under which API servers run requests of those who have not signed in.
const ANONYMOUS: [&str; 3] = ["anon", "anonymous", "web_anon"];
/// Privileges that read or change rows.
const ROWS: [&str; 4] = ["SELECT", "INSERT", "UPDATE", "DELETE"];
/// Schemas that a platform or an extension keeps for itself; what is wrong there is not the user's to mend.
const PLATFORM: [&str; 27] = [
    "auth",
    "cron",
    "extensions",
    "graphql",
    "graphql_public",
    "net",
    "partman",
    "pgbouncer",
    "pgmq",
    "pgmq_public",
    "pgroonga",
    "pgsodium",
    "pgsodium_masks",
    "pgtle",
    "realtime",
    "repack",
    "storage",
    "supabase_functions",
    "supabase_migrations",
    "_timescaledb_cache",
    "_timescaledb_catalog",
    "_timescaledb_config",
    "_timescaledb_internal",
    "_realtime",
    "tiger",
    "topology",
    "vault",
];

/// How far a role is from being trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trust {
    /// Whoever can reach the API, signed in or not.
    Anonymous,
    /// Every user who has signed in.
    SignedIn,
    /// A role of the application that policies are meant to hold, or any role of the server.
    Role,
}

/// One role (or `public`) and what it holds.
#[derive(Clone, Debug)]
pub(super) struct Reach<'a> {
    pub(super) role: &'a str,
    pub(super) trust: Trust,
    /// Upper case; of some columns only counts as well.
    pub(super) privileges: BTreeSet<&'a str>,
}

/// Who the outsiders of a database are.
#[derive(Debug)]
pub(super) struct Exposure<'a> {
    catalog: &'a Catalog,
    outsiders: BTreeMap<&'a str, Trust>,
    served: Option<BTreeSet<&'a str>>,
}

impl<'a> Exposure<'a> {
    pub(super) fn new(catalog: &'a Catalog) -> Self {
        let setting = |name| catalog.server.settings.get(name).map(String::as_str);
        let anonymous = setting("pgrst.db_anon_role");
        let mut outsiders = BTreeMap::new();
        // In this order: the first word about a role counts.
        for name in ANONYMOUS.into_iter().chain(anonymous) {
            if let Some((name, _)) = catalog.roles.get_key_value(name) {
                outsiders.insert(name.as_str(), Trust::Anonymous);
            }
        }
        let switched = catalog
            .roles
            .values()
            .filter(|r| r.login && !r.inherit && !r.superuser)
            .flat_map(|r| &r.member_of)
            .map(String::as_str);
        let signed_in = catalog.roles.get_key_value("authenticated");
        for name in switched.chain(signed_in.map(|(name, _)| name.as_str())) {
            outsiders.entry(name).or_insert(Trust::SignedIn);
        }
        let policies = catalog.tables.values().flat_map(|t| &t.policies);
        for name in policies.flat_map(|p| &p.roles) {
            outsiders.entry(name).or_insert(Trust::Role);
        }
        outsiders.retain(|name, _| {
            let role = catalog.roles.get(*name);
            !name.starts_with("pg_") && role.is_some_and(|r| !r.superuser && !r.bypass_rls)
        });
        Self {
            catalog,
            outsiders,
            served: setting("pgrst.db_schemas")
                .map(|list| list.split(',').map(str::trim).collect()),
        }
    }

    /// Whether requests from outside run as the role, and how far they are trusted.
    pub(super) fn trust(&self, role: &str) -> Option<Trust> {
        self.outsiders.get(role).copied()
    }

    /// Whether an API serves the schema: it is on the list of `PostgREST` or, where there is none, somebody gave a role of an
    /// API its USAGE by name.
    pub(super) fn serves(&self, schema: &str) -> bool {
        match &self.served {
            Some(list) => list.contains(schema),
            None => self.catalog.schemas.get(schema).is_some_and(|s| {
                let named = |role: &String| self.trust(role).is_some_and(|t| t < Trust::Role);
                s.usage.iter().any(named)
            }),
        }
    }

    /// Who may read or change rows of the relation, its owner aside.
    pub(super) fn of_table(&self, name: &Name, table: &'a Table) -> Vec<Reach<'a>> {
        let grants = table.grants.iter().flat_map(|(role, privileges)| {
            let plain = privileges
                .iter()
                .map(|p| p.strip_suffix(" (columns)").unwrap_or(p))
                .filter(|p| ROWS.contains(p));
            plain.map(|privilege| (role.as_str(), privilege))
        });
        self.reach(&name.schema, &table.owner, &grants.collect::<Vec<_>>())
    }

    /// [`Exposure::of_table`], of those who may do `privilege`.
    pub(super) fn with(&self, privilege: &str, name: &Name, table: &'a Table) -> Vec<Reach<'a>> {
        let mut reach = self.of_table(name, table);
        reach.retain(|r| r.privileges.contains(privilege));
        reach
    }

    /// Who may call the function, its owner aside.
    pub(super) fn of_function(&self, function: &'a Function) -> Vec<Reach<'a>> {
        let grants = function.executors.iter().map(|r| (r.as_str(), "EXECUTE"));
        let grants: Vec<_> = grants.collect();
        self.reach(&function.name.schema, &function.owner, &grants)
    }

    fn reach(&self, schema: &str, owner: &str, grants: &[(&'a str, &'a str)]) -> Vec<Reach<'a>> {
        let mut found = Vec::new();
        if grants.iter().all(|(role, _)| *role == owner) {
            return found;
        }
        let held = |role: &str| -> BTreeSet<&'a str> {
            let through = |granted: &str| granted == "public" || self.acts_as(role, granted);
            let grants = grants.iter().filter(|(granted, _)| through(granted));
            grants.map(|(_, privilege)| *privilege).collect()
        };
        let everybody: BTreeSet<&str> = if self.usable("public", schema) {
            held("public")
        } else {
            BTreeSet::new()
        };
        let mut trust = Trust::Role;
        for (role, own) in &self.outsiders {
            let privileges = held(role);
            let apart = self.acts_as(role, owner) || !self.usable(role, schema);
            if apart || privileges.is_empty() || !self.gets_there(role, schema) {
                continue;
            }
            if privileges == everybody {
                trust = trust.min(*own);
            } else {
                found.push(Reach {
                    role,
                    trust: *own,
                    privileges,
                });
            }
        }
        if !everybody.is_empty() {
            found.push(Reach {
                role: "public",
                trust,
                privileges: everybody,
            });
        }
        found
    }

    /// A role without a login is used through the API alone.
    fn gets_there(&self, role: &str, schema: &str) -> bool {
        let login = self.catalog.roles.get(role).is_some_and(|r| r.login);
        login
            || self
                .served
                .as_ref()
                .is_none_or(|list| list.contains(schema) || self.trust(role) == Some(Trust::Role))
    }

    fn usable(&self, role: &str, schema: &str) -> bool {
        self.catalog.schemas.get(schema).is_none_or(|s| {
            let mut usage = s.usage.iter();
            usage.any(|granted| granted == "public" || self.acts_as(role, granted))
        })
    }

    fn acts_as(&self, role: &str, granted: &str) -> bool {
        role == granted
            || self
                .catalog
                .roles
                .get(role)
                .is_some_and(|r| r.inherit && r.member_of.iter().any(|m| m == granted))
    }
}

/// The least trusted of them.
pub(super) fn least(reach: &[Reach<'_>]) -> Trust {
    reach.iter().map(|r| r.trust).min().unwrap_or(Trust::Role)
}

/// `anon, authenticated`, or `every role`, for messages.
pub(super) fn who(reach: &[Reach<'_>]) -> String {
    if reach.iter().any(|r| r.role == "public") {
        return "every role".to_owned();
    }
    roles(reach).join(", ")
}

pub(super) fn roles<'a>(reach: &[Reach<'a>]) -> Vec<&'a str> {
    reach.iter().map(|r| r.role).collect()
}

/// Whether the schema belongs to a platform or an extension.
pub(super) fn platform(schema: &str) -> bool {
    PLATFORM.contains(&schema)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Role, Schema};

    fn catalog() -> Catalog {
        let mut catalog = Catalog::default();
        let role = |login, member_of: &[&str]| Role {
            login,
            member_of: member_of.iter().map(|m| (*m).to_owned()).collect(),
            ..Role::default()
        };
        catalog.roles.insert("web_anon".into(), role(false, &[]));
        catalog.roles.insert("todo_user".into(), role(false, &[]));
        let gate = role(true, &["todo_user", "web_anon"]);
        catalog.roles.insert("gate".into(), gate);
        let open = Schema {
            usage: vec!["todo_user".into(), "web_anon".into()],
            ..Schema::default()
        };
        catalog.schemas.insert("api".into(), open);
        let closed = Schema::default();
        catalog.schemas.insert("private".into(), closed);
        catalog
    }

    fn granted(grants: &[(&str, &str)]) -> Table {
        let grants = grants.iter();
        Table {
            owner: "owner".into(),
            grants: grants
                .map(|(role, privilege)| ((*role).to_owned(), vec![(*privilege).to_owned()]))
                .collect(),
            ..Table::default()
        }
    }

    #[test]
    fn roles_behind_a_gate_are_outsiders_whatever_they_are_called() {
        let catalog = catalog();
        let exposure = Exposure::new(&catalog);
        assert_eq!(exposure.trust("web_anon"), Some(Trust::Anonymous));
        assert_eq!(exposure.trust("todo_user"), Some(Trust::SignedIn));
        assert_eq!(exposure.trust("gate"), None);
        assert!(exposure.serves("api") && !exposure.serves("private"));
    }

    #[test]
    fn a_grant_counts_only_where_the_schema_may_be_used() {
        let catalog = catalog();
        let exposure = Exposure::new(&catalog);
        let table = granted(&[("todo_user", "SELECT (columns)"), ("owner", "INSERT")]);
        let reach = exposure.of_table(&Name::new("api", "t"), &table);
        assert_eq!(roles(&reach), ["todo_user"]);
        assert!(
            exposure
                .with("INSERT", &Name::new("api", "t"), &table)
                .is_empty()
        );
        assert!(
            exposure
                .of_table(&Name::new("private", "t"), &table)
                .is_empty()
        );
    }

    #[test]
    fn public_stands_for_the_least_trusted_role_that_gets_there() {
        let mut catalog = catalog();
        if let Some(schema) = catalog.schemas.get_mut("api") {
            schema.usage.push("public".into());
        }
        let table = granted(&[("public", "SELECT")]);
        let name = Name::new("api", "t");
        let reach = |catalog: &Catalog| {
            let exposure = Exposure::new(catalog);
            let reach = exposure.of_table(&name, &table);
            (who(&reach), least(&reach))
        };
        assert_eq!(reach(&catalog), ("every role".into(), Trust::Anonymous));
        // PostgREST serves something else: what is left are the server's other roles.
        let settings = &mut catalog.server.settings;
        settings.insert("pgrst.db_schemas".into(), "v1, v2".into());
        assert_eq!(reach(&catalog), ("every role".into(), Trust::Role));
    }
}
