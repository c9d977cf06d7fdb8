//! Findings on speed that need traffic or a planner to show themselves.

use crate::audit_ground;
use dbtune::model::{Finding, Severity};
use serde_json::json;

const DOCS: &str = "
create table doc (id int primary key, tenant int not null, name text, status text, price numeric, tags text[], day date);
insert into doc select n, n % 4, 'name' || n, 'open', n, array['t' || n], date '2020-01-01' + n % 2000
  from generate_series(1, 20000) n;
create index doc_tenant on doc (tenant);
create index doc_name on doc (name text_pattern_ops);
create index doc_lower on doc (lower(name));
create index doc_price on doc (price);
create index doc_tags on doc using gin (tags);
create index doc_day on doc (day);
alter table doc enable row level security;
grant select on doc to app;
create policy own on doc for select to app using (tenant = (select current_setting('app.tenant', true)::int));
analyze;
";

async fn run_as_app(db: &crate::server::Db, statements: &[&str]) {
    let client = db.client().await;
    client
        .batch_execute("set role app; set app.tenant = '1'")
        .await
        .unwrap();
    for statement in statements {
        for _ in 0..5 {
            client.query(*statement, &[]).await.unwrap();
        }
    }
}

async fn findings_of(url: &str, rule: &str) -> Vec<Finding> {
    let (mut found, _) = audit_ground::audit(url).await;
    found.retain(|f| f.rule == rule);
    found
}

#[tokio::test]
async fn searches_that_are_not_leakproof_are_named_with_their_index() {
    let db = audit_ground::database("leakproof", DOCS).await;
    let statements = [
        "select * from doc where name like 'name17%'",
        "select * from doc where lower(name) = 'name17'",
        "select * from doc d where d.price = 17",
        "select * from doc where tags @> array['t17']",
        // Leakproof: the index is used.
        "select * from doc where day = '2021-01-01'",
        // Another index leaves one row.
        "select * from doc where id = 17 and price = 17",
    ];
    run_as_app(&db, &statements).await;
    // Who bypasses the policies has no wall to meet.
    let admin = db.client().await;
    let sql = "select * from doc where name like 'x%'";
    admin.query(sql, &[]).await.unwrap();

    let found = findings_of(&db.url, "condition-not-leakproof").await;
    let seen: Vec<_> = found
        .iter()
        .map(|f| {
            (
                f.object.part.as_deref().unwrap(),
                f.evidence["index"].as_str().unwrap(),
                f.evidence["operators"].to_string(),
                f.evidence["calls"].as_i64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (
                "lower(name)",
                "public.doc_lower",
                json!(["="]).to_string(),
                5
            ),
            ("name", "public.doc_name", json!(["~~"]).to_string(), 5),
            ("price", "public.doc_price", json!(["="]).to_string(), 5),
            ("tags", "public.doc_tags", json!(["@>"]).to_string(), 5),
        ],
        "{found:#?}"
    );
    assert!(
        found
            .iter()
            .all(|f| f.evidence["rows_tested"].as_f64().unwrap() > 4_000.0)
    );

    // The server agrees: none of these indexes is read.
    let client = db.client().await;
    client
        .batch_execute("set role app; set app.tenant = '1'")
        .await
        .unwrap();
    for (statement, expected) in statements.iter().zip([false, false, false, false, true]) {
        let rows = client
            .query(&format!("explain {statement}"), &[])
            .await
            .unwrap();
        let plan: String = rows.iter().map(|r| r.get::<_, String>(0)).collect();
        let used = ["doc_name", "doc_lower", "doc_price", "doc_tags", "doc_day"];
        assert_eq!(used.iter().any(|i| plan.contains(i)), expected, "{plan}");
    }

    // Mended by an index that starts with the policy's column.
    admin
        .batch_execute("create index on doc (tenant, price) include (id)")
        .await
        .unwrap();
    let found = findings_of(&db.url, "condition-not-leakproof").await;
    assert!(
        found
            .iter()
            .all(|f| f.object.part.as_deref() != Some("price"))
    );
}

#[tokio::test]
async fn findings_name_the_statements_that_suffer_and_weigh_more_for_it() {
    let script = format!(
        "{DOCS}create function slow(t int) returns boolean language plpgsql stable as \
         'begin return t = current_setting(''app.tenant'')::int; end';
drop policy own on doc;
create policy own on doc for select to app using (slow(tenant));
create policy late on doc for delete to app using (slow(tenant));
"
    );
    let db = audit_ground::database("affected", &script).await;
    let found = findings_of(&db.url, "per-row-column-call").await;
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found.iter().all(|f| f.severity == Severity::Warning));
    assert_eq!(found[0].evidence["roles"], json!(["app"]));

    run_as_app(&db, &["select count(*) from doc", "select 1"]).await;
    let found = findings_of(&db.url, "per-row-column-call").await;
    let own = found
        .iter()
        .find(|f| f.object.part.as_deref() == Some("own"));
    let own = own.unwrap();
    assert_eq!(own.evidence["statements_affected"], 1);
    assert_eq!(own.evidence["statement_calls"], 5);
    assert_eq!(own.evidence["statements"][0]["role"], "app");
    assert!(
        own.message.contains("% of all time (5 calls)"),
        "{}",
        own.message
    );
    // Nobody deletes.
    let late = found
        .iter()
        .find(|f| f.object.part.as_deref() == Some("late"));
    assert!(late.unwrap().evidence.get("statements").is_none());
}

