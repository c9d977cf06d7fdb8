//! Two clones measured in turns: gains are found, nothing is found where nothing changed, and nothing is written.

use crate::pair::Pair;
use crate::tenants;
use dbtune::bench::{Effort, Gate, Judged, judge, measure_pair};
use dbtune::db::{Explain, Limits, Session, Target, Way, explain};
use dbtune::model::{Outcome, Verdict, Workload};
use std::time::Duration;

const INDEX: &str = "create index items_tenant_idx on items (tenant)";

fn effort(seconds: f64, timeout_ms: u64, queries: usize) -> Effort {
    let limits = Limits {
        statement: Duration::from_millis(timeout_ms),
        ..Limits::default()
    };
    Effort {
        duration: Duration::from_secs_f64(seconds),
        limits,
        gate: Gate::new(10.0, queries, limits.statement),
        way: Way::default(),
    }
}

/// Benchmarks `workload` with `change` made on the second clone.
async fn bench(source: &Target, workload: &Workload, change: &str, effort: Effort) -> Judged {
    let pair = Pair::open(source).await.unwrap();
    let session = Session::connect(pair.after(), "test").await.unwrap();
    session.execute("change", change).await.unwrap();
    drop(session);
    pair.settle().await.unwrap();
    let measured = measure_pair(
        pair.before(),
        pair.after(),
        workload,
        effort,
        &mut |_, _, _| {},
    )
    .await
    .unwrap();
    for target in [pair.before(), pair.after()] {
        let session = Session::connect(target, "test").await.unwrap();
        let sql = "select count(*) from items where title = 'renamed'";
        let row = session.client().query_one(sql, &[]).await.unwrap();
        assert_eq!(
            row.get::<_, i64>(0),
            0,
            "what the benchmark wrote was rolled back"
        );
    }
    pair.close().await.unwrap();
    judge(&measured, &effort.gate, true)
}

fn verdicts(judged: &Judged) -> Vec<(&str, Verdict)> {
    judged
        .comparisons
        .iter()
        .map(|c| (c.query.as_str(), c.verdict))
        .collect()
}

#[tokio::test]
async fn an_index_is_a_gain() {
    let (_db, target) = tenants::database("gain").await;
    let mut workload = tenants::workload(&target).await;
    // Far enough from the floor to be told from noise on any machine.
    workload.queries[0].sql = "select sum(s.n) from generate_series(1, 60) g, lateral (select count(*) as n from items where tenant >= g % 7) s".to_owned();
    let judged = bench(&target, &workload, INDEX, effort(3.0, 10_000, 3)).await;
    let count = judged
        .comparisons
        .iter()
        .find(|c| c.query == "count@seven")
        .unwrap();
    assert_eq!(count.verdict, Verdict::Faster, "{count:?}");
    assert!(count.gain > 1.5 && count.plan_changed && count.after.samples >= 30);
    assert!(count.after.buffers < count.before.buffers);
    assert!(
        !verdicts(&judged)
            .iter()
            .any(|(_, v)| *v < Verdict::Inconclusive),
        "{judged:?}"
    );
}

#[tokio::test]
async fn nothing_changed_is_nothing_found() {
    let (_db, target) = tenants::database("same").await;
    let workload = tenants::workload(&target).await;
    for _ in 0..2 {
        let judged = bench(&target, &workload, "select 1", effort(4.0, 10_000, 3)).await;
        assert_eq!(judged.outcome, Outcome::Pass, "{judged:?}");
        assert_eq!(judged.comparisons.len(), 3);
    }
}

#[tokio::test]
async fn slower_fails_the_gate() {
    let (_db, target) = tenants::database("slower").await;
    let mut workload = tenants::workload(&target).await;
    workload.queries.truncate(1);
    let change = "alter policy mine on items using (tenant = (select my_tenant()) and pg_sleep(0.0001)::text = '')";
    let judged = bench(&target, &workload, change, effort(2.0, 10_000, 1)).await;
    assert_eq!(
        verdicts(&judged),
        [("count@seven", Verdict::Slower)],
        "{judged:?}"
    );
    assert_eq!(judged.outcome, Outcome::Fail);
    assert!(judged.comparisons[0].reasons[0].contains("times as long"));
}

