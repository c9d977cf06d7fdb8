//! New indexes are judged by the plans of a workload, and taken back alone where they are of no use.

use crate::migrate_ground::{Ground, ground, schema_dump, silent};
use dbtune::migrate::{self, Back, Judgement, State};
use dbtune::model::{Basis, Change, IndexKey, IndexSpec, Name, Proposal};
use std::path::PathBuf;
use std::process::Output;
use tokio_postgres::Client;

const USED: &str = "20250201000001_items_tenant_idx";
const UNUSED: &str = "20250201000002_items_name_idx";

/// Statistics are there, a role that the policy applies to, and a workload of one query.
async fn played(label: &str, sql: &str) -> (Ground, Client, PathBuf) {
    let ground = ground(label).await;
    let role = format!("{}_app", ground.db.name);
    ground
        .db
        .client()
        .await
        .batch_execute(&format!(
            "create role \"{role}\"; grant \"{role}\" to \"{}\"; grant select on items to \"{role}\";
             insert into items (tenant, name) select i % 500, 'n' || i from generate_series(1, 20000) i;
             analyze items;",
            ground.user
        ))
        .await
        .unwrap();
    let workload = ground.dir.path().join("workload.yaml");
    std::fs::write(
        &workload,
        format!(
            "version: 1\npersonas:\n  clerk:\n    role: {role}\n    settings: {{ app.tenant: '7' }}\n\
             queries:\n  - name: list\n    personas: [clerk]\n    sql: {sql}\n"
        ),
    )
    .unwrap();
    let client = ground.owner().await;
    (ground, client, workload)
}

fn put_index(ground: &Ground, label: &str, on: &str) {
    let name = label.split_once('_').unwrap().1;
    ground.put(
        &format!("{label}.up.sql"),
        &format!("-- no-transaction\ncreate index concurrently {name} on {on};\n"),
    );
    ground.put(
        &format!("{label}.down.sql"),
        &format!("-- no-transaction\ndrop index concurrently if exists {name};\n"),
    );
}

fn apply(ground: &Ground, workload: &std::path::Path, more: &[&str]) -> Output {
    let mut args = vec!["apply", "--workload", workload.to_str().unwrap()];
    args.extend(["--format", "json", "--quiet"]);
    args.extend(more);
    ground.dbtune(&args)
}

/// The report's data, and the exit code.
fn data(output: &Output) -> (serde_json::Value, i32) {
    let text = String::from_utf8_lossy(&output.stdout);
    let mut report: serde_json::Value = serde_json::from_str(&text)
        .unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)));
    let data = report.get_mut("data").unwrap().take();
    (data, output.status.code().unwrap())
}

/// Index, judgement, whether it was taken back.
fn verdicts(data: &serde_json::Value) -> Vec<(&str, &str, bool)> {
    let verdict = |v: &'_ serde_json::Value| v["taken_back"].as_bool().unwrap();
    data["indexes"]
        .as_array()
        .unwrap_or_else(|| panic!("{data}"))
        .iter()
        .map(|v| {
            (
                v["index"].as_str().unwrap(),
                v["judgement"].as_str().unwrap(),
                verdict(v),
            )
        })
        .collect()
}

