//! Proposals become files that apply, come back, and never need more than a short lock.

use crate::migrate_ground::{Ground, ground, impatient, schema_dump};
use chrono::TimeZone;
use dbtune::db::{Session, read_catalog};
use dbtune::migrate::{self, Back, render};
use dbtune::model::{Basis, Change, Estimate, IndexKey, IndexSpec, Name, PolicyText, Proposal};

fn index(table: &str, name: &str, column: &str) -> IndexSpec {
    IndexSpec {
        table: Name::new("public", table),
        name: name.to_owned(),
        method: "btree".to_owned(),
        keys: vec![IndexKey {
            column: Some(column.to_owned()),
            ..IndexKey::default()
        }],
        ..IndexSpec::default()
    }
}

fn proposal(slug: &str, changes: Vec<Change>) -> Proposal {
    Proposal {
        slug: slug.to_owned(),
        changes,
        rules: vec!["unindexed-policy-column".to_owned()],
        reason: "The policy filters on it;\nnothing finds it.".to_owned(),
        estimates: vec![Estimate {
            query: "count@nurse".to_owned(),
            cost_before: 1000.0,
            cost_after: 8.5,
            ms_before: None,
            ms_after: None,
        }],
        bytes: Some(81_920),
        basis: Basis::HypoPg,
        unseen: false,
        tried: dbtune::model::Tried::default(),
    }
}

async fn write(
    ground: &Ground,
    proposals: &[Proposal],
    version: i64,
) -> Vec<dbtune::model::Migration> {
    let session = Session::connect(&ground.target(), "test").await.unwrap();
    let catalog = read_catalog(&session).await.unwrap();
    let migrations = render(&catalog, proposals, version);
    migrate::write(ground.dir.path(), &migrations).unwrap_or_else(|p| panic!("{p:?}"));
    migrations
}

#[tokio::test]
async fn an_index_and_a_policy_rewrite() {
    let ground = ground("render").await;
    let client = ground.owner().await;
    let before = schema_dump(&client).await;
    let text = |using: &str| PolicyText {
        using: Some(using.to_owned()),
        check: None,
    };
    let changes = vec![
        Change::CreateFunction {
            name: Name::new("public", "mine"),
            body: "select 1".to_owned(),
            create: vec![
                "create function public.mine() returns int language sql stable as $$ select 1 $$"
                    .to_owned(),
            ],
            drop: "drop function public.mine()".to_owned(),
        },
        Change::ReplacePolicy {
            table: Name::new("public", "items"),
            policy: "own".to_owned(),
            before: text("(tenant = (current_setting('app.tenant'::text, true))::integer)"),
            after: text("tenant = (select public.mine())"),
        },
        Change::CreateIndex(index("items", "items_tenant_idx", "tenant")),
    ];
    let migrations = write(
        &ground,
        &[proposal("own_wrapped", changes)],
        20_250_301_000_000,
    )
    .await;
    assert_eq!(migrations.len(), 2);
    assert!(!migrations[0].up.no_transaction);
    assert!(
        migrations[1]
            .up
            .sql
            .starts_with("-- no-transaction\n-- The policy filters on it;\n-- nothing finds it.\n")
    );
    assert!(
        migrations[1]
            .up
            .sql
            .contains("-- count@nurse: planner cost 1000 -> 8\n"),
        "{}",
        migrations[1].up.sql
    );
    // What is written reads back the same.
    let read: Vec<_> = ground
        .folder()
        .entries
        .into_iter()
        .map(|e| e.migration)
        .collect();
    assert_eq!(read, migrations);
    ground.apply().await.unwrap_or_else(|e| panic!("{e}"));
    assert_ne!(schema_dump(&client).await, before);
    ground
        .rollback(Back::All)
        .await
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(schema_dump(&client).await, before);
}

#[tokio::test]
async fn nothing_is_ever_overwritten() {
    let ground = ground("over").await;
    ground.put("7_mine.up.sql", "select 1;");
    let change = || vec![Change::CreateIndex(index("items", "i", "name"))];
    let session = Session::connect(&ground.target(), "test").await.unwrap();
    let catalog = read_catalog(&session).await.unwrap();
    let proposals = [proposal("a", change()), proposal("b", change())];
    let problems = migrate::write(ground.dir.path(), &render(&catalog, &proposals, 6)).unwrap_err();
    assert!(
        problems[0].to_string().contains("7_mine.up.sql"),
        "{problems:?}"
    );
    assert_eq!(std::fs::read_dir(ground.dir.path()).unwrap().count(), 1);
    let now = chrono::Utc.with_ymd_and_hms(2025, 3, 1, 12, 30, 5).unwrap();
    assert_eq!(migrate::next_version([7], now), 20_250_301_123_005);
    assert_eq!(
        migrate::next_version([20_250_301_123_005], now),
        20_250_301_123_006
    );
}