/// One line a finding: object, and the SQLSTATE that the server gives.
fn outcomes(found: &[Finding]) -> Vec<String> {
    let mut outcomes: Vec<String> = found
        .iter()
        .map(|f| {
            let code = f.evidence.get("sqlstate").and_then(|c| c.as_str());
            format!("{} {}", f.object, code.unwrap_or("42501"))
        })
        .collect();
    outcomes.sort();
    outcomes
}

#[tokio::test]
async fn what_a_role_cannot_reach_is_told_as_the_server_tells_it() {
    let script = "
create schema ext;
create schema hidden;
grant usage on schema ext to app;
create function ext.gen(n int) returns int language sql immutable as 'select n + 1';
revoke execute on function ext.gen(int) from public;
create function ext.open(n int) returns int language sql immutable as 'select n + 1';
create function hidden.f(n int) returns int language sql immutable as 'select n + 1';
create aggregate ext.total(int) (sfunc = int4pl, stype = int);
create table by_default (id int, v int default ext.gen(1));
create table generated (id int, v int generated always as (ext.gen(id)) stored);
create table checked (id int, v int, constraint c check (ext.gen(v) > 0));
create table stored (id int, v int default hidden.f(1));
create function calls_denied() returns trigger language plpgsql as 'begin perform ext.gen(1); return new; end';
create table triggered (id int, v int);
create trigger t before insert on triggered for each row execute function calls_denied();
create function quiet() returns trigger language plpgsql as 'begin return new; end';
revoke execute on function quiet() from public;
create table without_execute (id int, v int);
create trigger t before insert on without_execute for each row execute function quiet();
create function as_owner() returns trigger language plpgsql security definer as 'begin perform ext.gen(1); perform hidden.f(1); return new; end';
create table definer (id int, v int);
create trigger t before insert on definer for each row execute function as_owner();
create function names_hidden() returns trigger language plpgsql as 'declare n int; begin n := hidden.f(1); return new; end';
create table no_usage (id int, v int);
create trigger t before insert on no_usage for each row execute function names_hidden();
create function off_path() returns trigger language plpgsql set search_path = '' as 'begin new.v := open(1) + lower(''X'')::text::varchar::text::int; return new; end';
create table pathless (id int, v int);
create trigger t before insert on pathless for each row execute function off_path();
create function on_path() returns trigger language plpgsql set search_path = ext, public as 'begin new.v := (select total(n) from generate_series(1, open(2)) n); return new; end';
create table pathful (id int, v int);
create trigger t before insert on pathful for each row execute function on_path();
create function dropped() returns trigger language plpgsql as 'begin perform was_here(1); return new; end';
create table gone (id int, v int);
create trigger t before insert on gone for each row execute function dropped();
create function deep() returns int language sql stable as 'select ext.open(1) + hidden.f(1)';
create function deeper() returns int language plpgsql stable as 'begin return deep(); end';
create table policed (id int, v int);
insert into policed values (1, 2);
alter table policed enable row level security;
create policy p on policed to app using (v = (select deeper()));
grant all on all tables in schema public to app;
";
    // A body is checked when its function is made, unless it says otherwise.
    let script = format!("set check_function_bodies = off;\n{script}");
    let db = audit_ground::database("reach", &script).await;
    let found = findings_of(&db.url, "function-out-of-reach").await;
    assert_eq!(
        outcomes(&found),
        [
            "public.by_default · v 42501",
            "public.calls_denied · ext.gen 42501",
            "public.checked · c 42501",
            "public.deep · hidden.f 42501",
            "public.dropped · was_here 42883",
            "public.generated · v 42501",
            "public.names_hidden · hidden.f 42501",
            "public.off_path · open 42883",
        ],
        "{found:#?}"
    );
    // The server agrees, table by table.
    let client = db.client().await;
    client.batch_execute("set role app").await.unwrap();
    for (statement, expected) in [
        ("insert into by_default (id) values (1)", "42501"),
        ("insert into generated (id) values (1)", "42501"),
        ("insert into checked values (1, 1)", "42501"),
        ("insert into stored (id) values (1)", ""),
        ("insert into triggered values (1, 1)", "42501"),
        ("insert into without_execute values (1, 1)", ""),
        ("insert into definer values (1, 1)", ""),
        ("insert into no_usage values (1, 1)", "42501"),
        ("insert into pathless values (1, 1)", "42883"),
        ("insert into pathful values (1, 1)", ""),
        ("insert into gone values (1, 1)", "42883"),
        ("select from policed", "42501"),
    ] {
        let done = client.batch_execute(statement).await;
        let code = done
            .err()
            .and_then(|e| e.code().map(|c| c.code().to_owned()));
        assert_eq!(code.unwrap_or_default(), expected, "{statement}");
    }
    // And what the findings say mends it, mends it.
    client.batch_execute("reset role").await.unwrap();
    for fix in found.iter().filter_map(|f| f.fix.as_ref()) {
        client.batch_execute(fix).await.unwrap();
    }
    let found = findings_of(&db.url, "function-out-of-reach").await;
    assert_eq!(
        outcomes(&found),
        [
            "public.dropped · was_here 42883",
            "public.off_path · open 42883"
        ],
        "{found:#?}"
    );
}

