//! The clinic platform, under its naive and its tuned policies.

use super::catalog::Column;
use super::ground::{Ground, Identity, Scheme};
use crate::seed::session_at;
use crate::seed_clinic::{clinic_schema, clinic_spec, repository};
use crate::server::{self, Db, fresh_from};
use dbtune::seed::{Options, run};
use std::collections::BTreeMap;
use tokio_postgres::Client;

pub(super) const WORKLOAD: &str = include_str!("../../../benchmarks/clinic.yaml");
pub(super) const OWNER: &str = "clinic_owner";

const fn scheme(name: &'static str) -> Scheme {
    Scheme {
        name,
        owner: OWNER,
        workload: WORKLOAD,
        roles: &["authenticated", "anon", "service_role"],
        domain,
        extra: &[],
        reads: &["select count(*)::text from my_locations()"],
        paths: &["pg_temp, pg_catalog", "auth, public"],
        constants: &["admin", "manager", "anon"],
    }
}

static NAIVE: Scheme = scheme("clinic");
static TUNED: Scheme = scheme("clinic_tuned");

fn domain(_relation: &str, column: &Column) -> Option<&'static str> {
    match column.references.as_deref()? {
        "users" => Some("user"),
        "locations" => Some("location"),
        "checkin_kiosks" => Some("kiosk"),
        _ => None,
    }
}

/// The files of a folder of policies, in their order.
pub(super) fn policies(folder: &str) -> Vec<(String, String)> {
    let mut files: Vec<_> = std::fs::read_dir(repository("policies").join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "sql"))
        .collect();
    files.sort();
    let name = |path: &std::path::Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    files
        .iter()
        .map(|path| (name(path), std::fs::read_to_string(path).unwrap()))
        .collect()
}

/// The platform with its rows and the policies of `folders`.
pub(super) async fn filled(label: &str, scale: f64, folders: &[&str]) -> Db {
    let db = fresh_from(label, clinic_schema().await).await;
    let session = session_at(&db.url_as(OWNER)).await;
    let options = Options {
        scale,
        ..Options::default()
    };
    run(&session, &clinic_spec(), options, &mut |_, _, _| {})
        .await
        .unwrap();
    drop(session);
    let owner = server::connect(&db.url_as(OWNER)).await;
    for folder in folders {
        for (_, sql) in policies(folder) {
            owner.batch_execute(&sql).await.unwrap();
        }
    }
    server::close(owner, &db.name).await;
    db
}

/// Under naive policies, or under the tuned ones.
pub(super) async fn ground(tuned: bool) -> Ground {
    let scheme: &'static Scheme = if tuned { &TUNED } else { &NAIVE };
    let folders = if tuned {
        &["naive", "tuned"][..]
    } else {
        &["naive"][..]
    };
    let db = filled(scheme.name, 0.004, folders).await;
    let owner = server::connect(&db.url_as(OWNER)).await;
    let identities = identities(&owner).await;
    server::close(owner, &db.name).await;
    Ground::new(scheme, db.name, identities).await
}

const NOBODY: &str = "00000000-0000-4000-8000-00000000dead";

async fn one(client: &Client, sql: &str) -> String {
    client
        .query_one(sql, &[])
        .await
        .unwrap_or_else(|e| panic!("{sql}: {e:?}"))
        .get(0)
}

/// A user with one role only, or with none of the named ones.
fn with_role(role: &str, order: &str) -> String {
    format!(
        "select u.id::text from users u join user_locations l on l.user_id = u.id left join
           (select location_id, count(*) n from inventory_items group by 1) v using (location_id)
         where exists (select from user_roles r where r.user_id = u.id and r.role = '{role}')
           and not exists (select from user_roles r where r.user_id = u.id and r.role <> '{role}')
         group by u.id order by sum(coalesce(n, 0)) {order}, u.id limit 1"
    )
}

