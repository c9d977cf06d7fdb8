//! Under fire: kills, cancels, locks, other runners.

use crate::migrate_ground::{
    Ground, INDEX_DOWN, INDEX_UP, ground, impatient, schema_dump, silent, wait_until,
};
use crate::server;
use dbtune::migrate::{self, Back, Folder, Interrupter, Options, Reason};
use rand::{RngExt, SeedableRng};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// An index build long enough to be hit in the middle.
async fn slow(label: &str) -> Ground {
    let ground = ground(label).await;
    ground.usual();
    ground
        .owner()
        .await
        .batch_execute("insert into items (tenant, name) select i % 997, md5(i::text) from generate_series(1, 60000) i")
        .await
        .unwrap();
    ground.put(
        "20250101000003_name_idx.up.sql",
        "-- no-transaction\ncreate index concurrently items_name_idx on items (md5(name || tenant), name);\n",
    );
    ground.put(
        "20250101000003_name_idx.down.sql",
        "-- no-transaction\ndrop index concurrently if exists items_name_idx;\n",
    );
    ground
}

/// How often to kill; more with `DBTUNE_KILLS`.
fn kills() -> u64 {
    server::environment()
        .get("DBTUNE_KILLS")
        .and_then(|n| n.parse().ok())
        .unwrap_or(30)
}