#[tokio::test]
async fn other_rows_are_never_compared() {
    let (_db, target) = tenants::database("differs").await;
    let workload = tenants::workload(&target).await;
    for (change, reason) in [
        ("delete from items where tenant = 7 and id > 2000", "rows"),
        (
            "update items set price = -1 where tenant = 7",
            "not the same ones",
        ),
        ("drop policy mine on items", "rows"),
        ("alter table items rename level to grade", "only after"),
    ] {
        let judged = bench(&target, &workload, change, effort(0.2, 10_000, 3)).await;
        assert_eq!(judged.outcome, Outcome::Fail, "{change}");
        let bad: Vec<_> = judged
            .comparisons
            .iter()
            .filter(|c| c.verdict == Verdict::Differs)
            .collect();
        assert!(
            bad.iter().any(|c| c.reasons[0].contains(reason)),
            "{change}: {judged:?}"
        );
    }
}

#[tokio::test]
async fn ties_and_moods_are_not_differences() {
    let (_db, target) = tenants::database("ties").await;
    let mut workload = tenants::workload(&target).await;
    workload.queries.truncate(2);
    workload.queries[0].sql = "select clock_timestamp()".to_owned();
    workload.queries[1].sql =
        "select id from items where $1::int > 0 and $2::text <> '' limit 3".to_owned();
    workload.queries[1].types = vec!["int".to_owned(), "text".to_owned()];
    let change = "create index on items (tenant); update items set level = level where tenant = 7 and id < 500";
    let judged = bench(&target, &workload, change, effort(0.5, 10_000, 2)).await;
    assert!(
        judged
            .comparisons
            .iter()
            .all(|c| c.verdict != Verdict::Differs),
        "{judged:?}"
    );
    assert!(
        judged.gaps.iter().any(|g| g.what.contains("count@seven")),
        "{:?}",
        judged.gaps
    );
}

#[tokio::test]
async fn hopeless_queries_are_cut_off_and_not_averaged() {
    let (_db, target) = tenants::database("hopeless").await;
    let mut workload = tenants::workload(&target).await;
    workload.queries.truncate(1);
    let change = "alter policy mine on items using (tenant = (select my_tenant()) and pg_sleep(0.01)::text = '')";
    let judged = bench(&target, &workload, change, effort(0.5, 500, 1)).await;
    let one = &judged.comparisons[0];
    assert_eq!(one.verdict, Verdict::Slower, "{one:?}");
    assert!(one.after.timeouts >= 2 && one.after.mean_ms == 0.0 && one.after.p95_ms >= 500.0);
    assert!(one.before.timeouts == 0 && one.before.samples >= 30);
}

#[tokio::test]
async fn times_agree_with_the_servers_own() {
    let (db, target) = tenants::database("agree").await;
    let mut workload = tenants::workload(&target).await;
    workload.queries.truncate(1);
    workload.queries[0].sql = "select sum(s.n) from generate_series(1, 20) g, lateral (select count(*) as n from items where tenant >= g % 7) s".to_owned();
    let pair = Pair::open(&target).await.unwrap();
    let mut note = |_, _, _: &str| {};
    let effort = effort(2.0, 10_000, 1);
    let measured = measure_pair(pair.before(), pair.after(), &workload, effort, &mut note)
        .await
        .unwrap();
    // By the clock on the wall: the server's own times have everything in them too.
    let walls = &measured[0].before.latencies_ns;
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of some seconds")]
    let wall_ms = walls.iter().sum::<u64>() as f64 / walls.len() as f64 / 1e6;
    let client = db.client().await;
    let sql =
        "select s.mean_exec_time from pg_stat_statements s join pg_database d on d.oid = s.dbid
        where d.datname = $1 and s.query like 'select sum(s.n)%' and s.toplevel";
    let row = client.query_one(sql, &[&pair.before().dbname]).await;
    let server_ms: f64 = row.unwrap().get(0);
    // The round trip and planning are not in the server's; a first execution with cold caches is.
    let share = server_ms / wall_ms;
    assert!(share > 0.6 && share < 1.3, "{server_ms} of {wall_ms} ms");

    // EXPLAIN counts and looks at its clock, and nothing is taken off its time on a busy machine: it takes no less.
    let session = Session::connect(pair.before(), "test").await.unwrap();
    let mut quickest = f64::INFINITY;
    for _ in 0..10 {
        session
            .begin_query(&workload.queries[0], effort.limits)
            .await
            .unwrap();
        let plan = explain(&session, &workload.queries[0], 0, Explain::Measure).await;
        session.end().await.unwrap();
        quickest = quickest.min(plan.unwrap().execution_ms.unwrap());
    }
    drop(session);
    pair.close().await.unwrap();
    let judged = judge(&measured, &effort.gate, true);
    let median = judged.comparisons[0].before.p50_ms;
    let share = median / quickest;
    assert!(
        share > 0.1 && share < 1.5,
        "{median} ms, EXPLAIN {quickest} ms"
    );
}
