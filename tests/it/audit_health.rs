//! Real traffic on a real server, and what the audit makes of it.

use crate::audit_ground;
use crate::server::Db;
use chrono::TimeDelta;
use dbtune::model::{Catalog, Finding, Gap, Severity, Statements};
use dbtune::rules::{self, Scope};

/// As if everything had been counted for a month, and every open state lasted ten minutes.
async fn aged(db: &Db) -> (Catalog, Option<Statements>) {
    let (mut catalog, mut statements) = audit_ground::read(&db.url).await;
    let then = catalog.server.read_at.unwrap() - TimeDelta::days(30);
    catalog.server.stats_since = Some(then);
    if let Some(known) = &mut statements {
        known.since = Some(then);
    }
    for group in &mut catalog.server.sessions.groups {
        group.longest_state_s += 600.0;
    }
    for table in catalog.tables.values_mut() {
        let activity = &mut table.activity;
        for time in [&mut activity.last_analyze, &mut activity.last_vacuum] {
            *time = time.map(|t| t - TimeDelta::hours(1));
        }
    }
    (catalog, statements)
}

async fn findings(db: &Db, rule: &str) -> Vec<Finding> {
    judged(&aged(db).await, rule).0
}

fn judged(known: &(Catalog, Option<Statements>), rule: &str) -> (Vec<Finding>, Vec<Gap>) {
    let scope = Scope {
        only: vec![rule.to_owned()],
        ..Scope::default()
    };
    rules::audit(&known.0, known.1.as_ref(), &scope)
}

fn only(found: &[Finding]) -> &Finding {
    let [finding] = found else {
        panic!("{found:#?}")
    };
    finding
}

/// Sends what the session counted so far.
async fn flush(client: &tokio_postgres::Client) {
    let sql = "do $$ begin perform pg_stat_force_next_flush();
      exception when undefined_function then perform pg_sleep(0.6); end $$";
    for _ in 0..2 {
        client.batch_execute(sql).await.unwrap();
    }
}

const DOC: &str = "
create table doc (id int primary key, org int not null, pad text);
insert into doc select n, n % 50, md5(n::text) || md5(n::text) from generate_series(1, 60000) n;
create index doc_live on doc (org) where pad is null or id > 0;
grant select on doc to app;
analyze doc;
";

#[tokio::test]
async fn statements_that_spill_scan_and_repeat() {
    let db = audit_ground::database("traffic", DOC).await;
    let client = db.client().await;
    client
        .batch_execute("set role app; set work_mem = '64kB'; set max_parallel_workers_per_gather = 0; set enable_indexscan = off; set enable_bitmapscan = off; set enable_indexonlyscan = off")
        .await
        .unwrap();
    for _ in 0..25 {
        let sql = "select count(*) from (select id from doc order by pad offset 0) s";
        client.query(sql, &[]).await.unwrap();
    }
    for org in 0..40 {
        let sql = "select count(*), min(pad) from doc where org = $1";
        client.query(sql, &[&org]).await.unwrap();
    }
    client
        .batch_execute("reset enable_indexscan; set enable_seqscan = off")
        .await
        .unwrap();
    let list = client
        .prepare("select id from doc where id <= $1")
        .await
        .unwrap();
    for _ in 0..100 {
        client.query(&list, &[&110]).await.unwrap();
    }
    let one = client
        .prepare("select org, pad from doc where id = $1")
        .await
        .unwrap();
    for id in 0..11_000 {
        client.query(&one, &[&(id % 110 + 1)]).await.unwrap();
    }
    client.batch_execute("reset role").await.unwrap();
    flush(&client).await;

    let spills = findings(&db, "temp-spill").await;
    let spill = only(&spills);
    assert_eq!(spill.evidence["role"], "app");
    assert_eq!(spill.evidence["calls"], 25);
    assert!(spill.evidence["temp_bytes_per_call"].as_f64().unwrap() > 4e6);
    let load = aged(&db).await.0.server.load;
    assert!(
        load.temp_files >= 25 && load.temp_bytes > 100_000_000,
        "{load:?}"
    );

    let scans = findings(&db, "sequential-scans").await;
    assert!(scans.is_empty(), "most scans were by key: {scans:#?}");

    let lookups = findings(&db, "repeated-lookup").await;
    let lookup = only(&lookups);
    assert_eq!(lookup.evidence["calls"], 11_000);
    assert_eq!(lookup.evidence["next_calls"], 100);
    assert_eq!(lookup.evidence["list"], "select id from doc where id <= $1");

    // The predicate speaks of `pad` and `id`, which the statements do as well.
    assert_eq!(findings(&db, "unreachable-partial-index").await, []);
    client
        .batch_execute("create index doc_hidden on doc (org) where pad <> 'hidden' and org > 1")
        .await
        .unwrap();
    // Planning is not counted, and would hardly show in so few calls.
    let (_, gaps) = judged(&aged(&db).await, "planning-time");
    assert!(!gaps.iter().any(|g| g.what == "planning-time"), "{gaps:?}");
}

