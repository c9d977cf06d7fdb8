//! A benchmark that cannot be what it should: a clear outcome each time.

use crate::pair::Pair;
use crate::{server, tenants};
use dbtune::bench::{Effort, Gate, judge, measure_pair};
use dbtune::db::throwaway::{Options, Throwaway};
use dbtune::db::{Limits, Plans, Protocol, Session, Target, Way};
use dbtune::model::{Outcome, Persona, PlanChange, Query, Samples, Thresholds, Verdict, Workload};
use std::collections::BTreeMap;
use std::time::Duration;

fn effort(seconds: f64, way: Way) -> Effort {
    let limits = Limits::default();
    Effort {
        duration: Duration::from_secs_f64(seconds),
        limits,
        gate: Gate::new(10.0, 1, limits.statement),
        way,
    }
}

fn query(role: &str, sql: &str) -> Workload {
    let persona = Persona {
        name: "p".to_owned(),
        role: role.to_owned(),
        settings: BTreeMap::default(),
    };
    Workload {
        personas: vec![persona.clone()],
        queries: vec![Query {
            id: "q@p".to_owned(),
            name: "q".to_owned(),
            persona,
            sql: sql.to_owned(),
            draws: vec![Vec::new()],
            weight: 1.0,
            slo_ms: 100.0,
            ..Query::default()
        }],
    }
}

#[tokio::test]
async fn a_server_that_dies_ends_the_run_with_an_error() {
    let server = Throwaway::start(Options::from_env(&server::environment()).unwrap())
        .await
        .unwrap();
    let client = server::connect(&server.url("postgres", server.superuser())).await;
    client.batch_execute("create database d").await.unwrap();
    drop(client);
    let target = Target::resolve(
        Some(&server.url("d", server.superuser())),
        &BTreeMap::default(),
    )
    .unwrap();
    let pair = Pair::open(&target).await.unwrap();
    let workload = query(server.superuser(), "select pg_sleep(0.02)");
    let mut note = |_, _, _: &str| {};
    let measuring = measure_pair(
        pair.before(),
        pair.after(),
        &workload,
        effort(60.0, Way::default()),
        &mut note,
    );
    let killing = async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        server.stop().await.unwrap();
    };
    let (measured, ()) = tokio::join!(measuring, killing);
    let error = measured.unwrap_err().to_string();
    assert!(error.starts_with("could not "), "{error}");
}

#[tokio::test]
async fn no_rows_on_either_side_are_the_same_answer() {
    let (_db, target) = tenants::database("no_rows").await;
    let workload = query("tenants_app", "select * from items where id < 0");
    let pair = Pair::open(&target).await.unwrap();
    let mut note = |_, _, _: &str| {};
    let effort = effort(4.0, Way::default());
    let measured = measure_pair(pair.before(), pair.after(), &workload, effort, &mut note)
        .await
        .unwrap();
    pair.close().await.unwrap();
    let judged = judge(&measured, &effort.gate, true);
    assert_eq!(judged.outcome, Outcome::Pass, "{judged:?}");
    let one = &judged.comparisons[0];
    assert_eq!((one.after.rows, one.verdict), (0, Verdict::Same));
    assert!(one.after.setup_ms > 0.0 && one.after.ecdf_ms.len() <= 100);
}

#[tokio::test]
async fn every_protocol_and_plan_gives_the_same_rows() {
    let (_db, target) = tenants::database("ways").await;
    let mut workload = tenants::workload(&target).await;
    workload.queries.truncate(2);
    let pair = Pair::open(&target).await.unwrap();
    let ways = [
        (Protocol::Simple, Plans::Custom),
        (Protocol::Extended, Plans::Custom),
        (Protocol::Prepared, Plans::Auto),
        (Protocol::Prepared, Plans::Generic),
    ];
    for (protocol, plans) in ways {
        let way = Way { protocol, plans };
        let mut note = |_, _, _: &str| {};
        let effort = effort(0.3, way);
        let measured = measure_pair(pair.before(), pair.after(), &workload, effort, &mut note)
            .await
            .unwrap();
        for one in &measured {
            assert_eq!(one.after.error, None, "{way:?}");
            assert_eq!(one.before.rows, one.after.rows, "{way:?}");
            assert_eq!(one.before.digests, one.after.digests, "{way:?}");
            assert!(one.after.buffers > Some(0) && one.after.plan.is_some());
        }
    }
    pair.close().await.unwrap();
}

#[tokio::test]
async fn plans_and_buffers_may_fail_the_gate_without_a_clock() {
    let (_db, target) = tenants::database("costlier").await;
    let mut workload = tenants::workload(&target).await;
    workload.queries.truncate(1);
    let pair = Pair::open(&target).await.unwrap();
    let session = Session::connect(pair.before(), "test").await.unwrap();
    session
        .execute("index", "create index items_tenant_idx on items (tenant)")
        .await
        .unwrap();
    drop(session);
    let mut note = |_, _, _: &str| {};
    let effort = effort(4.0, Way::default());
    let mut measured = measure_pair(pair.before(), pair.after(), &workload, effort, &mut note)
        .await
        .unwrap();
    pair.close().await.unwrap();
    // What the clock says is not the subject here: both sides get the same latencies.
    let after = measured[0].after.clone();
    let before = &mut measured[0].before;
    *before = Samples {
        buffers: before.buffers,
        plan: before.plan.clone(),
        ..after
    };
    let mut verdict = |thresholds| {
        measured[0].thresholds = Some(thresholds);
        let judged = judge(&measured, &effort.gate, true);
        (judged.outcome, judged.comparisons[0].verdict)
    };
    let buffers = |percent| Thresholds {
        buffers_percent: Some(percent),
        ..Thresholds::default()
    };
    let plan = |plan_change| Thresholds {
        plan_change,
        ..Thresholds::default()
    };
    assert_eq!(verdict(buffers(10.0)), (Outcome::Fail, Verdict::Costlier));
    assert_eq!(verdict(buffers(1e6)), (Outcome::Pass, Verdict::Same));
    let fails = (Outcome::Fail, Verdict::Costlier);
    assert_eq!(verdict(plan(PlanChange::Fail)), fails);
    assert_eq!(verdict(plan(PlanChange::Warn)).0, Outcome::Pass);
    measured[0].thresholds = Some(buffers(10.0));
    measured[0].allowed = Some("known".to_owned());
    let judged = judge(&measured, &effort.gate, true);
    assert_eq!(judged.outcome, Outcome::Pass, "{judged:?}");
}
