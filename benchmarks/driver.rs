//! dbtune's driver beside pgbench, on one throwaway server, in turns: `make bench-driver`.
//!
//! The same single-row SELECT by primary key, as prepared statement, from 1 and 8 connections; throughput, and the median
//! latency. The two take turns of less than half a second, and what counts is the median of the rounds' ratios, so that other
//! work of the machine hits both alike. `DBTUNE_DRIVER_ROUNDS` (21). Ends with 1 where a bound is missed.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a harness: it prints a table, and stops where the server or pgbench cannot be run"
)]

use dbtune::bench::{Shape, hdr_histogram, saturate};
use dbtune::db::throwaway::{Binaries, Options, Throwaway};
use dbtune::db::{Explain, Limits, Session, Target, explain};
use dbtune::model::{Persona, Query};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

/// Executions of a turn, over all connections.
const TURN: usize = 10_000;
/// pgbench's median, and so much more, is near enough.
const LATENCY_BOUND: f64 = 1.05;
/// Samples a second that one thread must be able to keep.
const RECORDED: f64 = 100_000.0;
/// What a statement's round trip may add to the server's own time for it: milliseconds, and a share of it.
const ROUND_TRIP: (f64, f64) = (0.2, 0.02);
/// The driver's median as a share of that of EXPLAIN ANALYZE, which counts the rows of every node and so takes longer itself.
const EXPLAIN_BOUNDS: std::ops::Range<f64> = 0.75..1.1;

const SETUP: &str = "
create extension if not exists pg_stat_statements;
create role driver_app nologin;
grant select on pgbench_accounts to driver_app;
alter table pgbench_accounts enable row level security;
create policy mine on pgbench_accounts to driver_app
    using (bid = (select (current_setting('request.jwt.claims', true)::jsonb ->> 'bid')::int));
vacuum (analyze) pgbench_accounts;
";
const STATEMENT: &str = "select abalance from pgbench_accounts where aid = :aid;\n";
/// As dbtune sends it: what comes before the statement in one round trip.
const BEFORE: &str = "\\startpipeline
begin read only;
set local statement_timeout = 30000;
set local lock_timeout = 1000;
set local plan_cache_mode = force_custom_plan;
select count(set_config(key, value, true)) from json_each_text('{\"request.jwt.claims\": \"{\\\"bid\\\": 1}\"}');
set local role driver_app;
\\endpipeline
";

