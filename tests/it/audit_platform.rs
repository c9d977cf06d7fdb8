//! What is evaluated or shown behind a table's back: sequences, domains, buckets, the GraphQL schema.

use crate::audit_ground::{audit, database, read};
use dbtune::model::{Finding, Gap};
use dbtune::rules::{self, Scope};

async fn of_rule(url: &str, rule: &str) -> (Vec<Finding>, Vec<Gap>) {
    let (mut findings, mut gaps) = audit(url).await;
    findings.retain(|f| f.rule == rule);
    gaps.retain(|g| g.what == rule);
    (findings, gaps)
}

fn objects(findings: &[Finding]) -> Vec<String> {
    let mut objects: Vec<String> = findings.iter().map(|f| f.object.to_string()).collect();
    objects.sort();
    objects
}

#[tokio::test]
async fn what_a_default_draws_from_and_a_domain_checks_has_to_be_in_reach() {
    let script = "
create schema ext;
create function ext.valid(v int) returns boolean language sql immutable as 'select v > 0';
revoke execute on function ext.valid(int) from public;
grant usage on schema ext to app;
create domain positive as int check (ext.valid(value));
create domain small as positive check (value < 100);
create domain plain as int check (value < 100);
create table by_serial (id serial primary key, v int);
create table by_identity (id int generated always as identity, v int);
create table granted (id serial primary key, v int);
grant usage on sequence granted_id_seq to app;
create table updated (id serial primary key, v int);
grant update on sequence updated_id_seq to app;
create table checked (id int, v small);
create table harmless (id int, v plain);
create table unwritten (id serial primary key, v positive);
grant insert on by_serial, by_identity, granted, updated, checked, harmless to app;
grant select on unwritten to app;
";
    let db = database("evaluated", script).await;
    let (found, _) = of_rule(&db.url, "function-out-of-reach").await;
    assert_eq!(
        objects(&found),
        ["public.by_serial · id", "public.checked · v"],
        "{found:#?}"
    );
    // The server agrees, table by table.
    let client = db.client().await;
    client.batch_execute("set role app").await.unwrap();
    for (table, fails) in [
        ("by_serial", true),
        ("by_identity", false),
        ("granted", false),
        ("updated", false),
        ("checked", true),
        ("harmless", false),
    ] {
        let done = client
            .batch_execute(&format!("insert into {table} (v) values (1)"))
            .await;
        let code = done.err().and_then(|e| Some(e.code()?.code().to_owned()));
        assert_eq!(code, fails.then(|| "42501".to_owned()), "{table}");
    }
    client.batch_execute("reset role").await.unwrap();
    for fix in found.iter().filter_map(|f| f.fix.as_ref()) {
        client.batch_execute(fix).await.unwrap();
    }
    client.batch_execute("set role app").await.unwrap();
    for table in ["by_serial", "checked"] {
        let insert = format!("insert into {table} (v) values (1)");
        client.batch_execute(&insert).await.unwrap();
    }
    let (found, _) = of_rule(&db.url, "function-out-of-reach").await;
    assert!(found.is_empty(), "{found:#?}");
}

const BUCKETS: &str = "
create schema storage;
create table storage.buckets (id text primary key, public boolean default false);
insert into storage.buckets values ('avatars', true), ('o''dd', true), ('letters', false), ('secret', false);
create table storage.objects (id uuid primary key, bucket_id text, name text, owner_id text);
alter table storage.objects enable row level security;
create policy avatars on storage.objects for select to anon using (bucket_id = 'avatars');
create policy odd on storage.objects for select to anon using (bucket_id = 'o''dd');
create policy letters on storage.objects for select to anon using (bucket_id = 'letters');
create policy several on storage.objects for select to anon using (bucket_id in ('letters', 'avatars'));
create policy all_but on storage.objects for select to anon using (bucket_id <> 'avatars');
create policy every on storage.objects for select to anon using (true);
create policy own on storage.objects for select to anon
  using (bucket_id = 'avatars' and owner_id = (select auth.uid()::text));
";

#[tokio::test]
async fn only_public_buckets_are_listed_in_vain() {
    let db = database("buckets", BUCKETS).await;
    let (found, gaps) = of_rule(&db.url, "bucket-listing").await;
    let policies: Vec<_> = found.iter().filter_map(|f| f.object.part.clone()).collect();
    assert_eq!(policies, ["all_but", "avatars", "every", "odd", "several"]);
    assert!(gaps.is_empty());
    // No name but of those that policies tell anyway.
    let (catalog, _) = read(&db.url).await;
    let buckets = catalog.buckets.unwrap();
    assert_eq!(buckets.public, 2);
    assert_eq!(
        Vec::from_iter(buckets.named),
        ["avatars".to_owned(), "o'dd".to_owned()]
    );
}

#[tokio::test]
async fn buckets_that_may_not_be_read_are_not_judged() {
    let script = format!(
        "{BUCKETS}alter table storage.buckets enable row level security;
do $$ begin create role bucketless login; exception when duplicate_object then null; end $$;
grant usage on schema storage to bucketless;
grant select on storage.buckets to bucketless;
"
    );
    let db = database("bucketless", &script).await;
    let (found, gaps) = of_rule(&db.url_as("bucketless"), "bucket-listing").await;
    assert!(found.is_empty(), "{found:#?}");
    assert!(gaps.len() == 1 && gaps[0].remedy.is_some(), "{gaps:#?}");
}

#[tokio::test]
async fn a_graphql_schema_lists_what_a_role_may_select() {
    // Its files are on few servers; all that is looked at is the entry that CREATE EXTENSION makes.
    let script = "
insert into pg_catalog.pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
  select (max(p.oid::bigint) + 1)::oid, 'pg_graphql', 10, 'public'::regnamespace, false, '1.5' from pg_catalog.pg_proc p;
create table ledger (id int primary key, amount numeric);
alter table ledger enable row level security;
create table post (id int primary key, owner_id uuid);
alter table post enable row level security;
create policy own on post for select to anon using (owner_id = (select auth.uid()));
create table hidden (id int primary key);
alter table hidden enable row level security;
grant select on ledger, post to anon;
";
    let db = database("graphql", script).await;
    let (found, _) = of_rule(&db.url, "graphql-exposed").await;
    let [finding] = found.as_slice() else {
        panic!("{found:#?}")
    };
    assert_eq!(finding.object.name.name, "anon");
    assert_eq!(finding.evidence["tables"][0], "public.ledger");
    let client = db.client().await;
    client
        .batch_execute(finding.fix.as_deref().unwrap())
        .await
        .unwrap();
    let (found, _) = of_rule(&db.url, "graphql-exposed").await;
    assert!(found.is_empty(), "{found:#?}");
    // Without the extension there is no such schema.
    client
        .batch_execute("grant select on ledger to anon; delete from pg_extension where extname = 'pg_graphql'")
        .await
        .unwrap();
    let (found, _) = of_rule(&db.url, "graphql-exposed").await;
    assert!(found.is_empty(), "{found:#?}");
}

#[tokio::test]
async fn a_snapshot_keeps_what_these_rules_need() {
    let db = database("bucket_snapshot", BUCKETS).await;
    let (catalog, _) = read(&db.url).await;
    let again = serde_json::from_str(&serde_json::to_string(&catalog).unwrap()).unwrap();
    let found = |catalog| {
        let (findings, _) = rules::audit(catalog, None, &Scope::default());
        findings
            .into_iter()
            .filter(|f| f.rule == "bucket-listing")
            .count()
    };
    assert_eq!((found(&catalog), found(&again)), (5, 5));
}