#[tokio::test]
async fn the_used_one_stays_and_the_unused_one_in_the_middle_goes() {
    let (ground, client, workload) = played("gain", "select name from items").await;
    put_index(&ground, UNUSED, "items (name)");
    // A policy that hides the tenant from the index until a later migration has it rewritten.
    client
        .batch_execute("alter policy own on items using (tenant + 0 = current_setting('app.tenant', true)::int)")
        .await
        .unwrap();
    put_index(&ground, USED, "items (tenant)");
    ground.put(
        "20250201000003_own.up.sql",
        "alter policy own on items using (tenant = current_setting('app.tenant', true)::int);\n",
    );
    ground.put("20250201000003_own.down.sql", "alter policy own on items using (tenant + 0 = current_setting('app.tenant', true)::int);\n");

    let (data, code) = data(&apply(&ground, &workload, &["--verify-gain"]));
    assert_eq!(code, 1, "{data}");
    assert_eq!(
        verdicts(&data),
        [
            ("items_name_idx", "unused", true),
            ("items_tenant_idx", "used", false)
        ]
    );
    assert_eq!(data["applied"].as_array().unwrap().len(), 3, "{data}");
    let used = &data["indexes"][1]["used_by"][0];
    assert_eq!(used["query"], "list@clerk");
    assert!(used["cost_after"].as_f64() < used["cost_before"].as_f64());

    assert_eq!(
        ground.versions().await,
        [20_250_201_000_001, 20_250_201_000_003]
    );
    ground.assert_tidy("after the judgement").await;
    let schema = schema_dump(&client).await;
    assert!(schema.contains("items_tenant_idx") && !schema.contains("items_name_idx"));
    let status = migrate::status(&ground.target(), &ground.folder())
        .await
        .unwrap();
    let found: Vec<State> = status.lines.iter().map(|l| l.state).collect();
    assert_eq!(found, [State::Applied, State::OutOfOrder, State::Applied]);
    let trail = client
        .query_one("select string_agg(action || ' ' || slug, ', ' order by id) from dbtune.audit where outcome = 'done'", &[])
        .await
        .unwrap();
    assert_eq!(
        trail.get::<_, &str>(0),
        "apply items_tenant_idx, apply items_name_idx, apply own, rollback items_name_idx"
    );
    // As the report says: without the files the next run has nothing to stumble over.
    for part in ["up", "down"] {
        std::fs::remove_file(ground.dir.path().join(format!("{UNUSED}.{part}.sql"))).unwrap();
    }
    assert!(ground.apply().await.unwrap().done.is_empty());
    ground.rollback(Back::All).await.unwrap();
}

#[tokio::test]
async fn without_the_flag_it_is_only_said() {
    let (ground, client, workload) = played("gainsaid", "select name from items").await;
    put_index(&ground, UNUSED, "items (name)");
    let (data, code) = data(&apply(&ground, &workload, &[]));
    assert_eq!(code, 0);
    assert_eq!(verdicts(&data), [("items_name_idx", "unused", false)]);
    assert!(schema_dump(&client).await.contains("items_name_idx"));
    assert_eq!(ground.versions().await, [20_250_201_000_002]);
}

#[tokio::test]
async fn what_no_plan_can_show_is_left() {
    let (ground, _client, workload) = played("gainunseen", "select name from items").await;
    let spec = IndexSpec {
        table: Name::new("public", "items"),
        name: "items_name_idx".to_owned(),
        method: "btree".to_owned(),
        keys: vec![IndexKey {
            column: Some("name".to_owned()),
            ..IndexKey::default()
        }],
        ..IndexSpec::default()
    };
    let proposal = Proposal {
        slug: spec.name.clone(),
        changes: vec![Change::CreateIndex(spec)],
        rules: Vec::new(),
        reason: "for a function".to_owned(),
        estimates: Vec::new(),
        bytes: None,
        basis: Basis::Clone,
        unseen: true,
        tried: dbtune::model::Tried::default(),
    };
    let session = dbtune::db::Session::connect(&ground.target(), "test")
        .await
        .unwrap();
    let catalog = dbtune::db::read_catalog(&session).await.unwrap();
    let migrations = migrate::render(&catalog, &[proposal], 20_250_201_000_001);
    migrate::write(ground.dir.path(), &migrations).unwrap_or_else(|p| panic!("{p:?}"));
    ground.put(
        "20250201000002_once.up.sql",
        "create unique index items_once on items (id, name);\n",
    );
    ground.put("20250201000002_once.down.sql", "drop index items_once;\n");
    let (data, code) = data(&apply(&ground, &workload, &["--verify-gain"]));
    assert_eq!(code, 0, "{data}");
    assert_eq!(
        verdicts(&data),
        [
            ("items_once", "exempt", false),
            ("items_name_idx", "exempt", false)
        ]
    );
    assert_eq!(ground.versions().await.len(), 2);
}