#[tokio::test]
async fn tables_read_from_end_to_end_with_the_statement_that_does_it() {
    let db = audit_ground::database("scans", DOC).await;
    let client = db.client().await;
    client
        .batch_execute("set role app; set max_parallel_workers_per_gather = 0; set enable_indexscan = off; set enable_bitmapscan = off")
        .await
        .unwrap();
    for org in 0..55 {
        let sql = "select count(*), min(pad) from doc where org = $1";
        client.query(sql, &[&org]).await.unwrap();
    }
    client.batch_execute("reset role").await.unwrap();
    flush(&client).await;
    let found = findings(&db, "sequential-scans").await;
    let scan = only(&found);
    assert_eq!(scan.object.to_string(), "public.doc");
    assert!(scan.evidence["seq_scans"].as_i64().unwrap() >= 55);
    let statement = &scan.evidence["statements"][0];
    assert_eq!(statement["role"], "app");
    assert_eq!(statement["calls"], 55);
    assert_eq!(scan.severity, Severity::Note, "small yet");
}

#[tokio::test]
async fn a_partial_index_that_no_statement_reaches() {
    let script = "
create table task (id int primary key, org int, done_at timestamptz);
insert into task select n, n % 50, null from generate_series(1, 30000) n;
create index task_open on task (org) where done_at is null;
grant select on task to app;
analyze task;
";
    let db = audit_ground::database("partial", script).await;
    let client = db.client().await;
    client.batch_execute("set role app").await.unwrap();
    for org in 0..110 {
        let sql = "select count(*) from task where org = $1";
        client.query(sql, &[&org]).await.unwrap();
    }
    client.batch_execute("reset role").await.unwrap();
    flush(&client).await;
    let found = findings(&db, "unreachable-partial-index").await;
    assert_eq!(only(&found).object.to_string(), "public.task_open");
    assert_eq!(findings(&db, "unused-index").await, [], "said once");
    let sql = "select count(*) from task where org = $1 and done_at is null";
    client.query(sql, &[&1]).await.unwrap();
    flush(&client).await;
    assert_eq!(findings(&db, "unreachable-partial-index").await, []);
}

#[tokio::test]
async fn updates_that_miss_their_page_and_dead_rows() {
    let script = "
create table visit (id int primary key, org int, seen int) with (autovacuum_enabled = off);
insert into visit select n, n % 7, 0 from generate_series(1, 1000) n;
create index visit_seen on visit (seen);
analyze visit;
";
    let db = audit_ground::database("hot", script).await;
    let client = db.client().await;
    for _ in 0..30 {
        let sql = "update visit set seen = seen + 1 where org < $1";
        client.execute(sql, &[&7]).await.unwrap();
    }
    flush(&client).await;
    let found = findings(&db, "non-hot-updates").await;
    let missed = only(&found);
    assert_eq!(missed.evidence["updated"], 30_000);
    assert_eq!(missed.evidence["hot_updated"], 0);
    assert_eq!(missed.evidence["indexes"][0]["index"], "public.visit_seen");
    assert_eq!(missed.evidence["indexes"][0]["updates"], 30_000);

    let found = findings(&db, "dead-rows").await;
    let dead = only(&found);
    assert_eq!(dead.evidence["dead"], 30_000);
    assert_eq!(dead.severity, Severity::Warning);
    let found = findings(&db, "stale-statistics").await;
    assert!(only(&found).evidence["changed"].as_i64().unwrap() >= 30_000);
    let found = findings(&db, "autovacuum-off").await;
    assert_eq!(only(&found).object.to_string(), "public.visit");

    // An open snapshot keeps them, and is named.
    let holder = db.client().await;
    holder
        .batch_execute("begin isolation level repeatable read; select count(*) from visit")
        .await
        .unwrap();
    let mut known = aged(&db).await;
    for group in &mut known.0.server.sessions.groups {
        group.oldest_transaction_s += 600.0;
    }
    let (found, _) = judged(&known, "dead-rows");
    let held = only(&found);
    assert!(
        held.message.contains("held back by a transaction of"),
        "{held:#?}"
    );
    assert_eq!(held.fix, None);
    holder.batch_execute("commit").await.unwrap();

    client.batch_execute("vacuum analyze visit").await.unwrap();
    flush(&client).await;
    assert_eq!(findings(&db, "dead-rows").await, []);
    assert_eq!(findings(&db, "stale-statistics").await, []);
}

