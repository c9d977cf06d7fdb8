//! The long tests of apply and rollback on a server of their own: a full disk, and what writers feel. Slow, so asked for: `make bench-apply`.

use crate::migrate_blows::admin;
use crate::migrate_ground::{Ground, ground_on, impatient};
use crate::pgbench::Pgbench;
use crate::server;
use dbtune::db::throwaway::{Options as ServerOptions, Throwaway};
use dbtune::migrate::{Back, Options};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Lives until this process ends; its guardian sees to that.
pub(crate) async fn own_server() -> &'static Throwaway {
    let options = ServerOptions::from_env(&server::environment()).unwrap();
    let server = Throwaway::start(options)
        .await
        .unwrap_or_else(|e| panic!("{e}"));
    Box::leak(Box::new(server))
}

pub(crate) async fn filled(server: &'static Throwaway, label: &str, rows: u32) -> Ground {
    let ground = ground_on(server, label).await;
    ground.usual();
    ground
        .owner()
        .await
        .batch_execute(&format!(
            "insert into items (tenant, name) select i % 997, md5(i::text) from generate_series(1, {rows}) i"
        ))
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

/// Writers of `items` at full speed.
async fn writers(server: &Throwaway, ground: &Ground) -> Pgbench {
    let script = "\\set id random(1, 60000)\nupdate items set name = md5(:id::text || random()::text) where id = :id;\n";
    Pgbench::start(server, (&ground.db.name, &ground.user), 4, &[script]).await
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap()
}

/// A small file system of its own, where this user may mount one.
pub(crate) struct SmallDisk(pub(crate) tempfile::TempDir);

impl SmallDisk {
    /// `size` as mount takes it; `None` where this user may not.
    pub(crate) fn mount(server: &Throwaway, size: &str) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(dir.path())
            .stderr(Stdio::null())
            .status();
        if !mounted.is_ok_and(|s| s.success()) {
            return None;
        }
        let owner = std::fs::metadata(server.socket_dir()).unwrap();
        std::os::unix::fs::chown(dir.path(), Some(owner.uid()), Some(owner.gid())).unwrap();
        Some(Self(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(self.0.path())
            .status();
    }
}

#[tokio::test]
#[ignore = "long; make bench-apply"]
async fn a_full_disk() {
    let server = own_server().await;
    let Some(disk) = SmallDisk::mount(server, "4m") else {
        println!("SKIPPED: a full disk: this user may not mount a tmpfs");
        return;
    };
    let ground = filled(server, "fulldisk", 200_000).await;
    let admin = admin(&ground).await;
    let place = disk.0.path().display();
    admin
        .batch_execute(&format!("create tablespace small location '{place}'"))
        .await
        .unwrap();
    admin
        .batch_execute(&format!("grant create on tablespace small to \"{0}\"; alter role \"{0}\" set default_tablespace = small", ground.user))
        .await
        .unwrap();
    let stop = ground.apply().await.unwrap_err();
    assert!(stop.to_string().contains("53100"), "{stop}");
    println!("full disk: {stop}");
    ground.assert_tidy("after a full disk").await;
    admin
        .batch_execute(&format!(
            "alter role \"{}\" reset default_tablespace",
            ground.user
        ))
        .await
        .unwrap();
    ground.apply().await.unwrap_or_else(|e| panic!("{e}"));
    ground.assert_tidy("after there was room").await;
    ground.rollback(Back::All).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long; make bench-apply"]
async fn writers_feel_no_more_than_a_bare_concurrent_build() {
    let server = own_server().await;
    let ground = filled(server, "stall", 300_000).await;
    for file in [
        "20250101000000_own_policy",
        "20250101000002_notes",
        "20250101000001_items_tenant_idx",
    ] {
        for direction in ["up", "down"] {
            std::fs::remove_file(ground.dir.path().join(format!("{file}.{direction}.sql")))
                .unwrap();
        }
    }
    let client = ground.owner().await;
    let (mut bare, mut ours) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    // Interleaved, so that what else the machine does falls on both.
    for _ in 0..7 {
        let load = writers(server, &ground).await;
        client
            .batch_execute(
                "create index concurrently bare_idx on items (md5(name || tenant), name)",
            )
            .await
            .unwrap();
        client
            .batch_execute("drop index concurrently bare_idx")
            .await
            .unwrap();
        let (p99, longest) = load.stop().tail();
        bare.0.push(p99);
        bare.1.push(longest);
        let load = writers(server, &ground).await;
        ground.apply().await.unwrap();
        ground.rollback(Back::All).await.unwrap();
        let (p99, longest) = load.stop().tail();
        ours.0.push(p99);
        ours.1.push(longest);
    }
    let (bare, ours) = (
        (median(bare.0), median(bare.1)),
        (median(ours.0), median(ours.1)),
    );
    println!(
        "writers at full speed, median of 7 runs each, bare CREATE/DROP INDEX CONCURRENTLY against apply and rollback"
    );
    println!(
        "  p99      {:?} against {:?}: {:.2} times",
        bare.0,
        ours.0,
        ours.0.as_secs_f64() / bare.0.as_secs_f64()
    );
    println!(
        "  longest  {:?} against {:?}: {:.2} times",
        bare.1,
        ours.1,
        ours.1.as_secs_f64() / bare.1.as_secs_f64()
    );
    assert!(ours.0 < bare.0.mul_f64(1.2), "p99 of the writers");
    assert!(
        ours.1 < bare.1.mul_f64(1.2) + Duration::from_millis(20),
        "longest stall of the writers"
    );

    // Rollback under load.
    ground.apply().await.unwrap();
    let load = writers(server, &ground).await;
    let begun = Instant::now();
    ground.rollback(Back::All).await.unwrap();
    let took = begun.elapsed();
    load.stop();
    println!("  rollback under load took {took:?}");
    assert!(took < Duration::from_secs(2));
}

#[tokio::test]
#[ignore = "long; make bench-apply"]
async fn a_transaction_idle_for_long_holds_no_writer_up() {
    let server = own_server().await;
    let ground = filled(server, "idle", 60_000).await;
    let idle = ground.owner().await;
    idle.batch_execute("begin; select count(*) from items")
        .await
        .unwrap();
    let load = writers(server, &ground).await;
    let options = Options {
        retry_for: Duration::from_secs(30),
        ..impatient()
    };
    let begun = Instant::now();
    let stop = ground.apply_with(&options).await.unwrap_err();
    println!(
        "idle transaction: gave up after {:?}: {}",
        begun.elapsed(),
        stop.to_string().lines().next().unwrap_or_default()
    );
    let (p99, longest) = load.stop().tail();
    println!(
        "  writers' p99 {p99:?}, longest {longest:?} with lock_timeout {:?}",
        options.lock_timeout
    );
    assert!(longest < options.lock_timeout + Duration::from_millis(100));
    idle.batch_execute("commit").await.unwrap();
    ground.apply().await.unwrap();
    ground.assert_tidy("after the idle transaction").await;
}