#[tokio::test]
async fn an_expression_gets_statistics_and_harm_is_taken_back() {
    // Each row found costs a count, and statistics of the expression tell that ten times as many are found.
    let sql = "select (select count(*) from items b where b.id < a.id) from items a where substr(name, 1, 2) = 'n7'";
    let (ground, client, workload) = played("gainharm", sql).await;
    client
        .batch_execute("create policy all_of_it on items using (true)")
        .await
        .unwrap();
    put_index(
        &ground,
        "20250201000001_items_start_idx",
        "items (substr(name, 1, 2))",
    );
    let (first, code) = data(&apply(&ground, &workload, &[]));
    assert_eq!(code, 0, "{first}");
    let statistics = "select count(*) from pg_stats where tablename = 'items_start_idx'";
    let known = client.query_one(statistics, &[]).await.unwrap();
    assert_eq!(known.get::<_, i64>(0), 1, "statistics of the expression");
    assert_eq!(verdicts(&first), [("items_start_idx", "harmful", false)]);

    ground.rollback(Back::All).await.unwrap();
    let (second, code) = data(&apply(&ground, &workload, &["--verify-gain"]));
    assert_eq!(code, 1, "{second}");
    assert_eq!(verdicts(&second), [("items_start_idx", "harmful", true)]);
    let worse = &second["indexes"][0]["made_worse"][0];
    assert!(worse["cost_after"].as_f64().unwrap() > 1.1 * worse["cost_before"].as_f64().unwrap());
    assert!(ground.versions().await.is_empty());
    ground.assert_tidy("after harm").await;

    // In a transaction as well.
    ground.put(
        "20250201000001_items_start_idx.up.sql",
        "create index items_start_idx on items (substr(name, 1, 2));\n",
    );
    ground.put(
        "20250201000001_items_start_idx.down.sql",
        "drop index items_start_idx;\n",
    );
    ground.apply().await.unwrap_or_else(|e| panic!("{e}"));
    let known = client.query_one(statistics, &[]).await.unwrap();
    assert_eq!(known.get::<_, i64>(0), 1, "statistics of the expression");
}

#[tokio::test]
async fn files_of_a_partitioned_index_are_judged_and_taken_back_as_one() {
    let (ground, client, workload) = played("gainparts", "select day from visits").await;
    client
        .batch_execute(&format!(
            "create table visits (tenant int not null, day int not null, note text) partition by range (day);
             create table visits_a partition of visits for values from (0) to (100);
             create table visits_b partition of visits for values from (100) to (200) partition by range (day);
             create table visits_b1 partition of visits_b for values from (100) to (200);
             insert into visits select i % 500, i % 200, 'n' || i from generate_series(1, 20000) i;
             alter table visits enable row level security;
             create policy own on visits using (tenant = current_setting('app.tenant', true)::int);
             grant select on visits to \"{}_app\";
             analyze visits;",
            ground.db.name
        ))
        .await
        .unwrap();
    let before = schema_dump(&client).await;
    let index = |name: &str, column: &str| {
        Change::CreateIndex(IndexSpec {
            table: Name::new("public", "visits"),
            name: name.to_owned(),
            method: "btree".to_owned(),
            keys: vec![IndexKey {
                column: Some(column.to_owned()),
                ..IndexKey::default()
            }],
            ..IndexSpec::default()
        })
    };
    let proposal = |change: Change| Proposal {
        slug: "visits".to_owned(),
        changes: vec![change],
        rules: Vec::new(),
        reason: "why".to_owned(),
        estimates: Vec::new(),
        bytes: None,
        basis: Basis::Clone,
        unseen: false,
        tried: dbtune::model::Tried::default(),
    };
    let proposals = [
        proposal(index("visits_note_idx", "note")),
        proposal(index("visits_tenant_idx", "tenant")),
    ];
    let session = dbtune::db::Session::connect(&ground.target(), "test")
        .await
        .unwrap();
    let catalog = dbtune::db::read_catalog(&session).await.unwrap();
    drop(session);
    let migrations = migrate::render(&catalog, &proposals, 20_250_201_000_001);
    assert_eq!(migrations.len(), 10);
    migrate::write(ground.dir.path(), &migrations).unwrap_or_else(|p| panic!("{p:?}"));

    let (data, code) = data(&apply(&ground, &workload, &["--verify-gain"]));
    assert_eq!(code, 1, "{data}");
    assert_eq!(
        verdicts(&data),
        [
            ("visits_tenant_idx", "used", false),
            ("visits_note_idx", "unused", true)
        ]
    );
    assert_eq!(
        ground.versions().await,
        (20_250_201_000_006..=20_250_201_000_010).collect::<Vec<i64>>()
    );
    ground.assert_tidy("after the judgement").await;
    assert!(!schema_dump(&client).await.contains("visits_note_idx"));
    ground.rollback(Back::All).await.unwrap();
    assert_eq!(schema_dump(&client).await, before);
}