async fn identities(client: &Client) -> Vec<Identity> {
    let nurse = one(client, &with_role("nurse", "asc")).await;
    let nurse_big = one(client, &with_role("nurse", "desc")).await;
    let manager = one(client, &with_role("manager", "desc")).await;
    let pharmacist = one(client, &with_role("pharmacist", "asc")).await;
    let front = one(client, &with_role("front_desk", "asc")).await;
    let admin = one(
        client,
        "select user_id::text from user_roles where role = 'admin' order by 1 limit 1",
    )
    .await;
    let author = one(client, "select author_id::text from handouts where not is_published and deleted_at is null order by 1 limit 1").await;
    let deleted = one(
        client,
        "select id::text from users where deleted_at is not null order by 1 limit 1",
    )
    .await;
    let suspended = one(
        client,
        "select id::text from users where status = 'suspended' order by 1 limit 1",
    )
    .await;
    let kiosk = one(
        client,
        "select kiosk_id::text from checkin_sessions group by 1 order by count(*) desc, 1 limit 1",
    )
    .await;
    let here = one(
        client,
        &format!("select min(location_id::text) from user_locations where user_id = '{manager}'"),
    )
    .await;
    let claims = |sub: &str, role: &str, app: &str| {
        format!("{{\"sub\": \"{sub}\", \"role\": \"{role}\", \"app_role\": \"{app}\"}}")
    };
    let signed = |name, sub: &String, app: &str| {
        (
            name,
            "authenticated",
            Some(sub.clone()),
            Some(claims(sub, "authenticated", app)),
        )
    };
    let list = vec![
        signed("nurse of small clinics", &nurse, "nurse"),
        signed("nurse of the biggest clinic", &nurse_big, "nurse"),
        signed("manager", &manager, "manager"),
        signed("pharmacist", &pharmacist, "pharmacist"),
        signed("front desk that claims to be admin", &front, "admin"),
        signed("admin", &admin, "admin"),
        signed("author", &author, "zzz"),
        signed("deleted user", &deleted, "nurse"),
        signed("suspended user", &suspended, "nurse"),
        signed("stranger", &NOBODY.to_owned(), "nurse"),
        (
            "manager at a clinic",
            "authenticated",
            Some(manager.clone()),
            Some(claims(&manager, "authenticated", "manager")),
        ),
        (
            "nurse with another role claim",
            "authenticated",
            Some(nurse.clone()),
            Some(claims(&nurse, "anon", "aaa")),
        ),
        ("signed in without claims", "authenticated", None, None),
        (
            "signed in with empty claims",
            "authenticated",
            None,
            Some(String::new()),
        ),
        (
            "signed in with no claim",
            "authenticated",
            None,
            Some("{}".to_owned()),
        ),
        ("anonymous", "anon", None, None),
        (
            "anonymous with no claim",
            "anon",
            None,
            Some("{\"role\": \"anon\"}".to_owned()),
        ),
        (
            "anonymous with a manager's id",
            "anon",
            Some(manager.clone()),
            Some(claims(&manager, "anon", "manager")),
        ),
        (
            "anonymous with an admin's claims",
            "anon",
            Some(admin.clone()),
            Some(claims(&admin, "authenticated", "admin")),
        ),
        (
            "kiosk",
            "anon",
            None,
            Some(format!("{{\"role\": \"anon\", \"kiosk_id\": \"{kiosk}\"}}")),
        ),
        (
            "service",
            "service_role",
            None,
            Some("{\"role\": \"service_role\"}".to_owned()),
        ),
        ("owner", OWNER, None, None),
    ];
    let mut found = Vec::new();
    for (name, role, user, claims) in list {
        let mut settings: Vec<_> = claims
            .into_iter()
            .map(|c| ("request.jwt.claims", c))
            .collect();
        if name == "manager at a clinic" {
            settings.push(("app.location_id", here.clone()));
        }
        let values = values(client, user.as_ref(), &kiosk).await;
        found.push(Identity {
            name,
            role,
            settings,
            values,
        });
    }
    found
}

async fn values(
    client: &Client,
    user: Option<&String>,
    kiosk: &str,
) -> BTreeMap<&'static str, Vec<String>> {
    let me = user.map_or(NOBODY, String::as_str);
    let list = async |sql: String| -> Vec<String> {
        client
            .query(&sql, &[])
            .await
            .unwrap()
            .iter()
            .map(|r| r.get(0))
            .collect()
    };
    let own = list(format!(
        "select location_id::text from user_locations where user_id = '{me}' order by 1 limit 1"
    ))
    .await;
    let foreign = list(format!(
        "select id::text from locations where id not in (select location_id from user_locations where user_id = '{me}') order by 1 limit 1"
    ))
    .await;
    let other = list(format!(
        "select id::text from users where id <> '{me}' order by 1 limit 1"
    ))
    .await;
    let elsewhere = list(format!(
        "select id::text from checkin_kiosks where id <> '{kiosk}' order by 1 limit 1"
    ))
    .await;
    BTreeMap::from([
        ("user", [vec![me.to_owned()], other].concat()),
        ("location", [own, foreign, vec![NOBODY.to_owned()]].concat()),
        ("kiosk", [vec![kiosk.to_owned()], elsewhere].concat()),
    ])
}