#[tokio::test]
async fn sessions_that_are_idle_in_a_transaction() {
    let db = audit_ground::database("idle", "create table doc (id int primary key)").await;
    assert_eq!(findings(&db, "idle-in-transaction").await, []);
    let idle = db.client().await;
    idle.batch_execute(
        "set application_name = 'billing'; begin isolation level repeatable read; select from doc",
    )
    .await
    .unwrap();
    let found = findings(&db, "idle-in-transaction").await;
    let session = only(&found);
    assert_eq!(session.severity, Severity::Warning);
    assert_eq!(session.evidence["sessions"], 1);
    assert_eq!(session.evidence["holding"], 1);
    assert_eq!(
        session.evidence["applications"],
        serde_json::json!(["billing"])
    );
    // Who may not see what others do is told so.
    let role = "do $$ begin create role health_visitor login; exception when duplicate_object or unique_violation then null; end $$";
    db.client().await.batch_execute(role).await.unwrap();
    let (catalog, _) = audit_ground::read(&db.url_as("health_visitor")).await;
    assert!(catalog.server.sessions.hidden >= 1);
    assert!(catalog.server.sessions.total() >= catalog.server.sessions.hidden);
    let remedy = Some("grant pg_read_all_stats to health_visitor;".to_owned());
    let (_, gaps) = audit_ground::audit(&db.url_as("health_visitor")).await;
    assert!(
        gaps.iter()
            .any(|g| g.remedy == remedy && g.what == "idle-in-transaction"),
        "{gaps:#?}"
    );
    idle.batch_execute("commit").await.unwrap();
    assert_eq!(findings(&db, "idle-in-transaction").await, []);
}

#[tokio::test]
async fn bloat_is_estimated_and_gone_after_a_rewrite() {
    let script = "
create table doc (id int primary key, pad text) with (autovacuum_enabled = off);
insert into doc select n, repeat(md5(n::text), 12) from generate_series(1, 100000) n;
create index doc_pad on doc (pad);
vacuum analyze doc;
";
    let db = audit_ground::database("bloat", script).await;
    let client = db.client().await;
    for rule in ["bloated-table", "bloated-index"] {
        assert_eq!(findings(&db, rule).await, [], "full of rows");
    }
    client
        .batch_execute("delete from doc where id % 10 <> 0")
        .await
        .unwrap();
    // What a session counted before its own VACUUM would count after it.
    flush(&client).await;
    client.batch_execute("vacuum analyze doc").await.unwrap();
    let found = findings(&db, "bloated-table").await;
    let table = only(&found);
    let share = table.evidence["share_percent"].as_f64().unwrap();
    assert!(
        (85.0..92.0).contains(&share),
        "nine of ten rows are gone: {share}"
    );
    let found = findings(&db, "bloated-index").await;
    let index = only(&found);
    assert_eq!(index.object.to_string(), "public.doc_pad");
    client
        .batch_execute(index.fix.as_ref().unwrap())
        .await
        .unwrap();
    client
        .batch_execute("vacuum (full, analyze) doc")
        .await
        .unwrap();
    for rule in ["bloated-table", "bloated-index"] {
        assert_eq!(findings(&db, rule).await, [], "rewritten");
    }
}

#[tokio::test]
async fn a_published_table_without_a_key_refuses_updates() {
    let script = "
create table log (at timestamptz, what text);
insert into log select now(), 'x' from generate_series(1, 10);
create publication log_out for table log;
";
    let db = audit_ground::database("published", script).await;
    let client = db.client().await;
    let refused = client.execute("update log set what = 'y'", &[]).await;
    assert!(refused.is_err(), "the server agrees");
    let found = findings(&db, "no-primary-key").await;
    assert_eq!(only(&found).severity, Severity::Error);
    client
        .batch_execute("alter table log replica identity full")
        .await
        .unwrap();
    let found = findings(&db, "no-primary-key").await;
    assert_eq!(only(&found).severity, Severity::Note);
}

#[tokio::test]
async fn counters_are_what_the_server_says() {
    let script = "
insert into doc select generate_series(1, 5000);
alter role app in database \"$db\" set statement_timeout = '7s';
";
    let db = audit_ground::database("counters", "create table doc (id int primary key)").await;
    let client = db.client().await;
    let script = script.replace("$db", &db.name);
    client.batch_execute(&script).await.unwrap();
    let sql = format!("alter database \"{}\" set lock_timeout = '9s'", db.name);
    client.batch_execute(&sql).await.unwrap();
    flush(&client).await;
    let (catalog, _) = audit_ground::read(&db.url).await;
    let row = client
        .query_one(
            "select age(datfrozenxid)::int8, mxid_age(datminmxid)::int8, \
             (select count(*) from pg_stat_activity where backend_type = 'client backend') \
             from pg_database where datname = current_database()",
            &[],
        )
        .await
        .unwrap();
    let server = &catalog.server;
    let (xids, multixacts): (i64, i64) = (row.get(0), row.get(1));
    assert!((xids - server.load.xid_age).abs() < 1000);
    assert!((multixacts - server.load.multixact_age).abs() < 1000);
    assert_eq!(server.config, ["lock_timeout=9s"]);
    assert_eq!(
        catalog.roles["app"].database_config,
        ["statement_timeout=7s"]
    );
    // A new session of this role has the database's limit; dbtune's own is not taken for it.
    assert_eq!(server.settings["lock_timeout"], "9000ms");
    assert_eq!(server.settings["statement_timeout"], "0");
    assert!(server.sessions.total() >= 1 && server.sessions.hidden == 0);
    let table = &catalog.tables[&dbtune::model::Name::new("public", "doc")];
    assert_eq!(table.activity.inserted, 5000);
    assert!(table.activity.heap_hit > 0 && table.activity.xid_age < xids.max(1) + 1000);
    assert!(server.load.commits > 0 && server.load.blocks_hit > 0);
}