#[tokio::test]
async fn a_workload_that_cannot_be_planned_judges_nobody() {
    let (ground, _client, workload) = played("gainblind", "select name from nowhere").await;
    put_index(&ground, UNUSED, "items (name)");
    let output = apply(&ground, &workload, &["--verify-gain"]);
    let (data, code) = data(&output);
    assert_eq!(code, 0, "{data}");
    assert_eq!(verdicts(&data), [("items_name_idx", "exempt", false)]);
    assert!(data["notes"].to_string().contains("list@clerk"), "{data}");
    // Nothing is begun where the workload itself cannot be read.
    ground.rollback(Back::All).await.unwrap();
    let output = apply(
        &ground,
        std::path::Path::new("/nowhere.yaml"),
        &["--verify-gain"],
    );
    assert_eq!(output.status.code(), Some(2));
    assert!(ground.versions().await.is_empty());
}

#[tokio::test]
async fn an_index_without_a_way_back_stays() {
    let (ground, _client, workload) = played("gainstuck", "select name from items").await;
    put_index(&ground, UNUSED, "items (name)");
    std::fs::remove_file(ground.dir.path().join(format!("{UNUSED}.down.sql"))).unwrap();
    let file =
        dbtune::config::parse_workload("w", &std::fs::read_to_string(&workload).unwrap()).unwrap();
    let session = dbtune::db::Session::connect(&ground.target(), "test")
        .await
        .unwrap();
    let resolved = dbtune::db::resolve(&session, &file, dbtune::db::Defaults::default())
        .await
        .unwrap();
    let options = migrate::Options {
        gain: Some(migrate::Gain {
            workload: resolved,
            take_back: true,
        }),
        ..migrate::Options::default()
    };
    let outcome = migrate::apply(&ground.target(), &ground.folder(), &options, &mut silent)
        .await
        .unwrap_or_else(|e| panic!("{e}"));
    let [verdict] = outcome.verdicts.as_slice() else {
        panic!("{outcome:?}")
    };
    assert!(!verdict.taken_back);
    assert!(
        matches!(&verdict.judgement, Judgement::Exempt(why) if why.contains("down.sql")),
        "{verdict:?}"
    );
    assert_eq!(ground.versions().await, [20_250_201_000_002]);
}

#[tokio::test]
async fn a_take_back_that_was_cut_short_is_finished_first() {
    let (ground, client, _workload) = played("gaincut", "select name from items").await;
    put_index(&ground, USED, "items (tenant)");
    put_index(&ground, UNUSED, "items (name)");
    ground.apply().await.unwrap_or_else(|e| panic!("{e}"));
    // As a run leaves it that is killed after the drop, and before the ledger was told.
    client
        .batch_execute("update dbtune.steps set state = 'reverting' where slug = 'items_tenant_idx'; drop index items_tenant_idx")
        .await
        .unwrap();
    let stop = ground.apply().await.unwrap_err();
    assert!(stop.to_string().contains("dbtune rollback"), "{stop}");
    assert!(ground.dbtune(&["rollback", "--yes"]).status.success());
    assert_eq!(ground.versions().await, [20_250_201_000_002]);
    ground.assert_tidy("after the rest was taken back").await;
}