#[tokio::test]
async fn a_partitioned_table_gets_its_index_without_a_long_lock() {
    let ground = ground("parts").await;
    let client = ground.owner().await;
    client
        .batch_execute(
            "create table log (id int, day date, kind text) partition by range (day);
             create table log_a partition of log for values from ('2025-01-01') to ('2025-02-01');
             create table log_b partition of log for values from ('2025-02-01') to ('2025-03-01') partition by list (kind);
             create table log_b_x partition of log_b for values in ('x');
             create table log_b_y partition of log_b default;
             insert into log select i, '2025-01-20'::date + i % 30, case when i % 2 = 0 then 'x' else 'y' end from generate_series(1, 3000) i;",
        )
        .await
        .unwrap();
    let before = schema_dump(&client).await;
    let name = format!("{}_idx", "long".repeat(14));
    let change = Change::CreateIndex(index("log", &name, "id"));
    let migrations = write(&ground, &[proposal("log", vec![change])], 100).await;
    // The parent, one partition, the sub-partitioned one, its two, and the attaching.
    assert_eq!(migrations.len(), 6);
    let preview = migrate::preview(
        &ground.target(),
        &ground.folder(),
        &migrate::Options::default(),
    )
    .await
    .unwrap();
    assert_eq!(preview.steps.len(), 9);

    // A partition that comes after the parent's index gets its own from the server.
    let mut options = migrate::Options::default();
    options.forward.to = Some(103);
    ground
        .apply_with(&options)
        .await
        .unwrap_or_else(|e| panic!("{e}"));
    client
        .batch_execute(
            "create table log_c partition of log for values from ('2025-03-01') to ('2025-04-01')",
        )
        .await
        .unwrap();
    ground.apply().await.unwrap_or_else(|e| panic!("{e}"));
    ground.assert_tidy("a partitioned index").await;
    let status = migrate::status(&ground.target(), &ground.folder())
        .await
        .unwrap();
    assert!(status.is_clean(), "{status:?}");

    // They belong together: the last step takes all of them back.
    let outcome = ground
        .rollback(Back::Steps(1))
        .await
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(outcome.done.len(), 6);
    client.batch_execute("drop table log_c").await.unwrap();
    assert_eq!(schema_dump(&client).await, before);
}

#[tokio::test]
async fn partitions_that_came_after_the_files_get_the_index_too() {
    let ground = ground("late").await;
    let client = ground.owner().await;
    client
        .batch_execute(
            "create table log (id int, day date, kind text) partition by range (day);
             create table log_a partition of log for values from ('2025-01-01') to ('2025-02-01');",
        )
        .await
        .unwrap();
    let name = format!("{}_idx", "long".repeat(14));
    let change = Change::CreateIndex(index("log", &name, "id"));
    write(&ground, &[proposal("log", vec![change])], 100).await;
    client
        .batch_execute(
            r#"create table "log B" partition of log for values from ('2025-02-01') to ('2025-03-01') partition by list (kind);
             create table log_b_x partition of "log B" for values in ('x');
             create table log_b_y partition of "log B" default;
             create table log_c partition of log for values from ('2025-03-01') to ('2025-04-01');
             insert into log select i, '2025-01-20'::date + i % 60, case when i % 2 = 0 then 'x' else 'y' end from generate_series(1, 3000) i;"#,
        )
        .await
        .unwrap();
    let before = schema_dump(&client).await;

    // Something in the way of one of them: what was built by then is on record, and comes back.
    let blocker = ground.owner().await;
    blocker
        .batch_execute("begin; lock table log_c in share row exclusive mode")
        .await
        .unwrap();
    let stop = ground.apply_with(&impatient()).await.unwrap_err();
    assert!(stop.to_string().contains("55P03"), "{stop}");
    assert!(stop.half_way.is_some(), "{stop}");
    blocker.batch_execute("rollback").await.unwrap();
    ground
        .rollback(Back::All)
        .await
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(schema_dump(&client).await, before);

    // The same, and on from where it stopped.
    blocker
        .batch_execute("begin; lock table log_c in share row exclusive mode")
        .await
        .unwrap();
    ground.apply_with(&impatient()).await.unwrap_err();
    blocker.batch_execute("rollback").await.unwrap();
    let outcome = ground.apply().await.unwrap_or_else(|e| panic!("{e}"));
    assert!(
        outcome.notes.iter().any(|n| n.contains("log_c")),
        "{:?}",
        outcome.notes
    );
    ground.assert_tidy("late partitions").await;
    let valid: i64 = client
        .query_one(
            "select count(*) from pg_index i join pg_class t on t.oid = i.indrelid
             where t.relname like 'log%' and i.indisvalid",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    assert_eq!(valid, 6, "the parent, its three, and two below one of them");
    ground
        .rollback(Back::Steps(1))
        .await
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(schema_dump(&client).await, before);
}
