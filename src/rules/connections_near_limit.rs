use super::measure::{database, float, number, percent};
use super::sink::Found;
use super::{Category, Facts, Sink, rule};
use crate::model::{Name, ObjectKind, SessionGroup, Severity};
use std::collections::BTreeMap;

rule! {
    /// ## What it finds
    /// Four fifths or more of the connections in use that the server, the database or a role may have.
    ///
    /// ## Why it matters
    /// The next burst is refused: `sorry, too many clients already`.
    ///
    /// ## What to do
    /// Put a pooler before the server or make the application's pools smaller; idle sessions are the ones to give up
    /// first. Raise the limit last: each connection costs memory.
    /// ```sql,bad shown
    /// show max_connections;                    -- 100
    /// select count(*) from pg_stat_activity;   -- 93
    /// ```
    /// ```sql,good shown
    /// show max_connections;                    -- 100
    /// select count(*) from pg_stat_activity;   -- 31
    /// ```
    "connections-near-limit" {
        summary: "nearly all connections are in use",
        category: Category::Workload,
        check: check,
    }
}

const HIGH: f64 = 80.0;
const FULL: f64 = 95.0;
/// A limit of a few is meant to be reached.
const MIN_LIMIT: f64 = 10.0;

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let server = &facts.catalog.server;
    let groups = &server.sessions.groups;
    let setting = |name| number(server, name).unwrap_or(0.0);
    let usable = setting("max_connections")
        - setting("superuser_reserved_connections")
        - setting("reserved_connections");
    let all: Vec<&SessionGroup> = groups.iter().collect();
    let here: Vec<&SessionGroup> = groups.iter().filter(|g| g.here).collect();
    let name = database(server);
    judge(
        (ObjectKind::Database, &name),
        "the server",
        usable,
        &all,
        sink,
    );
    let limit = f64::from(server.load.connection_limit);
    judge(
        (ObjectKind::Database, &name),
        "the database",
        limit,
        &here,
        sink,
    );
    for (role, known) in &facts.catalog.roles {
        let limit = f64::from(known.connection_limit);
        if limit > 0.0 && !known.superuser {
            let own: Vec<_> = groups.iter().filter(|g| g.role == *role).collect();
            let name = Name::new("", role);
            judge((ObjectKind::Role, &name), "the role", limit, &own, sink);
        }
    }
}

fn judge(
    (kind, name): (ObjectKind, &Name),
    whose: &str,
    limit: f64,
    groups: &[&SessionGroup],
    sink: &mut Sink<'_>,
) {
    let used: i64 = groups.iter().map(|g| g.count).sum();
    let share = percent(float(used), limit);
    if limit < MIN_LIMIT || share < HIGH {
        return;
    }
    let mut states: BTreeMap<&str, i64> = BTreeMap::new();
    let mut users: BTreeMap<String, i64> = BTreeMap::new();
    for group in groups {
        let state = if group.state.is_empty() {
            "unknown"
        } else {
            &group.state
        };
        *states.entry(state).or_default() += group.count;
        let whose = format!("{} {}", group.role, group.application);
        *users.entry(whose.trim().to_owned()).or_default() += group.count;
    }
    let idle = states.get("idle").copied().unwrap_or(0);
    sink.report(
        Found::new(
            if share >= FULL { Severity::Error } else { Severity::Warning },
            kind,
            name,
            None,
            format!(
                "{used} of the {limit:.0} connections that {whose} may have are in use ({share:.0} %), {idle} of them idle"
            ),
        )
        .evidence("used", used)
        .evidence("limit", limit)
        .evidence("by_state", serde_json::json!(states))
        .evidence("by_user", serde_json::json!(users))
        .advice(
            "Pool connections, in transaction mode where the application allows it, and make pools smaller before raising the limit.",
        ),
    );
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::model::{Catalog, Role, SessionGroup, Severity};
    use crate::rules::traffic::fixture::{catalog, judge};

    fn with(count: i64) -> Catalog {
        let mut catalog = catalog();
        let settings = [
            ("max_connections", "100"),
            ("superuser_reserved_connections", "3"),
        ];
        let settings = settings.map(|(n, v)| (n.to_owned(), v.to_owned()));
        catalog.server.settings.extend(settings);
        catalog.server.load.connection_limit = -1;
        catalog.server.sessions.groups = vec![SessionGroup {
            role: "app".to_owned(),
            state: "idle".to_owned(),
            count,
            ..SessionGroup::default()
        }];
        catalog
    }

    #[test]
    fn limits_of_server_and_role() {
        assert_eq!(judge(&RULE, &with(70), &[]), []);
        let found = judge(&RULE, &with(85), &[]);
        assert_eq!(found[0].severity, Severity::Warning);
        assert_eq!(
            (
                found[0].evidence["used"].as_i64(),
                found[0].evidence["limit"].as_f64()
            ),
            (Some(85), Some(97.0))
        );
        assert_eq!(judge(&RULE, &with(95), &[])[0].severity, Severity::Error);
        let mut catalog = with(18);
        let role = Role {
            connection_limit: 20,
            ..Role::default()
        };
        catalog.roles.insert("app".to_owned(), role);
        let found = judge(&RULE, &catalog, &[]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].object.to_string(), "app");
    }
}
