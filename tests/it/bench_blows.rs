//! `bench` as it is typed, when something goes wrong in the middle: exit code, message, and no clone left.

use crate::bench_refs::{Project, WORKLOAD, clones, command};
use crate::migrate_harness::{SmallDisk, own_server};
use crate::server::{self, Db};
use crate::tenants;
use dbtune::db::throwaway::{Options, Throwaway};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const LONG: &[&str] = &[
    "bench",
    "--before",
    "--after",
    "--duration",
    "60s",
    "--draws",
    "2",
];

/// Its query is slow, so that it measures until it is struck.
fn started(project: &Project, url: &str) -> Child {
    let slow = "select pg_sleep(0.2) from items limit 1";
    let workload = WORKLOAD.replace("select count(*) from items", slow);
    project.put("benchmarks/w.yaml", &workload);
    command(project.0.path(), url, LONG)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Exit code and everything it printed; it has half a minute to end.
async fn ended(mut child: Child) -> (i32, String) {
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let code = output.status.code().unwrap_or(-1);
    (code, String::from_utf8(text).unwrap())
}

/// Waits until both clones are there and being measured; the server processes that measure.
async fn measuring(client: &tokio_postgres::Client) -> Vec<i32> {
    let begun = Instant::now();
    let sql = "select pid from pg_stat_activity where application_name = 'dbtune bench' and datname like 'dbtune\\_clone\\_%'";
    loop {
        let pids = client.query(sql, &[]).await.unwrap();
        if pids.len() >= 2 {
            return pids.iter().map(|row| row.get(0)).collect();
        }
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "it never measures"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A database of one table on a server that other tests do not use.
async fn alone(server: &'static Throwaway, label: &str) -> Db {
    let admin = server::connect(&server.url("postgres", server.superuser())).await;
    let sql = format!("create database {label}");
    admin.batch_execute(&sql).await.unwrap();
    let db = Db {
        name: label.to_owned(),
        url: server.url(label, server.superuser()),
    };
    let sql = "create table items (id int primary key, title text);
        insert into items select i, 'item ' || i from generate_series(1, 5000) i;
        do $$ begin create role tenants_app nologin; exception when duplicate_object then null; end $$;
        grant select on items to tenants_app;";
    db.client().await.batch_execute(sql).await.unwrap();
    db
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_at_any_moment_leaves_nothing() {
    let (db, _) = tenants::database("blow_signal").await;
    let url = db.url_as("tenants_owner");
    let project = Project::new();
    let up = "create index items_tenant_idx on items (tenant);\n";
    project.migration("1_tenant_idx", up, "drop index items_tenant_idx;\n");
    // While the sides are found, cloned, vacuumed, migrated and measured.
    for (round, milliseconds) in [30, 120, 250, 400, 600, 900, 1500].into_iter().enumerate() {
        let child = started(&project, &url);
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        let (signal, wanted) = if round % 2 == 0 {
            (Signal::SIGINT, 130)
        } else {
            (Signal::SIGTERM, 143)
        };
        kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
        let (code, text) = ended(child).await;
        // Before the program listens, the signal ends it as it ends any other.
        let early = milliseconds < 500 && code == -1;
        assert!(
            code == wanted || early,
            "after {milliseconds} ms: {code}: {text}"
        );
        assert!(early || text.contains("interrupted"), "{text}");
        assert_eq!(clones(&db).await, Vec::<String>::new(), "{milliseconds} ms");
    }
    // For certain in the middle of measuring.
    let client =
        server::connect(&server::server().url("postgres", server::server().superuser())).await;
    let child = started(&project, &url);
    let begun = Instant::now();
    while clones(&db).await.len() < 2 && begun.elapsed() < Duration::from_secs(20) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    measuring(&client).await;
    kill(
        Pid::from_raw(child.id().try_into().unwrap()),
        Signal::SIGINT,
    )
    .unwrap();
    let (code, text) = ended(child).await;
    assert_eq!(code, 130, "{text}");
    assert_eq!(clones(&db).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_crashes_and_comes_back_keeps_no_clone() {
    let server = own_server().await;
    let db = alone(server, "crash").await;
    let project = Project::new();
    project.migration(
        "1_title_idx",
        "create index items_title_idx on items (title);\n",
        "drop index items_title_idx;\n",
    );
    let witness = server::connect(&server.url("postgres", server.superuser())).await;
    let child = started(&project, &db.url);
    let pids = measuring(&witness).await;
    kill(Pid::from_raw(pids[0]), Signal::SIGKILL).unwrap();
    let (code, text) = ended(child).await;
    assert_eq!(code, 2, "{text}");
    for words in ["could not ", "see its log"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert_eq!(clones(&db).await, Vec::<String>::new(), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_is_named_with_what_it_keeps() {
    let server = Throwaway::start(Options::from_env(&server::environment()).unwrap())
        .await
        .unwrap();
    let server: &'static Throwaway = Box::leak(Box::new(server));
    let db = alone(server, "gone").await;
    let project = Project::new();
    std::fs::create_dir(project.0.path().join("migrations")).unwrap();
    let witness = server::connect(&server.url("postgres", server.superuser())).await;
    let child = started(&project, &db.url);
    measuring(&witness).await;
    let row = witness
        .query_one("select pg_read_file('postmaster.pid')", &[])
        .await
        .unwrap();
    let pid = row
        .get::<_, String>(0)
        .lines()
        .next()
        .unwrap()
        .parse()
        .unwrap();
    kill(Pid::from_raw(pid), Signal::SIGQUIT).unwrap();
    let (code, text) = ended(child).await;
    assert_eq!(code, 2, "{text}");
    for words in [
        "could not ",
        "see its log",
        "drop database if exists dbtune_clone_",
        "(force)",
        "measure the workload",
        "The next run drops",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_leaves_nothing() {
    let server = own_server().await;
    let Some(disk) = SmallDisk::mount(server, "46m") else {
        eprintln!("SKIPPED: a full disk: this user may not mount a tmpfs");
        return;
    };
    let admin = server::connect(&server.url("postgres", server.superuser())).await;
    let place = disk.0.path().display();
    let sql = format!("create tablespace small location '{place}'");
    admin.batch_execute(&sql).await.unwrap();
    let db = alone(server, "fulldisk").await;
    let sql = "insert into items select i, repeat('x', 200) from generate_series(5001, 40000) i";
    db.client().await.batch_execute(sql).await.unwrap();
    while admin
        .batch_execute("alter database fulldisk set tablespace small")
        .await
        .is_err()
    {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let project = Project::new();
    project.migration(
        "1_copy",
        "create table copy as select a.* from items a, generate_series(1, 8);\n",
        "drop table copy;\n",
    );
    // No room for the second clone.
    let (code, _, err) = project.dbtune(&db.url, LONG);
    assert_eq!(code, 2, "{err}");
    for words in [
        "could not clone database",
        "53100",
        "free so much",
        "--before URL --after URL",
    ] {
        assert!(err.contains(words), "{words}: {err}");
    }
    assert_eq!(clones(&db).await, Vec::<String>::new());
    // Room for both, and none for what the migration makes of one.
    let grown = std::process::Command::new("mount")
        .args(["-o", "remount,size=80m"])
        .arg(disk.0.path())
        .status();
    assert!(grown.unwrap().success());
    let (code, _, err) = project.dbtune(&db.url, LONG);
    assert_eq!(code, 2, "{err}");
    for words in ["clone \"after\"", "1_copy", "53100"] {
        assert!(err.contains(words), "{words}: {err}");
    }
    assert!(
        !err.contains("dbtune apply"),
        "there is nothing to go on with: {err}"
    );
    assert_eq!(clones(&db).await, Vec::<String>::new());
    admin.batch_execute("drop database fulldisk").await.unwrap();
    admin.batch_execute("drop tablespace small").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_query_and_what_it_may_answer() {
    let (db, _) = tenants::database("blow_answers").await;
    let url = db.url_as("tenants_owner");
    let project = Project::new();
    let bench = |up: &str, sql: &str| {
        let workload = WORKLOAD.replace("select count(*) from items", sql);
        project.put("benchmarks/w.yaml", &workload);
        project.migration("1_change", up, "select 1;\n");
        project.dbtune(
            &url,
            &[
                "bench",
                "--before",
                "--after",
                "--duration",
                "2s",
                "--draws",
                "2",
            ],
        )
    };
    // No rows on either side are an answer.
    let (code, out, err) = bench(
        "comment on table items is 'x';\n",
        "select * from items where id < 0",
    );
    assert!(code == 0 || code == 3, "{code}: {out}{err}");
    assert!(
        out.contains("1 query: 1 ") && !out.contains("DIFFERS"),
        "{out}"
    );
    // Rows on one side only, fewer rows, an error on one side: never compared.
    for (up, sql, words) in [
        (
            "delete from notes where tenant = 7;\n",
            "select * from notes",
            "rows",
        ),
        (
            "delete from items where id = 1007 and not exists (select from notes where item = 1007);\ndelete from notes where item = 1007;\ndelete from items where id = 1007;\n",
            "select id from items",
            "rows",
        ),
        (
            "alter table items rename title to name;\n",
            "select title from items",
            "fails only after the change",
        ),
        (
            "alter table items add name text;\n",
            "select name from items",
            "fails only before the change",
        ),
    ] {
        let (code, out, err) = bench(up, sql);
        assert_eq!(code, 1, "{sql}: {out}{err}");
        assert!(
            out.contains("DIFFERS") && out.contains(words),
            "{words}: {out}"
        );
    }
    // An error on both sides leaves nothing to judge.
    let (code, out, err) = bench("select 1;\n", "select nothing from items");
    assert_eq!(code, 3, "{out}{err}");
    assert!(
        out.contains("fails on both sides") && out.contains("No query could be compared"),
        "{out}"
    );
    assert_eq!(clones(&db).await, Vec::<String>::new());
}