#[tokio::test]
async fn an_index_in_the_wrong_order_is_named_and_turned_round() {
    let script = "
create table doc (id int primary key, owner_id uuid not null, created_at timestamptz not null);
insert into doc select n, gen_random_uuid(), now() - n * interval '1 minute' from generate_series(1, 20000) n;
create index doc_recent on doc (created_at, owner_id);
alter table doc enable row level security;
create policy own on doc for select to app using (owner_id = (select auth.uid()));
analyze;
";
    let db = audit_ground::database("order", script).await;
    let found = findings_of(&db.url, "unindexed-policy-column").await;
    let [finding] = found.as_slice() else {
        panic!("{found:#?}")
    };
    assert_eq!(finding.evidence["held_by"], "public.doc_recent");
    let fix = finding.fix.as_deref().unwrap();
    assert!(fix.contains("(owner_id, created_at)"), "{fix}");
    db.client().await.batch_execute(fix).await.unwrap();
    let found = findings_of(&db.url, "unindexed-policy-column").await;
    assert!(found.is_empty(), "{found:#?}");
}

#[tokio::test]
async fn a_comparison_with_another_type_is_found_wherever_it_casts_the_column() {
    let script = "
create extension citext;
create table doc (id int primary key, org bigint, code char(8), mail citext, name varchar(20));
insert into doc select n, n, n, n, n from generate_series(1, 20000) n;
create index on doc (org);
create index on doc (code);
create index on doc (mail);
create index on doc (name);
alter table doc enable row level security;
create policy a on doc for select to app using (org = (select current_setting('app.org', true)::numeric));
create policy b on doc for select to app using (org = any (array(select 5::numeric)));
create policy c on doc for select to app using (code = (select current_setting('app.code', true)));
create policy d on doc for select to app using (mail = (select current_setting('app.mail', true)));
create policy e on doc for select to app using (name = (select current_setting('app.name', true)));
create policy f on doc for select to app using (org = (select 5::smallint));
analyze;
";
    let db = audit_ground::database("types", script).await;
    let found = findings_of(&db.url, "cast-on-policy-column").await;
    let policies: Vec<_> = found
        .iter()
        .map(|f| f.object.part.as_deref().unwrap())
        .collect();
    // Text for varchar and smallint for bigint are answered by the index.
    assert_eq!(policies, ["a", "b", "c", "d"], "{found:#?}");
}

