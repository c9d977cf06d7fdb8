//! Forwards, backwards, and side by side with sqlx.

use crate::migrate_ground::{INDEX_UP, ground, schema_dump, silent};
use dbtune::db::checksum;
use dbtune::migrate::{self, Back, Folder, Options, State};
use sqlx::migrate::Migrator;

#[tokio::test]
async fn apply_status_rollback_leaves_the_schema_as_it_was() {
    let ground = ground("trip").await;
    ground.usual();
    let client = ground.owner().await;
    let before = schema_dump(&client).await;

    let outcome = ground.apply().await.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(outcome.done.len(), 3);
    let between = schema_dump(&client).await;
    assert!(between.contains("items_tenant_idx"), "{between}");
    assert!(between.contains("valid true"), "{between}");
    ground.assert_tidy("after apply").await;
    let status = migrate::status(&ground.target(), &ground.folder())
        .await
        .unwrap();
    assert!(status.is_clean(), "{status:?}");
    assert!(
        status
            .lines
            .iter()
            .all(|l| l.state == State::Applied && l.reversible)
    );

    // Again: nothing to do.
    assert!(ground.apply().await.unwrap().done.is_empty());

    let outcome = ground.rollback(Back::Steps(1)).await.unwrap();
    assert_eq!(outcome.done[0].label, "20250101000002_notes");
    assert_eq!(
        ground.versions().await,
        [20_250_101_000_000, 20_250_101_000_001]
    );
    ground.rollback(Back::To(20_250_101_000_000)).await.unwrap();
    assert_eq!(ground.versions().await, [20_250_101_000_000]);
    ground.apply().await.unwrap();
    assert_eq!(schema_dump(&client).await, between);
    assert_eq!(ground.rollback(Back::All).await.unwrap().done.len(), 3);
    assert_eq!(schema_dump(&client).await, before);
    assert!(ground.versions().await.is_empty());
    ground.assert_tidy("after rollback").await;
    assert!(ground.rollback(Back::All).await.unwrap().done.is_empty());

    let audit = client
        .query_one("select count(*) filter (where outcome = 'started'), count(*) filter (where outcome = 'done') from dbtune.audit", &[])
        .await
        .unwrap();
    let (started, done): (i64, i64) = (audit.get(0), audit.get(1));
    assert_eq!((started, done), (10, 10));
}

#[tokio::test]
async fn rollback_needs_no_folder_and_now_takes_the_short_way() {
    let ground = ground("alone").await;
    ground.usual();
    let client = ground.owner().await;
    let before = schema_dump(&client).await;
    ground.apply().await.unwrap();
    let options = Options {
        now: true,
        ..Options::default()
    };
    let nothing = Folder::default();
    let outcome = migrate::rollback(&ground.target(), &nothing, Back::All, &options, &mut silent)
        .await
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(outcome.done.len(), 3);
    assert_eq!(schema_dump(&client).await, before);
}

#[tokio::test]
async fn sqlx_reads_and_writes_the_same_ledger() {
    let ground = ground("sqlx").await;
    ground.usual();
    let migrator = Migrator::new(ground.dir.path()).await.unwrap();
    let mut connection = ground.sqlx().await;
    let client = ground.owner().await;
    let before = schema_dump(&client).await;

    // Ours first: sqlx finds nothing to do, and takes it back.
    ground.apply().await.unwrap();
    let ours = schema_dump(&client).await;
    migrator.run(&mut connection).await.unwrap();
    assert_eq!(ground.versions().await.len(), 3);
    migrator.undo(&mut connection, 0).await.unwrap();
    assert_eq!(schema_dump(&client).await, before);
    assert!(ground.versions().await.is_empty());

    // Then theirs: we find nothing to do, and take it back.
    migrator.run(&mut connection).await.unwrap();
    assert_eq!(schema_dump(&client).await, ours);
    assert!(ground.apply().await.unwrap().done.is_empty());
    let status = migrate::status(&ground.target(), &ground.folder())
        .await
        .unwrap();
    assert!(status.is_clean(), "{status:?}");
    assert_eq!(ground.rollback(Back::All).await.unwrap().done.len(), 3);
    assert_eq!(schema_dump(&client).await, before);

    // Half and half.
    migrator
        .run_to(20_250_101_000_001, &mut connection)
        .await
        .unwrap();
    assert_eq!(ground.apply().await.unwrap().done.len(), 1);
    migrator.run(&mut connection).await.unwrap();
}

#[tokio::test]
async fn files_read_as_sqlx_reads_them() {
    let ground = ground("same").await;
    ground.usual();
    ground.put("0007_simple_one.sql", "select 1;");
    ground.put("README.md", "no migration");
    ground.put("notes.sql", "no version and no underscore");
    let theirs = Migrator::new(ground.dir.path()).await.unwrap();
    let ours = ground.folder();
    let ups: Vec<_> = theirs
        .iter()
        .filter(|m| m.migration_type.is_up_migration())
        .collect();
    assert_eq!(ups.len(), ours.entries.len());
    for (their, our) in ups.iter().zip(&ours.entries) {
        assert_eq!(their.version, our.migration.version);
        assert_eq!(their.description, our.migration.slug.replace('_', " "));
        assert_eq!(&*their.checksum, checksum(&our.migration.up.sql));
        assert_eq!(their.no_tx, our.migration.up.no_transaction);
    }
}

#[tokio::test]
async fn the_lock_is_sqlx_s() {
    use sqlx::migrate::Migrate;
    let ground = ground("lock").await;
    ground.put("1_x.up.sql", INDEX_UP);
    ground.put("1_x.down.sql", "select 1");
    let mut connection = ground.sqlx().await;
    connection.lock().await.unwrap();
    let options = Options {
        wait_for_runner: std::time::Duration::from_millis(300),
        ..Options::default()
    };
    let stop = ground.apply_with(&options).await.unwrap_err();
    assert!(
        stop.to_string().contains("is migrating this database"),
        "{stop}"
    );
    assert!(!stop.changed());
    connection.unlock().await.unwrap();
    assert_eq!(ground.apply().await.unwrap().done.len(), 1);
}
