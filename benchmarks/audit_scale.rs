//! How long `dbtune audit` takes, and how much memory, on a schema of 10,000 tables, 50,000 policies, 30,000 indexes and
//! 5,000 statements, and on a half and a quarter of it. Run with `make bench-audit`; a number as argument sets the
//! number of tables at full size.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot measure should stop, and prints what it found"
)]

use dbtune::db::throwaway::{Options, Throwaway};
use nix::sys::resource::{UsageWho, getrusage};
use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio_postgres::{Client, NoTls};

/// Of each size, the fastest counts: the others met a busy machine.
const RUNS: usize = 3;
/// Tables made in one transaction; each takes locks.
const BATCH: usize = 250;

const BASE: &str = "
create role app nologin;
create schema auth;
create schema scale;
grant usage on schema auth, scale to app;
create function auth.jwt() returns jsonb language sql stable
  as $$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb $$;
create function auth.uid() returns uuid language sql stable
  as $$ select (auth.jwt() ->> 'sub')::uuid $$;
create table public.member (id bigint primary key, tenant uuid not null, person uuid not null);
create index on public.member (person, tenant);
create function public.is_admin() returns boolean language sql stable security definer set search_path = ''
  as $$ select exists (select from public.member m where m.person = (select auth.uid())) $$;
";

/// Tables `$from` up to `$to`, as real ones are: some policies well written, some not.
const TABLES: &str = "
do $do$ declare t text; begin
  for n in $from..$to loop
    t := 'scale.t_' || n;
    execute format('create table %s (id bigint primary key, tenant uuid not null, owner uuid not null, status text, made timestamptz)', t);
    execute format('create index on %s (tenant)', t);
    execute format('create index on %s (status, made)', t);
    execute format('alter table %s enable row level security', t);
    execute format('grant select, insert, update, delete on %s to app', t);
    execute format('create policy own on %s for select to app using (owner = auth.uid())', t);
    execute format('create policy team on %s for select to app using (tenant in (select m.tenant from public.member m where m.person = (select auth.uid())))', t);
    execute format('create policy add on %s for insert to app with check (tenant = (select (auth.jwt() ->> ''tenant'')::uuid))', t);
    execute format('create policy change on %s for update to app using (exists (select from public.member m where m.tenant = %s.tenant and m.person = auth.uid()))', t, t);
    execute format('create policy remove on %s for delete to app using ((select public.is_admin()) or owner = (select auth.uid()))', t);
  end loop;
  update pg_class set reltuples = 20000, relpages = 400
  where relkind = 'r' and relnamespace = 'scale'::regnamespace and reltuples < 20000;
end $do$
";

struct Measured {
    tables: usize,
    time: Duration,
    /// Peak resident memory of the largest run so far, in megabytes; sizes only grow.
    megabytes: i64,
    findings: String,
}

fn main() {
    // `cargo test --benches` runs this as well, to see that it compiles.
    if !std::env::args().any(|a| a == "--bench") {
        return;
    }
    let tables = std::env::args().find_map(|a| a.parse().ok());
    let tables: usize = tables.unwrap_or(10_000);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let measured = runtime.block_on(measure_all(tables));
    println!("\ntables  policies  indexes  statements  seconds  MB   per table");
    for one in &measured {
        let n = one.tables;
        println!(
            "{n:>6}  {:>8}  {:>7}  {:>10}  {:>7.2}  {:>3}  {:>6.0} µs  {}",
            n * 5,
            n * 3,
            n / 2,
            one.time.as_secs_f64(),
            one.megabytes,
            one.time.as_secs_f64() * 1e6 / f64::from(u32::try_from(n).unwrap()),
            one.findings
        );
    }
}

async fn measure_all(tables: usize) -> Vec<Measured> {
    let settings = [
        ("pg_stat_statements.max", "20000"),
        ("max_locks_per_transaction", "1024"),
    ];
    let options = Options {
        settings: BTreeMap::from(settings.map(|(k, v)| (k.to_owned(), v.to_owned()))),
        ..Options::from_env(&std::env::vars().collect()).unwrap()
    };
    let server = Throwaway::start(options).await.unwrap();
    let url = server.url("postgres", server.superuser());
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(BASE).await.unwrap();
    client
        .batch_execute("create extension if not exists pg_stat_statements")
        .await
        .unwrap();
    let mut measured = Vec::new();
    let mut made = 0;
    for part in [tables / 4, tables / 2, tables] {
        grow(&client, made, part).await;
        made = part;
        measured.push(measure(&url, part));
    }
    server.stop().await.unwrap();
    measured
}

/// From `from` to `to` tables, with one statement for every second table.
async fn grow(client: &Client, from: usize, to: usize) {
    let begun = Instant::now();
    // What makes the tables is no workload.
    client
        .batch_execute("set pg_stat_statements.track = 'none'")
        .await
        .unwrap();
    let mut at = from;
    while at < to {
        let end = (at + BATCH).min(to);
        let sql = TABLES
            .replace("$from", &(at + 1).to_string())
            .replace("$to", &end.to_string());
        client.batch_execute(&sql).await.unwrap();
        at = end;
    }
    client
        .batch_execute("set pg_stat_statements.track = 'top'")
        .await
        .unwrap();
    for n in (from + 1..=to).step_by(2) {
        let sql = format!("select count(*) from scale.t_{n} where status = 'x' and made > now()");
        client.batch_execute(&sql).await.unwrap();
    }
    // As autovacuum would have done by the time anybody audits it.
    for catalog in [
        "class",
        "attribute",
        "index",
        "policy",
        "depend",
        "constraint",
        "statistic",
    ] {
        let sql = format!("vacuum analyze pg_catalog.pg_{catalog}");
        client.batch_execute(&sql).await.unwrap();
    }
    println!("{to} tables made in {:.0} s", begun.elapsed().as_secs_f64());
}

fn measure(url: &str, tables: usize) -> Measured {
    let mut best = Duration::MAX;
    let mut findings = String::new();
    for _ in 0..RUNS {
        let begun = Instant::now();
        let output = Command::new(env!("CARGO_BIN_EXE_dbtune"))
            .args(["audit", "--quiet", "--fail-on", "never", "--db", url])
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        best = best.min(begun.elapsed());
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        let summary = text.lines().rev().find(|l| l.contains("errors"));
        summary.unwrap_or_default().clone_into(&mut findings);
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    Measured {
        tables,
        time: best,
        megabytes: usage.max_rss() / 1024,
        findings,
    }
}
