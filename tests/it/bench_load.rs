//! Several clients at once, executions at a fixed rate, and cold caches.

use crate::audit_run::{dbtune, write};
use crate::pair::Pair;
use crate::tenants;
use dbtune::bench::{
    Effort, Gate, Pace, Shape, judge, measure_one_under, measure_pair_under, saturate,
};
use dbtune::db::{Limits, Session, Target, Way};
use dbtune::model::{Demand, Outcome, Query, Samples, Verdict, Workload};
use std::time::{Duration, Instant};

fn effort(seconds: f64, queries: usize) -> Effort {
    let limits = Limits::default();
    Effort {
        duration: Duration::from_secs_f64(seconds),
        limits,
        gate: Gate::new(10.0, queries, limits.statement),
        way: Way::default(),
    }
}

fn at_a_rate(rate: f64, clients: usize) -> Demand {
    Demand {
        clients,
        rate: Some(rate),
        ..Demand::default()
    }
}

/// The first query, made to take twenty milliseconds.
fn slow(mut workload: Workload) -> Workload {
    workload.queries.truncate(1);
    "select pg_sleep(0.02)".clone_into(&mut workload.queries[0].sql);
    workload
}

async fn one_side(target: &Target, workload: &Workload, demand: Demand) -> (Samples, Vec<Pace>) {
    let mut note = |_, _, _: &str| {};
    let (mut samples, paces) =
        measure_one_under(target, workload, effort(4.0, 1), demand, &mut note)
            .await
            .unwrap();
    (samples.remove(0), paces)
}

#[tokio::test]
async fn clients_run_at_the_same_time_with_the_same_draws_on_both_sides() {
    let (_db, target) = tenants::database("clients").await;
    let workload = tenants::workload(&target).await;
    let pair = Pair::open(&target).await.unwrap();
    let demand = Demand {
        clients: 4,
        ..Demand::default()
    };
    let mut note = |_, _, _: &str| {};
    let effort = effort(3.0, 3);
    let (before, after) = (pair.before(), pair.after());
    let (measured, paces) = measure_pair_under(before, after, &workload, effort, demand, &mut note)
        .await
        .unwrap();
    // What four clients wrote at once was rolled back.
    let session = Session::connect(before, "test").await.unwrap();
    let renamed = "select count(*)::text from items where title = 'renamed'";
    assert_eq!(session.texts("look", renamed).await.unwrap(), ["0"]);
    drop(session);
    pair.close().await.unwrap();
    assert!(paces.is_empty());
    for one in &measured {
        let (b, a) = (&one.before, &one.after);
        assert_eq!(b.error, None);
        assert_eq!((b.demand, a.demand), (demand, demand));
        assert!(b.latencies_ns.len() >= 100, "{}", b.latencies_ns.len());
        assert_eq!(b.latencies_ns.len(), b.blocks.iter().sum::<usize>());
        assert!(
            b.blocks.iter().all(|block| block % 4 == 0),
            "{:?}",
            b.blocks
        );
        let shared = b.draws.len().min(a.draws.len());
        assert_eq!(b.draws[..shared], a.draws[..shared]);
        assert_eq!((&b.rows, &b.digests), (&a.rows, &a.digests));
        // What clients make each other wait is not somebody else's.
        assert!(b.taken_ns.iter().all(|ns| *ns == 0));
        assert!(b.histogram.as_ref().unwrap().starts_with("HISTFAAAA"));
    }
    let judged = judge(&measured, &effort.gate, true);
    assert!(
        judged
            .comparisons
            .iter()
            .all(|c| c.verdict > Verdict::Costlier),
        "{judged:?}"
    );
}

#[tokio::test]
async fn clients_do_not_wait_for_each_other() {
    let (_db, target) = tenants::database("side_by_side").await;
    let query = Query {
        persona: tenants::workload(&target).await.personas[0].clone(),
        id: "sleep@seven".to_owned(),
        sql: "select pg_sleep(0.02)".to_owned(),
        ..Query::default()
    };
    let start = Instant::now();
    let (latencies, took) = saturate(&target, &query, 8, 80, Shape::Transaction)
        .await
        .unwrap();
    assert_eq!(latencies.len(), 80);
    assert!(latencies.iter().all(|ns| *ns >= 20_000_000));
    // One after the other they would take 1.6 s.
    assert!(took < Duration::from_millis(1200), "{took:?}");
    assert!(took <= start.elapsed());
}

#[tokio::test]
async fn beyond_capacity_the_wait_from_the_intended_start_is_counted() {
    let (_db, target) = tenants::database("beyond").await;
    let workload = slow(tenants::workload(&target).await);
    // One client can do fewer than fifty a second.
    let (samples, paces) = one_side(&target, &workload, at_a_rate(100.0, 1)).await;
    let service: Vec<_> = samples.service_ns.iter().map(|ns| ns / 1_000_000).collect();
    let latency: Vec<_> = samples
        .latencies_ns
        .iter()
        .map(|ns| ns / 1_000_000)
        .collect();
    assert_eq!(service.len(), latency.len());
    assert!(service.iter().zip(&latency).all(|(s, l)| s <= l));
    let middle = |mut all: Vec<u64>| {
        all.sort_unstable();
        all[all.len() / 2]
    };
    // A closed loop would say twenty milliseconds for both.
    let (service, latency) = (middle(service), middle(latency));
    assert!(latency >= service + 40, "{service} ms, waited {latency} ms");
    let pace = &paces[0];
    assert!(
        !pace.kept_up() && pace.sent < 60.0 && pace.asked > 70.0,
        "{pace:?}"
    );
}

