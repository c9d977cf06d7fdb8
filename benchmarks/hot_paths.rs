//! What dbtune itself spends between two executions of somebody's query.
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that cannot read its inputs should stop"
)]

use criterion::{Criterion, criterion_group, criterion_main};
use dbtune::bench::{Gate, Measured, compare};
use dbtune::model::{Plan, Samples};
use std::hint::black_box;
use std::time::Duration;

/// 400 latencies around `base` nanoseconds in blocks of five, the same ones each time.
fn samples(base: u64) -> Samples {
    let mut state: u64 = base;
    let latencies_ns = (0..400)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            base + (state >> 40) % base
        })
        .collect();
    Samples {
        latencies_ns,
        blocks: vec![5; 80],
        ..Samples::default()
    }
}

fn comparison(c: &mut Criterion) {
    let measured = Measured {
        query: "list@clerk".to_owned(),
        weight: 1.0,
        slo_ms: 100.0,
        before: samples(2_000_000),
        after: samples(2_100_000),
        repeatable: true,
    };
    let gate = Gate::new(10.0, 30, Duration::from_secs(30));
    c.bench_function("compare 400 samples a side", |b| {
        b.iter(|| compare(black_box(&measured), &gate));
    });
}

fn plan(c: &mut Criterion) {
    let scan = |n: u32| {
        serde_json::json!({
            "Node Type": "Index Scan", "Schema": "public", "Relation Name": format!("part_{n}"),
            "Index Name": format!("part_{n}_idx"), "Index Cond": "(tenant = $1)", "Actual Loops": 1, "Actual Rows": 3,
        })
    };
    let scans: Vec<_> = (0..100).map(scan).collect();
    let text =
        serde_json::json!([{ "Plan": { "Node Type": "Append", "Plans": scans } }]).to_string();
    c.bench_function("read a plan of 100 partitions", |b| {
        b.iter(|| Plan::from_json(&serde_json::from_str(black_box(&text)).unwrap()).unwrap());
    });
    let plan = Plan::from_json(&serde_json::from_str(&text).unwrap()).unwrap();
    c.bench_function("shape of a plan of 100 partitions", |b| {
        b.iter(|| black_box(&plan).shape());
    });
}

criterion_group!(hot_paths, comparison, plan);
criterion_main!(hot_paths);
