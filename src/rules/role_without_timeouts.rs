use super::sink::Found;
use super::{Category, Facts, Sink, rule};
use crate::model::{Catalog, Name, ObjectKind, Role, Severity};
use crate::sql::quote;

rule! {
    /// ## What it finds
    /// A role that logs in and may use tables, without a limit on how long its statements run or its transactions idle.
    /// Limits of the role, of the role in this database, of the database and of the server all count. Left out:
    /// superusers, and roles with no right to any table. Roles that own tables run migrations and backups, so they are
    /// asked for a limit on idle transactions alone.
    ///
    /// ## Why it matters
    /// Under row-level security one careless or hostile query can evaluate a policy on every row of a table. A limit ends
    /// it; without one it takes the server with it, and whoever waits for its locks.
    ///
    /// ## What to do
    /// Set limits for the role, and raise them in the transactions that need more. With an API server that switches roles,
    /// what counts is the role that logs in.
    /// ```sql,bad
    /// create table doc (id int primary key);
    /// create role web_unlimited login;
    /// grant select on doc to web_unlimited;
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key);
    /// create role web_limited login connection limit 50;
    /// grant select on doc to web_limited;
    /// alter role web_limited set statement_timeout = '30s';
    /// alter role web_limited set idle_in_transaction_session_timeout = '60s';
    /// alter role web_limited set lock_timeout = '5s';
    /// ```
    "role-without-timeouts" {
        summary: "a role whose statements and transactions may run for ever",
        category: Category::Workload,
        severity: Severity::Note,
        check: check,
    }
}

const STATEMENT: &str = "statement_timeout";
const IDLE: &str = "idle_in_transaction_session_timeout";
const LOCK: &str = "lock_timeout";
/// Since 17: bounds both of the others.
const TRANSACTION: &str = "transaction_timeout";

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let catalog = facts.catalog;
    for (name, role) in &catalog.roles {
        if !role.login || role.superuser || !uses_tables(catalog, name, role) {
            continue;
        }
        let owner = catalog.tables.values().any(|t| t.owner == *name);
        let unlimited = |setting| !limited(catalog, name, role, setting);
        let whole = unlimited(TRANSACTION);
        let missing: Vec<(&str, &str)> = [
            (STATEMENT, "30s", !owner && whole && unlimited(STATEMENT)),
            (IDLE, "60s", whole && unlimited(IDLE)),
        ]
        .into_iter()
        .filter_map(|(setting, value, missing)| missing.then_some((setting, value)))
        .collect();
        if !missing.is_empty() {
            let lock = (!owner && unlimited(LOCK)).then_some((LOCK, "5s"));
            let missing: Vec<_> = missing.into_iter().chain(lock).collect();
            report(facts, name, role, &missing, sink);
        }
    }
}

fn report(
    facts: &Facts<'_>,
    name: &str,
    role: &Role,
    missing: &[(&str, &str)],
    sink: &mut Sink<'_>,
) {
    let works_as = |other: &str| other == name || role.member_of.iter().any(|m| m == other);
    let statements = facts.statements.map_or(&[][..], |s| &s.statements);
    let calls: i64 = statements
        .iter()
        .filter(|s| works_as(&s.role))
        .map(|s| s.calls)
        .sum();
    let groups = &facts.catalog.server.sessions.groups;
    let sessions: i64 = groups
        .iter()
        .filter(|g| g.role == name)
        .map(|g| g.count)
        .sum();
    let guarded = facts
        .catalog
        .tables
        .values()
        .any(|t| t.rls_enabled && facts.meets_policies(name, t));
    let names: Vec<&str> = missing.iter().map(|(setting, _)| *setting).collect();
    let fix: Vec<String> = missing
        .iter()
        .map(|(setting, value)| {
            format!(
                "alter role {} set {setting} = '{value}';",
                quote::ident(name)
            )
        })
        .collect();
    // A limit of -1 is none.
    let unlimited = role.connection_limit < 0;
    let connections = if unlimited {
        " and no connection limit"
    } else {
        ""
    };
    let found = Found::new(
        if guarded && (calls > 0 || sessions > 0) && names.contains(&STATEMENT) {
            Severity::Warning
        } else {
            Severity::Note
        },
        ObjectKind::Role,
        &Name::new("", name),
        None,
        format!(
            "logs in without {}{connections}; {calls} statements and {sessions} sessions seen",
            names.join(", ")
        ),
    )
    .evidence("missing", names)
    .evidence("connection_limit", role.connection_limit)
    .evidence("calls", calls)
    .evidence("sessions", sessions)
    .fix(fix.join(" "));
    sink.report(if unlimited {
        found.advice(format!(
            "Where its pool has a size, say so: alter role {} connection limit …;",
            quote::ident(name)
        ))
    } else {
        found
    });
}

