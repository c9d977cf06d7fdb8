//! Hundreds of kills, cuts, crashes and full disks at random moments over apply and rollback, by the binary itself.
//! Slow, so asked for: `make bench-apply`.

use crate::migrate_ground::{Ground, schema_dump};
use crate::migrate_harness::{filled, own_server};
use crate::server;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

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
pub(crate) async fn admin(ground: &Ground) -> Client {
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
            let witness = admin(ground).await;
            let row = witness
                .query_opt(&format!("select pid {pick} limit 1"), &[])
                .await
                .unwrap();
            let Some(row) = row else { return false };
            let pid = nix::unistd::Pid::from_raw(row.get(0));
            // One backend killed: the server throws everybody out and recovers. It notices a moment later.
            let killed = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).is_ok();
            while killed && !witness.is_closed() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            drop(admin(ground).await);
            killed
        }
        Blow::DiskFull => true,
    }
}

/// Runs the binary with `args` and deals it the blow when it has been at work for `after`; whether that hit.
async fn struck(ground: &Ground, blow: Blow, args: &[&str], after: Duration) -> bool {
    if blow == Blow::DiskFull {
        fill_disk(ground, true).await;
    }
    let mut child = ground
        .command(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    if blow != Blow::DiskFull {
        tokio::time::sleep(after).await;
    }
    let hit = strike(ground, blow, &mut child).await;
    child.wait().unwrap();
    if blow == Blow::DiskFull {
        fill_disk(ground, false).await;
    }
    hit
}

async fn invalid_indexes(ground: &Ground) -> i64 {
    let sql = "select count(*) from pg_index where not indisvalid";
    let row = admin(ground).await.query_one(sql, &[]).await.unwrap();
    row.get(0)
}

/// How many blows `DBTUNE_KILLS` asks for.
fn rounds(usual: u64) -> u64 {
    let asked = server::environment();
    let asked = asked.get("DBTUNE_KILLS").and_then(|n| n.parse().ok());
    asked.unwrap_or(usual)
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
    let rounds = rounds(250);
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
        let length = if forward { up } else { down };
        let after = length.mul_f64(random.random_range(0.1..0.95));
        let hit = struck(&ground, blow, args, after).await;
        *hits.entry(blow).or_default() += u64::from(hit);
        invalid += invalid_indexes(&ground).await;
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

/// The useful index stays and the useless one is taken back, or was applied and not judged: then the ledger says so.
#[tokio::test]
#[ignore = "long; make bench-apply"]
async fn blows_while_gains_are_judged() {
    let server = own_server().await;
    let ground = filled(server, "judged", 60_000).await;
    let workload = ground.dir.path().join("workload.yaml");
    std::fs::write(
        &workload,
        format!(
            "version: 1\npersonas:\n  owner:\n    role: {}\nqueries:\n  - name: own\n    personas: [owner]\n    \
             sql: select name from items where tenant = 7\n",
            ground.user
        ),
    )
    .unwrap();
    let client = ground.owner().await;
    client.batch_execute("analyze items").await.unwrap();
    let before = schema_dump(&client).await;
    drop(client);
    let workload = workload.to_str().unwrap();
    let args = ["apply", "--verify-gain", "--workload", workload];
    let back = ["rollback", "--all", "--yes"];
    let begun = Instant::now();
    let whole = ground.dbtune(&args);
    let length = begun.elapsed();
    let text = String::from_utf8_lossy(&whole.stderr);
    assert_eq!(
        whole.status.code(),
        Some(1),
        "one index is of no use: {text}"
    );
    assert!(ground.dbtune(&back).status.success());
    let (mut random, rounds) = (rand_chacha::ChaCha8Rng::seed_from_u64(12), rounds(60));
    let (mut hits, mut taken_back) = (0, 0);
    for round in 0..rounds {
        let blow = BLOWS[usize::try_from(round).unwrap() % BLOWS.len()];
        let after = length.mul_f64(random.random_range(0.3..0.98));
        hits += u64::from(struck(&ground, blow, &args, after).await);
        let when = format!("round {round}, {blow:?}");
        let again = ground.dbtune(&args);
        assert!(
            matches!(again.status.code(), Some(0 | 1)),
            "{when}: {}",
            String::from_utf8_lossy(&again.stderr)
        );
        ground.assert_tidy(&when).await;
        let useless = ground.versions().await.contains(&20_250_101_000_003);
        let there: bool = ground
            .owner()
            .await
            .query_one("select to_regclass('items_name_idx') is not null", &[])
            .await
            .unwrap()
            .get(0);
        assert_eq!(there, useless, "{when}: the ledger is true");
        taken_back += u64::from(!useless);
        let back = ground.dbtune(&back);
        let text = String::from_utf8_lossy(&back.stderr);
        assert!(back.status.success(), "{when}: {text}");
        assert_eq!(schema_dump(&ground.owner().await).await, before, "{when}");
    }
    println!(
        "{rounds} blows over apply --verify-gain, {hits} hit while at work; each time one more run ended right,"
    );
    println!(
        "  with the useless index taken back {taken_back} times and on record as applied, unjudged, else."
    );
}