#[tokio::test]
async fn within_capacity_the_rate_is_kept_and_both_sides_have_the_same_schedule() {
    let (_db, target) = tenants::database("within").await;
    let mut workload = tenants::workload(&target).await;
    workload.queries.truncate(2);
    workload.queries[0].weight = 3.0;
    let pair = Pair::open(&target).await.unwrap();
    let mut note = |_, _, _: &str| {};
    let (effort, demand) = (effort(6.0, 2), at_a_rate(40.0, 8));
    let (before, after) = (pair.before(), pair.after());
    let (measured, paces) = measure_pair_under(before, after, &workload, effort, demand, &mut note)
        .await
        .unwrap();
    pair.close().await.unwrap();
    for pace in &paces {
        assert!(pace.kept_up() && pace.lag_ms < 20.0, "{pace:?}");
    }
    let count = |samples: &Samples| samples.latencies_ns.len();
    for one in &measured {
        assert_eq!(one.before.draws, one.after.draws, "{}", one.query);
        assert_eq!(one.before.blocks, one.after.blocks, "{}", one.query);
    }
    let (often, rarely) = (count(&measured[0].before), count(&measured[1].before));
    assert!(often > rarely && rarely > 0, "{often} and {rarely}");
    let judged = judge(&measured, &effort.gate, true);
    assert_ne!(judged.outcome, Outcome::Fail, "{judged:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_says_what_the_load_was_and_refuses_what_it_cannot_do() {
    let (db, _) = tenants::database("pressing").await;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "w.yaml", tenants::WORKLOAD);
    let url = db.url_as("tenants_owner");
    let bench = |arguments: &[&str]| {
        let common = [
            "--db",
            &url,
            "bench",
            "--workload",
            "w.yaml",
            "--duration",
            "2s",
            "--only",
            "find",
        ];
        dbtune(folder.path(), &[&common, arguments].concat())
    };
    let ran = bench(&["--before", "-o", "b.json", "--rate", "30", "--clients", "3"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(
        ran.out.contains("intended start") && ran.out.contains("3 clients"),
        "{}{}",
        ran.out,
        ran.err
    );
    let recorded = std::fs::read_to_string(folder.path().join("b.json")).unwrap();
    assert!(recorded.contains("\"service_ns\":[") && recorded.contains("HISTFAAAA"));

    let ran = bench(&["--after", "--baseline", "b.json", "--clients", "3"]);
    assert_eq!(ran.code, 2, "{}{}", ran.out, ran.err);
    assert!(
        ran.err.contains("with 3 clients at 30 executions a second"),
        "{}{}",
        ran.out,
        ran.err
    );

    for wrong in [
        &["--rate", "0"][..],
        &["--rate", "inf"],
        &["--clients", "0"],
        &["--cold", "--rate", "5"],
    ] {
        let ran = bench(&[&["--before", "-o", "b.json"], wrong].concat());
        assert_eq!(ran.code, 2, "{wrong:?}: {}", ran.err);
    }
    let ran = bench(&["--before", "-o", "b.json", "--cold"]);
    assert_eq!(ran.code, 2, "{}{}", ran.out, ran.err);
    let (major, _) = crate::server::server().version();
    let wanted = if major < 17 {
        "PostgreSQL 17 or later"
    } else {
        "superuser;"
    };
    assert!(ran.err.contains(wanted), "{}{}", ran.out, ran.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn cold_executions_read_what_warm_ones_have_at_hand() {
    if crate::server::server().version().0 < 17 {
        eprintln!("SKIPPED: only PostgreSQL 17 and later can empty their caches");
        return;
    }
    let (db, target) = tenants::database("cold").await;
    let superuser = Target::resolve(Some(&db.url), &std::collections::BTreeMap::default()).unwrap();
    let workload = tenants::workload(&target).await;
    let demand = Demand {
        cold: true,
        ..Demand::default()
    };
    let mut note = |_, _, _: &str| {};
    let refused = measure_one_under(&superuser, &workload, effort(2.0, 3), demand, &mut note).await;
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("create extension pg_buffercache;"),
        "{refused}"
    );
    let client = db.client().await;
    client
        .batch_execute("create extension pg_buffercache")
        .await
        .unwrap();
    let (cold, _) = measure_one_under(&superuser, &workload, effort(2.0, 3), demand, &mut note)
        .await
        .unwrap();
    let warm = Demand::default();
    let (warm, _) = measure_one_under(&superuser, &workload, effort(2.0, 3), warm, &mut note)
        .await
        .unwrap();
    let least = |samples: &Samples| samples.latencies_ns.iter().min().copied().unwrap();
    // The primary key: three pages to read where a warm server reads none.
    assert!(cold[1].latencies_ns.len() >= 10 && cold[1].demand.cold);
    assert!(
        least(&cold[1]) > least(&warm[1]),
        "{:?}",
        (least(&cold[1]), least(&warm[1]))
    );
}