#[tokio::test]
async fn partitions_are_left_out_or_not_as_the_server_does_it() {
    let script = "
create table event (tenant int not null, id int) partition by list (tenant);
create table event_1 partition of event for values in (1);
create table event_2 partition of event for values in (2);
insert into event select n % 2 + 1, n from generate_series(1, 20000) n;
create table member (tenant int);
insert into member values (1);
create function mine() returns int language sql stable as 'select current_setting(''app.tenant'', true)::int';
create function never_same() returns int language plpgsql as 'begin return current_setting(''app.tenant'', true)::int; end';
grant select on event, member to app;
alter table event enable row level security;
analyze;
";
    let db = audit_ground::database("pruning", script).await;
    let client = db.client().await;
    client.batch_execute("set app.tenant = '1'").await.unwrap();
    for (using, pruned) in [
        ("tenant = mine()", true),
        ("tenant = (select mine())", true),
        ("tenant = (select mine())::bigint", true),
        (
            "tenant = (select mine()) or tenant = (select mine() + 5)",
            true,
        ),
        ("tenant = never_same()", false),
        ("tenant::text = (select mine())::text", false),
        ("tenant = (select mine())::numeric", false),
        ("tenant in (select m.tenant from member m)", false),
        ("tenant = any (array(select m.tenant from member m))", false),
        (
            "exists (select from member m where m.tenant = event.tenant)",
            false,
        ),
        ("tenant + 0 = mine()", false),
        ("tenant = mine() or id = 7", false),
    ] {
        client
            .batch_execute(&format!(
                "drop policy if exists p on event; create policy p on event for select to app using ({using}); set role app"
            ))
            .await
            .unwrap();
        let sql = "explain (analyze, costs off, timing off, summary off) select * from event";
        let rows = client.query(sql, &[]).await.unwrap();
        client.batch_execute("reset role").await.unwrap();
        let plan: Vec<String> = rows.iter().map(|r| r.get(0)).collect();
        let read = plan
            .iter()
            .filter(|l| l.contains(" on event_") && !l.contains("never executed"))
            .count();
        assert_eq!(read == 1, pruned, "{using}: {plan:#?}");
        let found = findings_of(&db.url, "policy-without-pruning").await;
        assert_eq!(found.is_empty(), pruned, "{using}: {found:#?}");
    }
    // By an index on the key each partition answers at once that it holds nothing.
    client
        .batch_execute(
            "create index on event (tenant); drop policy p on event;
             create policy p on event for select to app using (tenant = any (array(select m.tenant from member m)))",
        )
        .await
        .unwrap();
    assert!(
        findings_of(&db.url, "policy-without-pruning")
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn the_tax_is_what_the_planner_says_and_names_the_policy() {
    let script = "
create table doc (id int primary key, tenant int not null, owner int not null);
insert into doc select n, n % 10, n from generate_series(1, 60000) n;
create function may_see(t int) returns boolean language plpgsql stable as 'begin return t = 1; end';
create function fails() returns int language plpgsql stable as 'begin raise exception ''secret''; end';
grant select on doc to app, anon;
alter table doc enable row level security;
create policy own on doc for select to app using (may_see(tenant));
create policy cheap on doc for select to anon using (tenant = 1);
create table broken (id int primary key);
insert into broken select n from generate_series(1, 20000) n;
grant select on broken to app;
alter table broken enable row level security;
create policy p on broken for select to app using (id = fails());
analyze;
";
    let db = audit_ground::database("tax", script).await;
    let (found, gaps) = audit_ground::audit(&db.url).await;
    let found: Vec<_> = found.iter().filter(|f| f.rule == "rls-tax").collect();
    let [finding] = found.as_slice() else {
        panic!("{found:#?}")
    };
    assert!(
        finding.message.contains("by own (public.may_see())"),
        "{}",
        finding.message
    );
    let client = db.client().await;
    client
        .batch_execute("set max_parallel_workers_per_gather = 0; set role app")
        .await
        .unwrap();
    let row = client
        .query_one("explain (format json) select * from doc", &[])
        .await;
    let plan: serde_json::Value = row.unwrap().get(0);
    assert_eq!(finding.evidence["cost"], plan[0]["Plan"]["Total Cost"]);
    assert_eq!(
        finding.evidence["costs_by_role"].as_object().unwrap().len(),
        2
    );
    // What cannot be planned is a gap, and says nothing it should not.
    let gap = gaps.iter().find(|g| g.what.contains("public.broken"));
    assert!(
        gap.is_some_and(|g| g.why.ends_with("SQLSTATE P0001")),
        "{gaps:#?}"
    );
    // Who may not become the role makes no plan and fails nothing.
    client
        .batch_execute("reset role; do $$ begin create role tax_visitor login; exception when duplicate_object then null; end $$")
        .await
        .unwrap();
    let found = findings_of(&db.url_as("tax_visitor"), "rls-tax").await;
    assert!(found.is_empty());
}

#[tokio::test]
async fn a_policy_reads_as_whoever_asks() {
    let script = "
create table doc (id int primary key, org int);
create table member (org int, who text);
create view mine as select org from member;
grant select (org) on member to anon;
grant select on mine to app;
grant select on doc to app, anon;
alter table doc enable row level security;
create policy by_table on doc for select using (org in (select m.org from member m));
create policy by_view on doc for update to app using (org in (select v.org from mine v));
";
    let db = audit_ground::database("readable", script).await;
    let found = findings_of(&db.url, "policy-table-not-readable").await;
    let [finding] = found.as_slice() else {
        panic!("{found:#?}")
    };
    assert_eq!(finding.object.part.as_deref(), Some("by_table"));
    assert_eq!(finding.evidence["roles"], json!(["app"]));
    let client = db.client().await;
    client
        .batch_execute("set role anon; select from doc")
        .await
        .unwrap();
    client
        .batch_execute("reset role; set role app")
        .await
        .unwrap();
    let error = client.batch_execute("select from doc").await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42501");
}
