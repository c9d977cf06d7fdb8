//! What dbtune itself spends between two executions of somebody's query.
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that cannot read its inputs should stop"
)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dbtune::bench::{Gate, Measured, compare};
use dbtune::model::{
    Catalog, Column, Command, Index, IndexKey, Name, Plan, Policy, Report, Samples, Table,
};
use dbtune::report::{Style, format};
use dbtune::rules::{self, Scope};
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
        thresholds: None,
        allowed: None,
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

/// `tables` large ones of three columns and three indexes, with five policies each, some well written and some not.
fn catalog(tables: u32) -> Catalog {
    const POLICIES: [(Command, &str); 5] = [
        (Command::Select, "(owner = auth.uid())"),
        (
            Command::Select,
            "(tenant IN ( SELECT m.tenant FROM public.member m WHERE (m.person = ( SELECT auth.uid() AS uid))))",
        ),
        (
            Command::Update,
            "(EXISTS ( SELECT 1 FROM public.member m WHERE ((m.tenant = t_N.tenant) AND (m.person = auth.uid()))))",
        ),
        (
            Command::Delete,
            "(( SELECT public.is_admin() AS is_admin) OR (owner = ( SELECT auth.uid() AS uid)))",
        ),
        (
            Command::All,
            "((deleted_at IS NULL) AND (tenant = (( SELECT auth.jwt() AS jwt) ->> 'tenant')::uuid))",
        ),
    ];
    let column = |name: &str, kind: &str| Column {
        name: name.to_owned(),
        type_name: kind.to_owned(),
        type_kind: 'b',
        equality_leakproof: Some(true),
        ..Column::default()
    };
    let index = |table: u32, column: &str| Index {
        name: Name::new("public", format!("t_{table}_{column}")),
        method: "btree".to_owned(),
        valid: true,
        ready: true,
        live: true,
        keys: vec![IndexKey {
            column: Some(column.to_owned()),
            ..IndexKey::default()
        }],
        bytes: 1 << 20,
        ..Index::default()
    };
    let mut catalog = Catalog::default();
    for n in 0..tables {
        let policies = POLICIES
            .iter()
            .enumerate()
            .map(|(at, (command, using))| Policy {
                name: format!("p{at}"),
                permissive: true,
                roles: vec!["app".to_owned()],
                command: *command,
                using: Some(using.replace("t_N", &format!("t_{n}"))),
                check: None,
            });
        let table = Table {
            oid: 20_000 + n,
            rls_enabled: true,
            rows: Some(50_000.0),
            statistics_readable: true,
            columns: vec![
                column("id", "bigint"),
                column("tenant", "uuid"),
                column("owner", "uuid"),
                column("deleted_at", "timestamp with time zone"),
            ],
            policies: policies.collect(),
            indexes: vec![index(n, "id"), index(n, "tenant"), index(n, "deleted_at")],
            ..Table::default()
        };
        catalog
            .tables
            .insert(Name::new("public", format!("t_{n}")), table);
    }
    catalog
}

/// The rules, and the table that people read, at 1x, 2x and 4x: the time a table takes stays the same.
fn audit(c: &mut Criterion) {
    let mut group = c.benchmark_group("audit");
    group.sample_size(10);
    for tables in [250, 500, 1_000] {
        let catalog = catalog(tables);
        group.throughput(Throughput::Elements(tables.into()));
        group.bench_with_input(BenchmarkId::new("rules", tables), &catalog, |b, catalog| {
            b.iter(|| rules::audit(black_box(catalog), None, &Scope::default()));
        });
        let mut report = Report::new("audit", "");
        report.findings = rules::audit(&catalog, None, &Scope::default()).0;
        let style = Style {
            color: true,
            width: 100,
            ascii: false,
        };
        group.bench_with_input(BenchmarkId::new("table", tables), &report, |b, report| {
            b.iter(|| (format("table").unwrap().render)(report, style, &mut std::io::sink()));
        });
    }
    group.finish();
}

criterion_group!(hot_paths, comparison, plan, audit);
criterion_main!(hot_paths);
