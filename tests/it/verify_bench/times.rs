//! How long `dbtune verify` takes, beside what it may take. Figures, no judgement: they depend on the machine.
//!
//! `DBTUNE_VERIFY_ROWS` (10,000,000) is the size of the largest database, `DBTUNE_VERIFY_SCALE` (1) that of the clinic.

use super::clinic;
use crate::server::{self, Db, fresh};
use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::time::Instant;

const OWNER: &str = "times_owner";
const ROLES: &str = "
do $$
begin
  if not exists (select from pg_roles where rolname = 'times_owner') then
    create role times_owner login createdb;
  end if;
  if not exists (select from pg_roles where rolname = 'times_app') then
    create role times_app nologin;
  end if;
end
$$;
grant times_app to times_owner;
alter schema public owner to times_owner;
grant usage on schema public to times_app;
";

/// Members of tenants, and `tables` tables of `rows` rows in all, which belong to 2,000 tenants.
fn tenants(tables: u32, rows: u64) -> String {
    let mut sql = "
create function me() returns int language sql stable as $$ select nullif(current_setting('app.me', true), '')::int $$;
create table members (who int not null, tenant int not null, primary key (who, tenant));
insert into members select i, i % 2000 from generate_series(1, 3000) i;
alter table members enable row level security;
grant select on members to times_app;
create policy own on members for select to times_app using (who = me());
create function mine(target int) returns boolean language sql stable security definer set search_path = ''
  as $$ select exists (select 1 from public.members m where m.tenant = target and m.who = public.me()) $$;
"
    .to_owned();
    for at in 0..tables {
        write!(
            sql,
            "create table facts_{at} (id int primary key, tenant int not null, state text not null, body text);
             insert into facts_{at} select i, i % 2000, (array['a', 'b', 'c'])[1 + i % 3], 'body ' || i from generate_series(1, {}) i;
             alter table facts_{at} enable row level security;
             grant select, insert, update, delete on facts_{at} to times_app;
             create policy own on facts_{at} to times_app using (mine(tenant)) with check (mine(tenant) and state <> 'c');",
            rows / u64::from(tables)
        )
        .unwrap();
    }
    sql
}

/// Every policy of `tables` tables written in another way.
fn rewritten(tables: u32) -> String {
    let one = |at| {
        format!(
            "alter policy own on facts_{at} using (tenant in (select m.tenant from members m where m.who = (select me())));"
        )
    };
    (0..tables).map(one).collect::<Vec<_>>().join("\n")
}

fn workload(identities: u32) -> String {
    let mut text = "version: 1\npersonas:\n".to_owned();
    for at in 1..=identities {
        writeln!(
            text,
            "  p{at}: {{ role: times_app, settings: {{ app.me: \"{at}\" }} }}"
        )
        .unwrap();
    }
    text + "queries:\n  - { name: all, personas: [p1], sql: \"select count(*) from facts_0\" }\n"
}

/// Seconds and exit code of `verify` with `more` arguments.
fn timed(db: &Db, owner: &str, workload: &str, change: Option<&str>, more: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let migrations = folder.path().join("migrations");
    std::fs::create_dir(&migrations).unwrap();
    if let Some(change) = change {
        std::fs::write(migrations.join("20990101000000_change.up.sql"), change).unwrap();
    }
    let file = folder.path().join("workload.yaml");
    std::fs::write(&file, workload).unwrap();
    let begun = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_dbtune"))
        .args([
            "verify",
            "--format",
            "json",
            "-q",
            "--db",
            &db.url_as(owner),
        ])
        .arg("--workload")
        .arg(&file)
        .arg("--migrations")
        .arg(&migrations)
        .args(more)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    let mut line = format!("{seconds:8.1} s, exit {:?}", output.status.code());
    if output.status.code() == Some(2) {
        let said = String::from_utf8_lossy(&output.stderr);
        line.push_str(": ");
        line.extend(super::judge::flat(&said).chars().take(200));
    }
    line
}

async fn built(label: &str, sql: &str) -> Db {
    let db = fresh(label).await;
    let client = db.client().await;
    client.batch_execute(ROLES).await.unwrap();
    client
        .batch_execute(&format!("alter database \"{}\" owner to {OWNER}", db.name))
        .await
        .unwrap();
    server::close(client, &db.name).await;
    let client = server::connect(&db.url_as(OWNER)).await;
    client.batch_execute(sql).await.unwrap();
    client.batch_execute("analyze").await.unwrap();
    server::close(client, &db.name).await;
    db
}

#[tokio::test]
#[ignore = "measurements, of use in a release build only: make bench-verify"]
async fn times() {
    let environment = server::environment();
    let given = |name: &str| environment.get(&format!("DBTUNE_VERIFY_{name}"));
    let rows: u64 = given("ROWS").map_or(10_000_000, |n| n.parse().unwrap());
    let scale: f64 = given("SCALE").map_or(1.0, |n| n.parse().unwrap());
    let db = clinic::filled("times_clinic", scale, &["naive"]).await;
    let client = server::connect(&db.url_as(clinic::OWNER)).await;
    client.batch_execute("analyze").await.unwrap();
    server::close(client, &db.name).await;
    let tuned: String = clinic::policies("tuned")
        .into_iter()
        .map(|(_, sql)| sql)
        .collect();
    let whole = timed(&db, clinic::OWNER, clinic::WORKLOAD, Some(&tuned), &[]);
    println!("{whole}  clinic at scale {scale}, every tuned policy (60 s)");
    let matrix = timed(&db, clinic::OWNER, clinic::WORKLOAD, None, &["--matrix"]);
    println!("{matrix}  clinic at scale {scale}, access matrix (30 s)");
    server::remove(&db).await;
    for (tables, size, identities, bound) in [
        (3, 18_000, 6, " (8 s)"),
        (3, 180_000, 6, ""),
        (3, 1_800_000, 6, ""),
        (30, 180_000, 6, ""),
        (3, 180_000, 24, ""),
        (4, rows, 20, " (600 s)"),
    ] {
        if size > rows {
            continue;
        }
        let db = built("times", &tenants(tables, size)).await;
        let took = timed(
            &db,
            OWNER,
            &workload(identities),
            Some(&rewritten(tables)),
            &[],
        );
        println!("{took}  {size} rows in {tables} tables, {identities} identities{bound}");
        server::remove(&db).await;
    }
}