/// Whether the role, or one it is a member of, owns tables or has a privilege on some.
fn uses_tables(catalog: &Catalog, name: &str, role: &Role) -> bool {
    catalog.tables.values().any(|table| {
        let is = |other: &String| other == name || role.member_of.contains(other);
        is(&table.owner) || table.grants.keys().any(is)
    })
}

/// Whether a new session of the role gets a limit for `setting`.
fn limited(catalog: &Catalog, name: &str, role: &Role, setting: &str) -> bool {
    let server = &catalog.server;
    let of = |config: &[String]| {
        config.iter().find_map(|entry| {
            let (key, value) = entry.split_once('=')?;
            (key == setting).then(|| value.to_owned())
        })
    };
    // What the server was read with is that of dbtune's own role, where that has one.
    let own = catalog
        .roles
        .get(&server.user)
        .filter(|_| name != server.user);
    let skewed = own.is_some_and(|r| of(&r.config).or_else(|| of(&r.database_config)).is_some());
    let general = || server.settings.get(setting).filter(|_| !skewed).cloned();
    of(&role.database_config)
        .or_else(|| of(&role.config))
        .or_else(|| of(&server.config))
        .or_else(general)
        .is_some_and(|value| value.trim_end_matches(|c: char| c.is_ascii_alphabetic()) != "0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::traffic::fixture::{catalog, doc, judge, statement};

    fn with(config: &[&str]) -> Catalog {
        let mut catalog = catalog();
        let role = Role {
            login: true,
            inherit: true,
            connection_limit: -1,
            config: config.iter().map(|c| (*c).to_owned()).collect(),
            ..Role::default()
        };
        catalog.roles.insert("app".to_owned(), role);
        let table = catalog.tables.get_mut(&doc()).unwrap();
        table.rls_enabled = true;
        table
            .grants
            .insert("app".to_owned(), vec!["SELECT".to_owned()]);
        catalog
    }

    #[test]
    fn a_limit_anywhere_counts() {
        let traffic = [statement("select * from doc", 9, 1.0)];
        let found = judge(&RULE, &with(&[]), &traffic);
        assert_eq!(found[0].severity, Severity::Warning);
        assert_eq!(found[0].evidence["calls"], 9);
        assert_eq!(found[0].evidence["missing"].as_array().unwrap().len(), 3);
        let half = judge(&RULE, &with(&["statement_timeout=30s"]), &[]);
        assert_eq!(half[0].severity, Severity::Note);
        let timeouts = [
            "statement_timeout=30s",
            "idle_in_transaction_session_timeout=1min",
        ];
        assert_eq!(judge(&RULE, &with(&timeouts), &[]), []);
        assert_eq!(judge(&RULE, &with(&["transaction_timeout=1min"]), &[]), []);
        let off = [
            "statement_timeout=0",
            "idle_in_transaction_session_timeout=1min",
        ];
        assert_eq!(judge(&RULE, &with(&off), &[]).len(), 1);
        let mut catalog = with(&[]);
        catalog.server.config = timeouts.map(str::to_owned).to_vec();
        assert_eq!(judge(&RULE, &catalog, &[]), []);
    }

    #[test]
    fn owners_superusers_and_strangers() {
        let mut catalog = with(&["idle_in_transaction_session_timeout=1min"]);
        catalog.tables.get_mut(&doc()).unwrap().owner = "app".to_owned();
        assert_eq!(
            judge(&RULE, &catalog, &[]),
            [],
            "an owner's migrations may take long"
        );
        let mut catalog = with(&[]);
        catalog.tables.get_mut(&doc()).unwrap().grants.clear();
        assert_eq!(judge(&RULE, &catalog, &[]), []);
        let mut catalog = with(&[]);
        catalog.roles.get_mut("app").unwrap().superuser = true;
        assert_eq!(judge(&RULE, &catalog, &[]), []);
    }
}
