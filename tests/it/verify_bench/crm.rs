//! The second schema: many tenants, and other idioms than the clinic's.

use super::catalog::Column;
use super::ground::{Ground, Identity, Scheme};
use crate::server;
use std::collections::BTreeMap;
use tokio_postgres::Client;

const SCHEMA: &str = include_str!("crm.sql");

static SCHEME: Scheme = Scheme {
    name: "crm",
    owner: "crm_owner",
    workload: include_str!("crm.yaml"),
    roles: &[
        "crm_agent",
        "crm_guest",
        "crm_auditor",
        "crm_tenant_1",
        "crm_support",
    ],
    domain,
    extra: &[
        ("crm.deals.amount", &["500", "1000", "1500"]),
        ("crm.feedback.rating", &["0", "5", "7", "11"]),
        (
            "crm.preferences.tenant",
            &["crm_tenant_1", "crm_tenant_2", "defaults"],
        ),
        ("crm.preferences.key", &["plan", "size", "color"]),
        ("crm.events.kind", &["login", "view"]),
        ("crm.events.at", &["2024-06-01", "2025-06-01"]),
        ("crm.orgs.tenant_role", &["crm_tenant_1", "crm_guest"]),
        ("crm.users.email", &["x@one.example", "x@two.example"]),
        ("crm.tickets.visible_from", &["2024-01-01", "2040-01-01"]),
    ],
    reads: &[
        "select count(*)::text from crm.search_documents('document')",
        "select crm.document_count()::text",
        "select count(*)::text from sec.my_orgs()",
    ],
    paths: &["decoy, crm, public", "pg_temp, pg_catalog"],
    constants: &["draft", "published", "owner"],
};

fn domain(_relation: &str, column: &Column) -> Option<&'static str> {
    match column.name.as_str() {
        "owner_id" | "user_id" | "author_id" | "opened_by" | "invited_by" | "actor_id"
        | "manager_id" => Some("user"),
        "org_id" => Some("org"),
        "document_id" => Some("document"),
        _ => None,
    }
}

pub(super) async fn ground() -> Ground {
    let template = server::template("crm", &[SCHEMA.to_owned()]).await;
    // Not from the template itself: it may have no sessions.
    let db = server::fresh_from("crm_asked", template).await;
    let client = db.client().await;
    let identities = identities(&client).await;
    server::close(client, &db.name).await;
    server::remove(&db).await;
    Ground::new(&SCHEME, template.to_owned(), identities).await
}

async fn identities(client: &Client) -> Vec<Identity> {
    let who = |name, role, user: Option<i32>, groups: Option<&str>| {
        let mut settings: Vec<(&'static str, String)> = user
            .iter()
            .map(|u| ("app.user_id", u.to_string()))
            .collect();
        settings.extend(groups.map(|g| ("app.groups", g.to_owned())));
        (name, role, user, settings)
    };
    let mut list = vec![
        who("user in two tenants", "crm_agent", Some(4), Some("{1,2}")),
        who("owner of a tenant", "crm_agent", Some(15), Some("{11}")),
        who("manager of a tenant", "crm_agent", Some(10), None),
        who("viewer", "crm_agent", Some(1), Some("{3}")),
        who("member", "crm_agent", Some(5), None),
        who("whose membership ended", "crm_agent", Some(11), Some("{1}")),
        who("whose membership begins later", "crm_agent", Some(12), None),
        who("no longer active", "crm_agent", Some(7), Some("{2,12}")),
        who("reader named in arrays", "crm_agent", Some(2), Some("{}")),
        who("stranger", "crm_agent", Some(99_999), Some("{1}")),
        who("agent without settings", "crm_agent", None, None),
        who("guest", "crm_guest", None, None),
        who("guest with a user's id", "crm_guest", Some(15), Some("{1}")),
        who("auditor", "crm_auditor", None, None),
        who("auditor with a user's id", "crm_auditor", Some(4), None),
        who("first tenant", "crm_tenant_1", None, None),
        who("second tenant", "crm_tenant_2", Some(1), None),
        who("support", "crm_support", None, None),
        who("owner of the schema", "crm_owner", None, None),
    ];
    let empty = [
        ("app.user_id", String::new()),
        ("app.groups", String::new()),
    ];
    list.push((
        "agent with empty settings",
        "crm_agent",
        None,
        empty.to_vec(),
    ));
    let mut found = Vec::new();
    for (name, role, user, settings) in list {
        let values = values(client, user.unwrap_or(99_999)).await;
        found.push(Identity {
            name,
            role,
            settings,
            values,
        });
    }
    found
}

async fn values(client: &Client, me: i32) -> BTreeMap<&'static str, Vec<String>> {
    let list = async |sql: &str| -> Vec<String> {
        client
            .query(sql, &[&me])
            .await
            .unwrap()
            .iter()
            .map(|r| r.get(0))
            .collect()
    };
    let orgs = "select org_id::text from crm.memberships where user_id = $1 order by org_id";
    let others = "select id::text from crm.orgs where id not in (select org_id from crm.memberships where user_id = $1) order by id desc limit 1";
    let documents = "select id::text from crm.documents where owner_id = $1 order by id limit 1";
    let elsewhere = "select id::text from crm.documents where owner_id <> $1 order by id limit 2";
    let unknown = || vec!["99999".to_owned()];
    let other = if me == 3 { "4" } else { "3" };
    BTreeMap::from([
        ("user", vec![me.to_string(), other.to_owned()]),
        (
            "org",
            [list(orgs).await, list(others).await, unknown()].concat(),
        ),
        (
            "document",
            [list(documents).await, list(elsewhere).await].concat(),
        ),
        ("group", vec!["1".to_owned(), "11".to_owned()]),
    ])
}

/// Roles that become members of another: the server's own state, so each says how it is taken back.
pub(super) fn memberships() -> Vec<super::change::Change> {
    let make = |role: &&str| {
        let mut change = super::change::Change::new(
            "role membership",
            "",
            format!("grant crm_support to {role};"),
        );
        change.about.clear();
        change.undo = Some(format!("revoke crm_support from {role};"));
        change
    };
    SCHEME
        .roles
        .iter()
        .filter(|r| **r != "crm_support")
        .map(make)
        .collect()
}
