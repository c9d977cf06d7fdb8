//! `dbtune propose` as it is typed, and what becomes of its migrations: applied, proven, taken back.

use crate::commands;
use crate::server::{self, Db};
use std::path::Path;

/// A membership table, an access function once a row, and items of 200 locations.
const CLINIC: &str = "
do $$ begin create role prop_app nologin; exception when duplicate_object then null; end $$;
do $$ begin create role prop_owner login createdb; exception when duplicate_object then null; end $$;
grant prop_app to prop_owner;
grant all on schema public to prop_owner;
set role prop_owner;
create function uid() returns int language sql stable as
$$ select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::int $$;
create table members (user_id int not null, location_id int not null, primary key (user_id, location_id));
insert into members select u, (u * 7 + n * 13) % 200 from generate_series(1, 300) u, generate_series(1, 3) n on conflict do nothing;
create table items (id int primary key, location_id int not null, name text not null, created_at timestamptz not null, deleted_at timestamptz);
insert into items select i, i % 200, 'item ' || i, timestamptz '2025-01-01' + i * interval '1 minute', case when i % 10 <> 0 then now() end
from generate_series(1, 30000) i;
create function can_access(loc int) returns boolean language sql stable security definer set search_path = '' as
$$ select exists (select 1 from public.members m where m.location_id = loc and m.user_id = public.uid()) $$;
alter table items enable row level security;
create policy items_read on items for select to prop_app using (can_access(location_id));
create policy items_add on items for insert to prop_app with check (can_access(location_id));
create table tiny (id int primary key, owner int not null);
insert into tiny select i, i from generate_series(1, 200) i;
alter table tiny enable row level security;
create policy tiny_own on tiny to prop_app using (owner = uid());
grant select, insert on items, tiny to prop_app;
reset role;
analyze;
";

const WORKLOAD: &str = "
version: 1
personas:
  nurse:
    role: prop_app
    sample: select user_id from members group by 1 order by 1 limit 1
    claims: { sub: '${user_id}' }
queries:
  - { name: count, personas: [nurse], sql: select count(*) from items }
  - { name: tiny, personas: [nurse], sql: select * from tiny }
";

async fn clinic(label: &str) -> (Db, tempfile::TempDir) {
    let template = server::template("proposing", &[CLINIC.to_owned()]).await;
    let db = server::fresh_from(label, template).await;
    db.client()
        .await
        .batch_execute(&format!(
            "alter database \"{}\" owner to prop_owner",
            db.name
        ))
        .await
        .unwrap();
    (db, folder(WORKLOAD))
}

fn folder(workload: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("w.yaml"), workload).unwrap();
    folder
}

/// Exit code, and what was printed to either output.
fn dbtune(folder: &Path, url: &str, arguments: &[&str]) -> (i32, String) {
    let (code, out, err) = commands::dbtune(folder, url, arguments);
    (code, out + &err)
}

