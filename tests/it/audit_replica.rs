//! What is used on a standby is used.

use crate::audit_run::dbtune;
use crate::migrate_ground::ground_on;
use crate::migrate_replica::replica_of;
use crate::server;
use dbtune::db::throwaway::{Options as ServerOptions, Throwaway};
use dbtune::db::{Session, Target, merge_replica, read_catalog, read_statements};
use std::collections::BTreeMap;
use std::time::Duration;

const SCRIPT: &str = "
create table doc (id int primary key, tag int, title text);
insert into doc select n, n, 'title' from generate_series(1, 20000) n;
create index doc_tag on doc (tag);
create index doc_title on doc (title);
analyze doc;
do $$ begin create role replica_visitor login; exception when duplicate_object then null; end $$;
";

#[tokio::test(flavor = "multi_thread")]
async fn an_index_used_on_a_standby_only_is_used() {
    let options = ServerOptions {
        settings: BTreeMap::from([
            ("wal_level".to_owned(), "replica".to_owned()),
            ("max_wal_senders".to_owned(), "4".to_owned()),
        ]),
        ..ServerOptions::from_env(&server::environment()).unwrap()
    };
    let primary = Throwaway::start(options)
        .await
        .unwrap_or_else(|e| panic!("{e}"));
    let primary: &'static Throwaway = Box::leak(Box::new(primary));
    let ground = ground_on(primary, "read_elsewhere").await;
    ground
        .db
        .client()
        .await
        .batch_execute(SCRIPT)
        .await
        .unwrap();
    let replica = replica_of(&ground, primary).await;
    let url = |user: &str| {
        format!(
            "postgresql://{user}@/read_elsewhere?host={}&port={}",
            replica.socket.display(),
            primary.port()
        )
    };
    let reader = server::connect(&url(primary.superuser())).await;
    use_index(&reader).await;

    let target = |url: &str| Target::resolve(Some(url), &BTreeMap::new()).unwrap();
    let here = Session::connect(&target(&ground.db.url), "test")
        .await
        .unwrap();
    let there = Session::connect(&target(&url(primary.superuser())), "test")
        .await
        .unwrap();
    let mut catalog = read_catalog(&here).await.unwrap();
    let mut statements = read_statements(&here, &mut catalog).await.unwrap();
    let scans = |catalog: &dbtune::model::Catalog| {
        let table = catalog
            .tables
            .values()
            .find(|t| t.indexes.len() == 3)
            .unwrap();
        let of = |name: &str| {
            table
                .indexes
                .iter()
                .find(|i| i.name.name == name)
                .unwrap()
                .scans
        };
        (of("doc_tag"), of("doc_title"))
    };
    assert_eq!(scans(&catalog), (0, 0));
    merge_replica(&here, &there, &mut catalog, statements.as_mut())
        .await
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(scans(&catalog), (3, 0));
    let calls = |text: &str| {
        let all = &statements.as_ref().unwrap().statements;
        all.iter()
            .find(|s| s.text.as_deref().is_some_and(|t| t.contains(text)))
            .map(|s| s.calls)
    };
    if primary.gaps().is_empty() {
        assert_eq!(calls("from doc where tag"), Some(3));
    }

    let folder = tempfile::tempdir().unwrap();
    let audit = |arguments: &[&str]| {
        dbtune(
            folder.path(),
            &[
                &["audit", "--format", "json", "--db", &ground.db.url][..],
                arguments,
            ]
            .concat(),
        )
    };
    let alone = audit(&[]);
    assert!(alone.gaps().contains("--replica"), "{}", alone.gaps());
    let both = audit(&["--replica", &url(primary.superuser())]);
    assert_eq!(both.code, 0, "{}{}", both.out, both.err);
    assert!(!both.gaps().contains("--replica"), "{}", both.gaps());
    // One that may not read the system identifier looks at the tables instead.
    ground
        .db
        .client()
        .await
        .batch_execute("revoke execute on function pg_control_system() from public")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let visitor = audit(&["--replica", &url("replica_visitor")]);
    assert_eq!(visitor.code, 0, "{}{}", visitor.out, visitor.err);
    assert!(
        visitor.gaps().contains("pg_control_system"),
        "{}",
        visitor.gaps()
    );

    let other = server::server().url("postgres", server::server().superuser());
    for (arguments, words) in [
        (&["--replica", &ground.db.url][..], "no standby"),
        (&["--replica", &other], "no standby"),
        (
            &[
                "--replica",
                &url(primary.superuser()).replace("read_elsewhere", "postgres"),
            ],
            "expected read_elsewhere",
        ),
        (&["--replica", &url("a"), "--replica", &url("a")], "twice"),
        (
            &["--replica", "postgres://me:hidden@127.0.0.1:1/x"],
            "me:***@127.0.0.1:1/x",
        ),
    ] {
        let ran = audit(arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.out);
        assert!(
            ran.err.contains(words) && !ran.err.contains("hidden"),
            "{arguments:?}: {}",
            ran.err
        );
    }
}

/// Three scans of one index, and their statistics written.
async fn use_index(reader: &tokio_postgres::Client) {
    let sql = "set enable_seqscan = off; set enable_bitmapscan = off";
    // The standby may have yet to replay the table.
    while reader.query("select from doc limit 1", &[]).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    reader.batch_execute(sql).await.unwrap();
    for _ in 0..3 {
        reader
            .query("select count(*) from doc where tag = 7", &[])
            .await
            .unwrap();
    }
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        reader.batch_execute("select 1").await.unwrap();
    }
}