#[tokio::test]
async fn killed_at_any_moment_one_more_run_ends_right() {
    let ground = slow("kills").await;
    let client = ground.owner().await;
    let admin = ground.db.client().await;
    let before = schema_dump(&client).await;
    assert_eq!(ground.dbtune(&["apply"]).status.code(), Some(0));
    let wanted = schema_dump(&client).await;
    ground.rollback(Back::All).await.unwrap();
    assert_eq!(schema_dump(&client).await, before);

    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(3);
    let (mut hit, mut half) = (0, 0);
    for round in 0..kills() {
        let forward = round % 2 == 0;
        let args: &[&str] = if forward {
            &["apply"]
        } else {
            &["rollback", "--all", "--yes"]
        };
        let mut child = ground
            .command(args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        tokio::time::sleep(Duration::from_micros(random.random_range(5_000..450_000))).await;
        match round / 2 % 3 {
            0 => drop(child.kill()),
            how => {
                let function = if how == 1 {
                    "pg_terminate_backend"
                } else {
                    "pg_cancel_backend"
                };
                let hits = admin
                    .query(
                        &format!("select {function}(pid) from pg_stat_activity where datname = current_database()
                           and (application_name like 'dbtune apply' or application_name like 'dbtune rollback')"),
                        &[],
                    )
                    .await
                    .unwrap();
                hit += u64::from(!hits.is_empty());
            }
        }
        child.wait().unwrap();
        let left = client
            .query_one("select count(*) from pg_index where not indisvalid", &[])
            .await
            .unwrap();
        half += left.get::<_, i64>(0);
        let when = format!("round {round}, {args:?}");
        let again = ground.dbtune(args);
        assert!(
            again.status.success(),
            "{when}: {}",
            String::from_utf8_lossy(&again.stderr)
        );
        ground.assert_tidy(&when).await;
        let expected = if forward { &wanted } else { &before };
        assert_eq!(&schema_dump(&client).await, expected, "{when}");
        assert_eq!(
            ground.versions().await.len(),
            if forward { 4 } else { 0 },
            "{when}"
        );
    }
    println!(
        "{} kills, {hit} of them hit a session at work, {half} left an invalid index that the next run cleaned up",
        kills()
    );
}

#[tokio::test]
async fn killed_half_way_either_direction_is_a_way_out() {
    let ground = slow("turn").await;
    let client = ground.owner().await;
    let before = schema_dump(&client).await;
    let blocker = ground.owner().await;
    let first = ground.dbtune(&["apply", "--to", "20250101000002"]);
    assert_eq!(first.status.code(), Some(0));
    for killed_at in ["apply", "rollback"] {
        // A writer's open transaction holds the build up, so the kill comes in the middle of it for certain.
        blocker
            .batch_execute("begin; update items set name = name where id = 1")
            .await
            .unwrap();
        let args: &[&str] = if killed_at == "apply" {
            &["apply"]
        } else {
            &["rollback", "--yes"]
        };
        let mut child = ground
            .command(args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_until(&client, "select exists (select from pg_index i join pg_class c on c.oid = indexrelid where not indisvalid and relname like 'items_%_idx')
             or exists (select from pg_stat_activity where application_name = 'dbtune rollback' and wait_event_type = 'Lock')").await;
        child.kill().unwrap();
        child.wait().unwrap();
        blocker.batch_execute("rollback").await.unwrap();
        wait_until(&client, "select not exists (select from pg_stat_activity where application_name like 'dbtune%')").await;
        // The other direction from here, without the folder when going back.
        if killed_at == "apply" {
            let nothing = Folder::default();
            migrate::rollback(
                &ground.target(),
                &nothing,
                Back::All,
                &Options::default(),
                &mut silent,
            )
            .await
            .unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(schema_dump(&client).await, before);
            ground.assert_tidy("back after a killed apply").await;
            let again = ground.apply().await.unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(again.done.len(), 4);
        } else {
            ground
                .rollback(Back::All)
                .await
                .unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(schema_dump(&client).await, before);
        }
    }
}

#[tokio::test]
async fn ten_runners_apply_each_migration_once() {
    let ground = slow("ten").await;
    for runners in [2, 10] {
        let children: Vec<_> = (0..runners)
            .map(|_| {
                let mut command = ground.command(&["apply"]);
                command
                    .stdout(Stdio::null())
                    .stderr(Stdio::piped())
                    .spawn()
                    .unwrap()
            })
            .collect();
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        assert_eq!(ground.versions().await.len(), 4);
        let client = ground.owner().await;
        let most = client
            .query_one(
                "select max(n) from (select count(*) n from dbtune.audit where action = 'apply' and outcome = 'done'
                   and id > coalesce((select max(id) from dbtune.audit where action = 'rollback'), 0) group by version) s",
                &[],
            )
            .await
            .unwrap();
        assert_eq!(most.get::<_, i64>(0), 1);
        ground.assert_tidy("after many runners").await;
        ground.rollback(Back::All).await.unwrap();
    }
}

#[tokio::test]
async fn writers_never_wait_longer_than_the_lock_timeout() {
    let ground = ground("writers").await;
    ground.usual();
    let idle = ground.owner().await;
    idle.batch_execute("begin; select count(*) from items")
        .await
        .unwrap();
    let writer = ground.owner().await;
    let writing = tokio::spawn(async move {
        let mut longest = Duration::ZERO;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(4) {
            let one = Instant::now();
            writer
                .execute("update items set name = 'x' where id = 5", &[])
                .await
                .unwrap();
            longest = longest.max(one.elapsed());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        longest
    });
    let mut retries = 0;
    let options = Options {
        lock_timeout: Duration::from_millis(300),
        retry_for: Duration::from_secs(3),
        ..Options::default()
    };
    let stop = migrate::apply(&ground.target(), &ground.folder(), &options, &mut |event| {
        retries += i32::from(matches!(event, migrate::Event::Retry { .. }));
    })
    .await
    .unwrap_err();
    assert!(stop.to_string().contains("55P03"), "{stop}");
    assert!(!stop.changed(), "{stop}");
    assert!(retries > 2, "gave way {retries} times");
    let longest = writing.await.unwrap();
    assert!(
        longest > Duration::from_millis(100),
        "the test must have been in the way: {longest:?}"
    );
    assert!(
        longest < Duration::from_millis(450),
        "a writer waited {longest:?}"
    );
    assert!(ground.versions().await.is_empty());
    idle.batch_execute("commit").await.unwrap();
    assert_eq!(ground.apply().await.unwrap().done.len(), 3);
}

#[tokio::test]
async fn a_build_that_cannot_end_leaves_nothing_behind() {
    let ground = ground("held").await;
    ground.put("1_i.up.sql", INDEX_UP);
    ground.put("1_i.down.sql", INDEX_DOWN);
    let client = ground.owner().await;
    let holder = ground.owner().await;
    // A snapshot elsewhere: the build waits for it at its very end, when the index is maintained already.
    holder
        .batch_execute("begin isolation level repeatable read; select 1 from pg_class limit 1")
        .await
        .unwrap();
    let stop = ground.apply_with(&impatient()).await.unwrap_err();
    assert!(stop.to_string().contains("55P03"), "{stop}");
    holder.batch_execute("commit").await.unwrap();
    let left = client
        .query("select from pg_index where not indisvalid", &[])
        .await
        .unwrap();
    // The drop waits for the same snapshot; what it could not finish is on record, and the next run ends it.
    assert!(left.is_empty() || stop.changed(), "{stop}");
    ground.apply().await.unwrap_or_else(|e| panic!("{e}"));
    ground.assert_tidy("after the holder went").await;
}

#[tokio::test]
async fn a_unique_violation_is_told_apart_and_cleaned_up() {
    let ground = ground("unique").await;
    ground.put(
        "1_u.up.sql",
        &INDEX_UP.replace("create index", "create unique index"),
    );
    ground.put("1_u.down.sql", INDEX_DOWN);
    let begun = Instant::now();
    let stop = ground.apply().await.unwrap_err();
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "it must not be tried again"
    );
    assert!(stop.to_string().contains("duplicates"), "{stop}");
    assert!(!stop.changed(), "{stop}");
    ground.assert_tidy("after a unique violation").await;
}

#[tokio::test]
async fn an_interrupt_ends_the_work_on_the_server() {
    let ground = ground("stop").await;
    ground.put("1_i.up.sql", INDEX_UP);
    ground.put("1_i.down.sql", INDEX_DOWN);
    let client = ground.owner().await;
    let holder = ground.owner().await;
    holder
        .batch_execute("begin; update items set name = name where id = 1")
        .await
        .unwrap();
    let (interrupter, interrupt) = Interrupter::new();
    let options = Options {
        interrupt,
        ..Options::default()
    };
    let run = tokio::spawn({
        let (target, folder) = (ground.target(), ground.folder());
        async move { migrate::apply(&target, &folder, &options, &mut silent).await }
    });
    wait_until(
        &client,
        "select exists (select from pg_index where not indisvalid)",
    )
    .await;
    interrupter.stop(130);
    // The clean-up waits for the same writer.
    tokio::time::sleep(Duration::from_millis(300)).await;
    holder.batch_execute("commit").await.unwrap();
    let stop = tokio::time::timeout(Duration::from_secs(15), run)
        .await
        .unwrap()
        .unwrap()
        .unwrap_err();
    assert!(matches!(stop.reason, Reason::Interrupted(130)), "{stop}");
    assert!(!stop.changed(), "{stop}");
    ground.assert_tidy("after an interrupt").await;

    // The same through the binary and a real signal: once before anything was changed, once after.
    for (first, code) in [(None, 130), (Some("create table first (a int)"), 4)] {
        if let Some(up) = first {
            std::fs::rename(
                ground.dir.path().join("1_i.up.sql"),
                ground.dir.path().join("2_i.up.sql"),
            )
            .unwrap();
            std::fs::rename(
                ground.dir.path().join("1_i.down.sql"),
                ground.dir.path().join("2_i.down.sql"),
            )
            .unwrap();
            ground.put("1_first.up.sql", up);
            ground.put("1_first.down.sql", "drop table first");
        }
        holder
            .batch_execute("begin; update items set name = name where id = 1")
            .await
            .unwrap();
        let mut command = ground.command(&["apply"]);
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        wait_until(
            &client,
            "select exists (select from pg_index where not indisvalid)",
        )
        .await;
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        holder.batch_execute("commit").await.unwrap();
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert_eq!(text.contains("Next: dbtune apply"), code == 4, "{text}");
        ground.assert_tidy("after a signal").await;
    }
}

#[tokio::test]
async fn emergency_rollback_ends_only_idle_transactions() {
    let ground = ground("emergency").await;
    ground.put("1_i.up.sql", INDEX_UP);
    ground.put("1_i.down.sql", INDEX_DOWN);
    ground.apply().await.unwrap();
    let idle = ground.owner().await;
    idle.batch_execute("begin; select count(*) from items")
        .await
        .unwrap();
    let stop = migrate::rollback(
        &ground.target(),
        &ground.folder(),
        Back::All,
        &Options {
            now: true,
            ..impatient()
        },
        &mut silent,
    )
    .await
    .unwrap_err();
    assert!(stop.to_string().contains("55P03"), "{stop}");
    let mut ended = 0;
    let begun = Instant::now();
    migrate::rollback(
        &ground.target(),
        &ground.folder(),
        Back::All,
        &Options {
            now: true,
            kill_blockers: true,
            lock_timeout: Duration::from_millis(500),
            ..Options::default()
        },
        &mut |event| ended += i32::from(matches!(event, migrate::Event::Ended(_))),
    )
    .await
    .unwrap_or_else(|e| panic!("{e}"));
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(ended, 1);
    ground.assert_tidy("after an emergency").await;
}

#[tokio::test]
async fn names_with_quotes_and_spaces() {
    let ground = ground("names").await;
    let client = ground.owner().await;
    client
        .batch_execute(
            r#"create schema "My ""s"""; create table "My ""s"""."Tab.le" ("Col ""umn" int)"#,
        )
        .await
        .unwrap();
    ground.put(
        "1_q.up.sql",
        r#"-- no-transaction
create index concurrently "An ""idx""" on "My ""s"""."Tab.le" ("Col ""umn");"#,
    );
    ground.put(
        "1_q.down.sql",
        r#"-- no-transaction
drop index concurrently if exists "My ""s"""."An ""idx""";"#,
    );
    let before = schema_dump(&client).await;
    ground.apply().await.unwrap_or_else(|e| panic!("{e}"));
    let status = migrate::status(&ground.target(), &ground.folder())
        .await
        .unwrap();
    assert!(status.is_clean(), "{status:?}");
    client.batch_execute(r#"drop index "My ""s"""."An ""idx"""; create index "An ""idx""" on "My ""s"""."Tab.le" (("Col ""umn" + 1))"#).await.unwrap();
    let status = migrate::status(&ground.target(), &ground.folder())
        .await
        .unwrap();
    assert!(
        status.lines[0].drift[0].contains("another one now"),
        "{status:?}"
    );
    ground
        .rollback(Back::All)
        .await
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(schema_dump(&client).await, before);
}

#[tokio::test]
async fn a_tool_that_waits_inside_the_server_is_named() {
    use sqlx::migrate::Migrate;
    let ground = ground("deadlock").await;
    ground.put("1_i.up.sql", INDEX_UP);
    ground.put("1_i.down.sql", INDEX_DOWN);
    let client = ground.owner().await;
    let holder = ground.owner().await;
    holder
        .batch_execute("begin; update items set name = name where id = 1")
        .await
        .unwrap();
    let run = tokio::spawn({
        let (target, folder) = (ground.target(), ground.folder());
        async move { migrate::apply(&target, &folder, &Options::default(), &mut silent).await }
    });
    wait_until(
        &client,
        "select exists (select from pg_index where not indisvalid)",
    )
    .await;
    let mut other = ground.sqlx().await;
    let waiting = tokio::spawn(async move {
        let _ = other.lock().await;
    });
    wait_until(
        &client,
        "select exists (select from pg_locks where locktype = 'advisory' and not granted)",
    )
    .await;
    // Past its own deadlock_timeout, after which only the build looks for the deadlock.
    tokio::time::sleep(Duration::from_millis(1_300)).await;
    holder.batch_execute("commit").await.unwrap();
    let stop = tokio::time::timeout(Duration::from_secs(30), run)
        .await
        .unwrap()
        .unwrap()
        .unwrap_err();
    assert!(stop.to_string().contains("pg_cancel_backend"), "{stop}");
    waiting.abort();
    wait_until(
        &client,
        "select not exists (select from pg_locks where locktype = 'advisory')",
    )
    .await;
    ground.apply().await.unwrap_or_else(|e| panic!("{e}"));
    ground.assert_tidy("after the deadlock").await;
}

#[tokio::test]
async fn a_reindex_that_gave_way_leaves_no_copy_behind() {
    let ground = ground("reindex").await;
    let client = ground.owner().await;
    client
        .batch_execute("create index items_name_idx on items (name)")
        .await
        .unwrap();
    ground.put(
        "1_r.up.sql",
        "-- no-transaction\nreindex index concurrently items_name_idx;\n",
    );
    ground.put("1_r.down.sql", "select 1;");
    ground.put("2_v.up.sql", "-- no-transaction\nvacuum items;\n");
    ground.put("2_v.down.sql", "select 1;");
    // Long enough for the copy to be built, short enough for the run to give up.
    let holder = ground.owner().await;
    holder
        .batch_execute("begin isolation level repeatable read; select 1 from pg_class limit 1")
        .await
        .unwrap();
    let mut command =
        ground.command(&["apply", "--build-timeout", "300ms", "--retry-for", "500ms"]);
    let child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until(
        &client,
        "select exists (select from pg_class where relname = 'items_name_idx_ccnew')",
    )
    .await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    holder.batch_execute("commit").await.unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        assert!(text.contains("55P03"), "{text}");
        ground.apply().await.unwrap_or_else(|e| panic!("{e}"));
    }
    ground.assert_tidy("after a reindex").await;
    assert_eq!(ground.versions().await, [1, 2]);
    assert_eq!(ground.rollback(Back::All).await.unwrap().done.len(), 2);
}