fn migrations(folder: &Path) -> Vec<(String, String)> {
    let mut files: Vec<_> = std::fs::read_dir(folder.join("migrations"))
        .map(|entries| entries.map(|e| e.unwrap().path()).collect())
        .unwrap_or_default();
    files.sort();
    files
        .into_iter()
        .map(|path: std::path::PathBuf| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn from_slow_to_fast_and_back() {
    let (db, folder) = clinic("propose").await;
    let url = db.url_as("prop_owner");
    let run = |arguments: &[&str]| dbtune(folder.path(), &url, arguments);
    let before = schema(&url).await;

    let (code, out) = run(&["propose", "--workload", "w.yaml", "--clone", "always"]);
    assert_eq!(code, 0, "{out}");
    let files = migrations(folder.path());
    let text = |part: &str, ending: &str| {
        files
            .iter()
            .find(|(name, _)| name.contains(part) && name.ends_with(ending))
            .unwrap_or_else(|| panic!("no {part}: {files:?}"))
            .1
            .clone()
    };
    let index = text("items_location_id", ".up.sql");
    assert!(index.starts_with("-- no-transaction\n"), "{index}");
    assert!(
        index.contains("create index concurrently") && index.contains("count@nurse"),
        "{index}"
    );
    let policy = text("items_items_read", ".up.sql");
    assert!(
        policy.contains("alter policy items_read on public.items"),
        "{policy}"
    );
    assert!(policy.contains("= ANY(ARRAY("), "{policy}");
    assert!(
        !files.iter().any(|(name, _)| name.contains("tiny")),
        "{files:?}"
    );
    assert_eq!(leftovers(&db).await, 0, "the clone is gone");

    let (code, out) = run(&["apply"]);
    assert_eq!(code, 2, "not proven yet: {out}");
    assert!(out.contains("dbtune verify"), "{out}");
    let (code, out) = run(&["verify", "--workload", "w.yaml"]);
    assert_eq!(code, 0, "{out}");
    let (code, out) = run(&["apply"]);
    assert_eq!(code, 0, "{out}");
    let (code, out) = run(&["status"]);
    assert_eq!(code, 0, "{out}");
    let (code, out) = run(&["propose", "--workload", "w.yaml", "--dry-run"]);
    assert!(code == 0 && out.contains("Nothing to propose"), "{out}");
    let (code, out) = run(&["rollback", "--all", "--yes"]);
    assert_eq!(code, 0, "{out}");
    assert_eq!(schema(&url).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_clone_it_plans_on_the_original() {
    let (db, folder) = clinic("original").await;
    let url = db.url_as("prop_owner");
    let arguments = [
        "propose",
        "--workload",
        "w.yaml",
        "--clone",
        "never",
        "--dry-run",
    ];
    let (code, out) = dbtune(folder.path(), &url, &arguments);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("by rule, not tried"), "{out}");
    assert!(out.contains("no clone was asked for"), "{out}");
    let lacks_hypopg = server::server().gaps().iter().any(|g| g.what == "hypopg");
    assert_eq!(
        out.contains("which indexes would help"),
        lacks_hypopg,
        "{out}"
    );
    // What no query reads is left alone; two policies that need the same new function make it once.
    assert!(
        one_line(&out).contains("items_add on public.items: no query of the workload reads it"),
        "{out}"
    );
    let adding = "  - { name: add, personas: [nurse], write: true, sql: \"insert into items values (0, 1, 'new', now())\" }\n";
    let once = self::folder(&format!("{}{adding}", WORKLOAD.trim_end_matches(' ')));
    let for_real = ["propose", "--workload", "w.yaml", "--clone", "never"];
    let (code, out) = dbtune(once.path(), &url, &for_real);
    assert_eq!(code, 0, "{out}");
    let (code, out) = dbtune(once.path(), &url, &["apply", "--unverified"]);
    assert_eq!(code, 0, "{out}");
    let (code, out) = dbtune(once.path(), &url, &["rollback", "--all", "--yes"]);
    assert_eq!(code, 0, "{out}");
    // Somebody is connected: no copy can be made, and that is said.
    let _somebody = db.client().await;
    let (code, out) = dbtune(
        folder.path(),
        &url,
        &["propose", "--workload", "w.yaml", "--dry-run"],
    );
    assert_eq!(code, 0, "{out}");
    assert!(
        out.contains("not looked at") && one_line(&out).contains("nobody is connected"),
        "{out}"
    );
    let always = ["propose", "--workload", "w.yaml", "--clone", "always"];
    let (code, out) = dbtune(folder.path(), &url, &always);
    assert_eq!(code, 2, "{out}");
    assert!(migrations(folder.path()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_up_by_key_keeps_its_function() {
    // A user with very many locations: the set would be computed for one row.
    let (db, _) = clinic("trap").await;
    let client = db.client().await;
    client
        .batch_execute(
            "insert into members select 1, l from generate_series(0, 60000) l on conflict do nothing; analyze members",
        )
        .await
        .unwrap();
    drop(client);
    let folder = folder(
        "version: 1
personas: {heavy: {role: prop_app, claims: {sub: 1}}}
queries: [{name: point, personas: [heavy], sql: select * from items where id = 77}]
",
    );
    let url = db.url_as("prop_owner");
    let arguments = [
        "propose",
        "--workload",
        "w.yaml",
        "--clone",
        "always",
        "--dry-run",
    ];
    let (code, out) = dbtune(folder.path(), &url, &arguments);
    assert_eq!(code, 0, "{out}");
    assert!(!out.contains("alter policy items_read"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_to_do_and_nowhere_to_look() {
    let db = server::fresh("empty").await;
    let folder = folder(
        "version: 1\npersonas: {me: {role: postgres}}\nqueries: [{name: one, personas: [me], sql: select 1}]\n",
    );
    let run = |arguments: &[&str]| dbtune(folder.path(), &db.url, arguments);
    let (code, out) = run(&["audit"]);
    assert!(code == 0 && out.contains("nothing to audit"), "{out}");
    let (code, out) = run(&["propose", "--workload", "w.yaml"]);
    assert!(code == 0 && out.contains("Nothing to propose"), "{out}");
    let (code, out) = dbtune(
        folder.path(),
        "postgresql://nobody@127.0.0.1:1/x",
        &["audit"],
    );
    assert!(code == 2 && out.contains("127.0.0.1:1"), "{out}");
    let (code, out) = run(&["propose"]);
    assert!(code == 2 && out.contains("--workload"), "{out}");
    std::fs::write(
        folder.path().join("bad.yaml"),
        "version: 1\npersonas:\n  a: {rol: x}\n",
    )
    .unwrap();
    let (code, out) = run(&["propose", "--workload", "bad.yaml"]);
    assert!(code == 2 && out.contains("bad.yaml:3:"), "{out}");
}

/// The schema as a catalog without statistics, oids and dbtune's own tables.
async fn schema(url: &str) -> dbtune::model::Catalog {
    let target = dbtune::db::Target::resolve(Some(url), &server::environment()).unwrap();
    let session = dbtune::db::Session::connect(&target, "test").await.unwrap();
    dbtune::db::read_catalog(&session).await.unwrap().schema()
}

async fn leftovers(db: &Db) -> i64 {
    let sql = "select count(*) from pg_database d join pg_shdescription s on s.objoid = d.oid
        where s.description like '%from ' || $1 || ';%'";
    let row = db.client().await.query_one(sql, &[&db.name]).await.unwrap();
    row.get(0)
}

/// Lines are broken to fit the terminal.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
