//! The long tests of apply and rollback on a server of their own: hundreds of kills, crashes of the server, a full
//! disk, and what writers feel. Slow, so asked for: `make bench-apply`.

use crate::migrate_ground::{Ground, ground_on, impatient, schema_dump};
use crate::server;
use dbtune::db::throwaway::{Options as ServerOptions, Throwaway};
use dbtune::migrate::{Back, Options};
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio_postgres::Client;

/// Lives until this process ends; its guardian sees to that.
async fn own_server() -> &'static Throwaway {
    let options = ServerOptions::from_env(&server::environment()).unwrap();
    let server = Throwaway::start(options)
        .await
        .unwrap_or_else(|e| panic!("{e}"));
    Box::leak(Box::new(server))
}

async fn filled(server: &'static Throwaway, label: &str, rows: u32) -> Ground {
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Blow {
    KillClient,
    CutConnection,
    CancelStatement,
    CrashServer,
    DiskFull,
}

const BLOWS: [Blow; 5] = [
    Blow::KillClient,
    Blow::CutConnection,
    Blow::CancelStatement,
    Blow::CrashServer,
    Blow::DiskFull,
];

/// A session of the superuser, as soon as the server takes one.
async fn admin(ground: &Ground) -> Client {
    let begun = Instant::now();
    loop {
        if let Ok((client, connection)) =
            tokio_postgres::connect(&ground.db.url, tokio_postgres::NoTls).await
        {
            tokio::spawn(connection);
            return client;
        }
        assert!(
            begun.elapsed() < Duration::from_mins(1),
            "the server does not come back"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The sort of a build spills to disk; a limit on temporary files ends it as a full disk does, at whatever point.
async fn fill_disk(ground: &Ground, full: bool) {
    let limit = if full {
        "alter role {} set temp_file_limit = '1MB'"
    } else {
        "alter role {} reset temp_file_limit"
    };
    let role = format!("\"{}\"", ground.user);
    let memory = if full {
        "alter role {} set maintenance_work_mem = '1MB'"
    } else {
        "alter role {} reset maintenance_work_mem"
    };
    let admin = admin(ground).await;
    for sql in [limit, memory] {
        admin
            .batch_execute(&sql.replace("{}", &role))
            .await
            .unwrap();
    }
}

async fn strike(ground: &Ground, blow: Blow, child: &mut std::process::Child) -> bool {
    let pick = "from pg_stat_activity where datname = current_database() and application_name in ('dbtune apply', 'dbtune rollback')";
    match blow {
        Blow::KillClient => {
            let alive = child.try_wait().unwrap().is_none();
            drop(child.kill());
            alive
        }
        Blow::CutConnection | Blow::CancelStatement => {
            let function = if blow == Blow::CutConnection {
                "pg_terminate_backend"
            } else {
                "pg_cancel_backend"
            };
            let sql = format!("select {function}(pid) {pick}");
            !admin(ground)
                .await
                .query(&sql, &[])
                .await
                .unwrap()
                .is_empty()
        }
        Blow::CrashServer => {
            let row = admin(ground)
                .await
                .query_opt(&format!("select pid {pick} limit 1"), &[])
                .await
                .unwrap();
            let Some(row) = row else { return false };
            let pid = nix::unistd::Pid::from_raw(row.get(0));
            // One backend killed: the server throws everybody out and recovers.
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).is_ok()
        }
        Blow::DiskFull => true,
    }
}

#[tokio::test]
#[ignore = "long; make bench-apply"]
async fn hundreds_of_blows() {
    let server = own_server().await;
    let ground = filled(server, "blows", 60_000).await;
    let client = ground.owner().await;
    let before = schema_dump(&client).await;
    // A blow is to fall while the binary is at work, so each direction's length is measured first.
    let timed = |args: &[&str]| {
        let begun = Instant::now();
        assert!(ground.dbtune(args).status.success());
        begun.elapsed()
    };
    let up = timed(&["apply"]);
    let wanted = schema_dump(&client).await;
    let down = timed(&["rollback", "--all", "--yes"]);
    drop(client);
    let rounds: u64 = server::environment()
        .get("DBTUNE_KILLS")
        .and_then(|n| n.parse().ok())
        .unwrap_or(250);
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(11);
    let mut hits: BTreeMap<Blow, u64> = BTreeMap::new();
    let mut invalid = 0;
    for round in 0..rounds {
        let forward = round % 2 == 0;
        let blow = BLOWS[usize::try_from(round / 2).unwrap() % BLOWS.len()];
        let args: &[&str] = if forward {
            &["apply"]
        } else {
            &["rollback", "--all", "--yes"]
        };
        if blow == Blow::DiskFull {
            fill_disk(&ground, true).await;
        }
        let mut child = ground
            .command(args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        if blow != Blow::DiskFull {
            let length = if forward { up } else { down };
            tokio::time::sleep(length.mul_f64(random.random_range(0.1..0.95))).await;
        }
        let hit = strike(&ground, blow, &mut child).await;
        *hits.entry(blow).or_default() += u64::from(hit);
        child.wait().unwrap();
        if blow == Blow::DiskFull {
            fill_disk(&ground, false).await;
        }
        if blow == Blow::CrashServer {
            // The server notices the death of a process a moment later.
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let admin = admin(&ground).await;
        let left = admin
            .query_one("select count(*) from pg_index where not indisvalid", &[])
            .await
            .unwrap();
        invalid += left.get::<_, i64>(0);
        let when = format!("round {round}, {blow:?}, {args:?}");
        let again = ground.dbtune(args);
        assert!(
            again.status.success(),
            "{when}: {}",
            String::from_utf8_lossy(&again.stderr)
        );
        ground.assert_tidy(&when).await;
        let client = ground.owner().await;
        assert_eq!(
            &schema_dump(&client).await,
            if forward { &wanted } else { &before },
            "{when}"
        );
        assert_eq!(
            ground.versions().await.len(),
            if forward { 4 } else { 0 },
            "{when}"
        );
    }
    println!(
        "{rounds} blows at random moments over apply and rollback; each time one more run ended right."
    );
    println!("  hit while at work: {hits:?}");
    println!("  left an invalid index, which the next run dropped or finished: {invalid}");
}

/// Latencies of writers that do nothing else.
struct Writers {
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<Vec<Duration>>>,
}

impl Writers {
    async fn start(ground: &Ground, number: i64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for writer in 0..number {
            let client = ground.owner().await;
            let stop = Arc::clone(&stop);
            tasks.push(tokio::spawn(async move {
                let update = client
                    .prepare("update items set name = md5($1::int8::text) where id = $1")
                    .await
                    .unwrap();
                let mut latencies = Vec::new();
                let mut id = writer;
                while !stop.load(Ordering::Relaxed) {
                    id = (id + 7919) % 60_000 + 1;
                    let begun = Instant::now();
                    client.execute(&update, &[&id]).await.unwrap();
                    latencies.push(begun.elapsed());
                }
                latencies
            }));
        }
        Self { stop, tasks }
    }

    /// p99 and the longest.
    async fn stop(self) -> (Duration, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for task in self.tasks {
            all.extend(task.await.unwrap());
        }
        all.sort();
        (
            all.get(all.len() * 99 / 100).copied().unwrap(),
            all.last().copied().unwrap(),
        )
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap()
}

/// A small file system of its own, where this user may mount one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(server: &Throwaway) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
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
    let Some(disk) = SmallDisk::mount(server) else {
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
        let writers = Writers::start(&ground, 4).await;
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
        let (p99, longest) = writers.stop().await;
        bare.0.push(p99);
        bare.1.push(longest);
        let writers = Writers::start(&ground, 4).await;
        ground.apply().await.unwrap();
        ground.rollback(Back::All).await.unwrap();
        let (p99, longest) = writers.stop().await;
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
    let writers = Writers::start(&ground, 4).await;
    let begun = Instant::now();
    ground.rollback(Back::All).await.unwrap();
    let took = begun.elapsed();
    writers.stop().await;
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
    let writers = Writers::start(&ground, 4).await;
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
    let (p99, longest) = writers.stop().await;
    println!(
        "  writers' p99 {p99:?}, longest {longest:?} with lock_timeout {:?}",
        options.lock_timeout
    );
    assert!(longest < options.lock_timeout + Duration::from_millis(100));
    idle.batch_execute("commit").await.unwrap();
    ground.apply().await.unwrap();
    ground.assert_tidy("after the idle transaction").await;
}