fn main() -> ExitCode {
    let env: BTreeMap<String, String> = std::env::vars().collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    if runtime.block_on(all(env)) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

async fn all(env: BTreeMap<String, String>) -> bool {
    let rounds = env
        .get("DBTUNE_DRIVER_ROUNDS")
        .map_or(21, |n| n.parse().unwrap());
    let pgbench = Binaries::find(&env).unwrap().folder().join("pgbench");
    let server = Throwaway::start(Options::from_env(&env).unwrap())
        .await
        .unwrap();
    let ground = Ground {
        target: Target::resolve(
            Some(&server.url("postgres", server.superuser())),
            &BTreeMap::default(),
        )
        .unwrap(),
        pgbench,
        scratch: tempfile::tempdir().unwrap(),
    };
    ground.pgbench(&["--initialize", "--scale=1", "--quiet"]);
    let session = Session::connect(&ground.target, "driver").await.unwrap();
    for statement in SETUP.split_inclusive(';') {
        session.execute("set up", statement).await.unwrap();
    }
    let mut good = true;
    println!(
        "{rounds} rounds of {TURN} executions each; medians, and the median of the rounds' ratios"
    );
    println!(
        "{:34}{:>12}{:>12}{:>8}   {:>11}{:>11}{:>8}",
        "", "pgbench/s", "dbtune/s", "ratio", "pgbench ms", "dbtune ms", "ratio"
    );
    for shape in [Shape::Statement, Shape::Transaction] {
        for clients in [1, 8] {
            let found = ground.compare(shape, clients, rounds).await;
            good &= found.tell(shape, clients);
        }
    }
    good &= flood(&ground.target, &session).await;
    good &= agrees(&ground.target, &session).await;
    drop(session);
    server.stop().await.unwrap();
    println!(
        "{}",
        if good {
            "All bounds are kept."
        } else {
            "A bound is missed."
        }
    );
    good
}

struct Ground {
    target: Target,
    pgbench: PathBuf,
    scratch: tempfile::TempDir,
}

#[derive(Default)]
struct Found {
    pgbench_tps: Vec<f64>,
    dbtune_tps: Vec<f64>,
    pgbench_ms: Vec<f64>,
    dbtune_ms: Vec<f64>,
}

impl Ground {
    fn pgbench(&self, arguments: &[&str]) -> String {
        let output = Command::new(&self.pgbench)
            .args(arguments)
            .arg("--host")
            .arg(&self.target.host)
            .args(["--port", &self.target.port.to_string()])
            .args(["--username", &self.target.user, &self.target.dbname])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    async fn compare(&self, shape: Shape, clients: usize, rounds: usize) -> Found {
        let mut found = Found::default();
        for round in 0..rounds {
            // Each is as often before dbtune's turn as after it.
            let logged_first = round % 2 == 1;
            let mut logged = logged_first.then(|| self.turn(shape, clients, true));
            let mut plain = (!logged_first).then(|| self.turn(shape, clients, false));
            let query = query(shape, &self.target.user);
            let (latencies, took) = saturate(&self.target, &query, clients, TURN, shape)
                .await
                .unwrap();
            let logged = logged
                .take()
                .unwrap_or_else(|| self.turn(shape, clients, true));
            let plain = plain
                .take()
                .unwrap_or_else(|| self.turn(shape, clients, false));
            assert_eq!(latencies.len(), TURN, "a sample was lost");
            found.pgbench_tps.push(plain.0);
            found.pgbench_ms.push(logged.1);
            found.dbtune_tps.push(count(TURN) / took.as_secs_f64());
            let ms = latencies.iter().map(|ns| milliseconds(*ns));
            found.dbtune_ms.push(median(ms));
        }
        found
    }

    /// Executions a second and, where pgbench writes down each, the median of their milliseconds.
    fn turn(&self, shape: Shape, clients: usize, logged: bool) -> (f64, f64) {
        let path = |name: &str| self.scratch.path().join(name);
        let script = match shape {
            Shape::Statement => STATEMENT.to_owned(),
            Shape::Transaction => format!("{BEFORE}{STATEMENT}rollback;\n"),
        };
        std::fs::write(
            path("script"),
            format!("\\set aid random(1, 100000)\n{script}"),
        )
        .unwrap();
        let file = format!("--file={}", path("script").display());
        let each = format!("--transactions={}", TURN / clients);
        let connections = format!("--client={clients}");
        let mut arguments = vec![
            "--no-vacuum",
            "--protocol=prepared",
            &file,
            &each,
            &connections,
        ];
        let prefix = format!("--log-prefix={}", path("log").display());
        if logged {
            arguments.extend(["--log", &prefix]);
        }
        let said = self.pgbench(&arguments);
        let tps = said.lines().rev().find_map(|l| l.strip_prefix("tps = "));
        let tps = tps.unwrap().split(' ').next().unwrap().parse().unwrap();
        let mut latencies = Vec::new();
        for entry in std::fs::read_dir(self.scratch.path()).unwrap() {
            let path = entry.unwrap().path();
            if logged && path.to_string_lossy().contains("/log") {
                let text = std::fs::read_to_string(&path).unwrap();
                latencies.extend(text.lines().map(|line| {
                    let micros: u32 = line.split(' ').nth(2).unwrap().parse().unwrap();
                    micros
                }));
                std::fs::remove_file(path).unwrap();
            }
        }
        (tps, median_of_whole(latencies) / 1e3)
    }
}

impl Found {
    /// Prints the line; whether the bounds are kept, which are those of the statement alone.
    fn tell(&self, shape: Shape, clients: usize) -> bool {
        let ratios =
            |over: &[f64], under: &[f64]| median(over.iter().zip(under).map(|(o, u)| o / u));
        let tps = ratios(&self.dbtune_tps, &self.pgbench_tps);
        let ms = ratios(&self.dbtune_ms, &self.pgbench_ms);
        let good = tps >= 1.0 && ms <= LATENCY_BOUND;
        let (name, bound) = match shape {
            Shape::Statement => ("statement", true),
            Shape::Transaction => ("claims, role, statement, rollback", false),
        };
        let middle = |values: &[f64]| median(values.iter().copied());
        println!(
            "{:34}{:12.0}{:12.0}{tps:8.3}   {:11.4}{:11.4}{ms:8.3}  {}",
            format!("{name}, {clients}"),
            middle(&self.pgbench_tps),
            middle(&self.dbtune_tps),
            middle(&self.pgbench_ms),
            middle(&self.dbtune_ms),
            match (bound, good) {
                (true, true) => "kept",
                (true, false) => "MISSED",
                (false, _) => "(for information)",
            }
        );
        good || !bound
    }
}

fn query(shape: Shape, superuser: &str) -> Query {
    let role = match shape {
        Shape::Statement => superuser,
        Shape::Transaction => "driver_app",
    };
    Query {
        id: "account@driver".to_owned(),
        persona: Persona {
            name: "driver".to_owned(),
            role: role.to_owned(),
            settings: [("request.jwt.claims".to_owned(), "{\"bid\": 1}".to_owned())].into(),
        },
        sql: "select abalance from pgbench_accounts where aid = $1".to_owned(),
        types: vec!["int".to_owned()],
        draws: (0..5000_u32)
            .map(|n| vec![Some((n.wrapping_mul(7919) % 100_000 + 1).to_string())])
            .collect(),
        ..Query::default()
    }
}

/// The driver's own loop on the shortest statement there is. Every execution that the server counted must be among the
/// samples, and the driver's thread must need so little of a processor for each that it could keep so many a second: how
/// many there are is up to the server, which has to share two processors with it here.
async fn flood(target: &Target, session: &Session) -> bool {
    const CLIENTS: usize = 16;
    const ALL: usize = 500_000;
    let query = Query {
        sql: "select $1".to_owned(),
        ..query(Shape::Statement, &target.user)
    };
    let before = on_processor();
    let (latencies, took, served) = counted(target, session, &query, (CLIENTS, ALL), "calls").await;
    let used = on_processor().saturating_sub(before);
    let kept = latencies.len();
    let histogram = hdr_histogram(&latencies).unwrap();
    let capacity = count(kept) / used.as_secs_f64();
    let lost = served - count(kept);
    let good = lost == 0.0 && capacity >= RECORDED;
    println!(
        "{CLIENTS} clients, the shortest statement: {:.0} samples a second; the server counted {served}, {lost} are lost; \
         {:.1} µs of the driver's processor each, so it could keep {capacity:.0} a second: {} (histogram of {} characters)",
        count(kept) / took.as_secs_f64(),
        1e6 / capacity,
        if good { "kept" } else { "MISSED" },
        histogram.len()
    );
    good
}

/// Sends `query` from so many clients so often: the latencies, what all took together, and a number that the server has
/// of the statement.
async fn counted(
    target: &Target,
    session: &Session,
    query: &Query,
    (clients, executions): (usize, usize),
    statistic: &str,
) -> (Vec<u64>, Duration, f64) {
    session
        .execute("reset", "select pg_stat_statements_reset()")
        .await
        .unwrap();
    let (latencies, took) = saturate(target, query, clients, executions, Shape::Statement)
        .await
        .unwrap();
    let sql = format!(
        "select {statistic}::text from pg_stat_statements where query = '{}'",
        query.sql
    );
    let number = session.texts("read", &sql).await.unwrap().concat();
    (latencies, took, number.parse().unwrap())
}

/// What this thread has had of a processor, in the kernel too.
fn on_processor() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

/// The same executions by the driver's clock and by the server's.
async fn agrees(target: &Target, session: &Session) -> bool {
    const ROUNDS: usize = 7;
    const EACH: usize = 60;
    let query = Query {
        sql: "select count(*) from pgbench_accounts where abalance < $1".to_owned(),
        ..query(Shape::Statement, &target.user)
    };
    let (mut more, mut walls, mut servers, mut explained) = (vec![], vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        let (latencies, _, server) =
            counted(target, session, &query, (1, EACH), "mean_exec_time").await;
        let all: u64 = latencies.iter().sum();
        let wall = milliseconds(all) / count(EACH);
        more.push(wall - server);
        servers.push(server);
        walls.push(median(latencies.iter().map(|ns| milliseconds(*ns))));
        let mut times = Vec::new();
        for draw in 0..EACH / 3 {
            session
                .begin_query(&query, Limits::default())
                .await
                .unwrap();
            let plan = explain(session, &query, draw, Explain::Measure)
                .await
                .unwrap();
            session.end().await.unwrap();
            times.push(plan.execution_ms.unwrap());
        }
        explained.push(median(times.into_iter()));
    }
    let (more, server) = (median(more.into_iter()), median(servers.into_iter()));
    let near = more > -0.001 && more < ROUND_TRIP.0 + ROUND_TRIP.1 * server;
    println!(
        "pg_stat_statements: mean {server:.3} ms; the driver's is {more:.3} ms longer: {}",
        if near { "kept" } else { "MISSED" }
    );
    let share = median(
        walls
            .iter()
            .zip(&explained)
            .map(|(wall, explained)| wall / explained),
    );
    let close = EXPLAIN_BOUNDS.contains(&share);
    println!(
        "EXPLAIN ANALYZE: median {:.3} ms; the driver's is {share:.3} times as long: {}",
        median(explained.into_iter()),
        if close { "kept" } else { "MISSED" }
    );
    near && close
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Of values that are known to the microsecond only: those of the middle one are taken to be spread evenly over it.
fn median_of_whole(mut micros: Vec<u32>) -> f64 {
    micros.sort_unstable();
    let Some(middle) = micros.get(micros.len() / 2).copied() else {
        return f64::NAN;
    };
    let below = micros.partition_point(|m| *m < middle);
    let within = micros.partition_point(|m| *m <= middle) - below;
    f64::from(middle) - 0.5 + (count(micros.len()) / 2.0 - count(below)) / count(within)
}

#[expect(clippy::cast_precision_loss, reason = "a number of executions")]
fn count(n: usize) -> f64 {
    n as f64
}

fn milliseconds(ns: u64) -> f64 {
    Duration::from_nanos(ns).as_secs_f64() * 1e3
}
