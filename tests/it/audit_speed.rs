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
    assert!(!late.unwrap().evidence.contains_key("statements"));
}
