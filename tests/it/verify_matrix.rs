//! Who may do what with which table: counts that are the server's own, a saved matrix, one row, and tests that stand alone.

use crate::commands::dbtune;
use crate::server::{self, Db};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use tokio_postgres::Client;

/// Of rows and claims: nothing of it may be printed.
const PLANTED: [&str; 4] = ["424241", "777001", "planted body", "777999"];

const SETUP: &str = r#"
do $$ begin create role matrix_app nologin; exception when duplicate_object then null; end $$;
do $$ begin create role matrix_anon nologin; exception when duplicate_object then null; end $$;
create function uid() returns int stable language sql as
$$ select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::int $$;
create table members (user_id int, org int, primary key (user_id, org));
insert into members values (777001, 424241), (777001, 2), (777002, 2), (777999, 3);
create table docs (id int primary key, org int not null, owner int, kind text not null, body text);
insert into docs select i, case i % 3 when 0 then 424241 when 1 then 2 else 3 end, case i % 5 when 0 then 777001 when 1 then 777002 end,
  case when i % 7 = 0 then 'secret' else 'plain' end, 'planted body ' || i from generate_series(1, 210) i;
create table "Odd Name" (note text, price numeric);
insert into "Odd Name" select case i % 2 when 0 then 'a' else 'b' end, i % 2 + 0.50 from generate_series(1, 10) i;
create table loose (id int primary key, hint text);
insert into loose select i, 'planted body' from generate_series(1, 9) i;
create table sealed (id int primary key);
insert into sealed values (1), (2);
create table doors (id int primary key, state text);
insert into doors values (1, '5'), (2, 'x'), (3, '7');
alter table members enable row level security;
alter table docs enable row level security;
alter table "Odd Name" enable row level security;
alter table sealed enable row level security;
alter table doors enable row level security;
create policy self on members to matrix_app using (user_id = uid());
create policy mine on docs to matrix_app using (owner = uid()) with check (owner = uid() and kind <> 'locked');
create policy orgs on docs for select to matrix_app using (org in (select m.org from members m where m.user_id = uid()));
create policy calm on docs as restrictive to matrix_app using (kind <> 'secret');
create policy cheap on "Odd Name" for select to matrix_app, matrix_anon using (price < 1);
create policy casts on doors for select to matrix_app using (state::int > 6);
grant select, insert, update, delete on docs, members, doors to matrix_app;
grant select on "Odd Name" to matrix_app, matrix_anon;
grant select (id) on loose to matrix_app;
grant select on sealed to matrix_app;
grant select on docs to matrix_anon;
analyze;
"#;

const WORKLOAD: &str = "
version: 1
personas:
  ann:
    role: matrix_app
    sample: select user_id from members where org = 424241
    claims: { sub: '${user_id}' }
  bob:
    role: matrix_app
    sample: select user_id from members where org = 2 order by user_id desc limit 1
    claims: { sub: '${user_id}' }
  visitor:
    role: matrix_anon
queries:
  - name: count
    personas: [ann]
    sql: select count(*) from docs
";

async fn ground(label: &str) -> (Db, tempfile::TempDir) {
    let template = server::template("matrix", &[SETUP.to_owned()]).await;
    let db = server::fresh_from(label, template).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("benchmarks")).unwrap();
    std::fs::write(folder.path().join("benchmarks/w.yaml"), WORKLOAD).unwrap();
    (db, folder)
}

fn json(folder: &Path, name: &str) -> Value {
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn cell<'a>(matrix: &'a Value, identity: &str, table: &str, clause: &str) -> Option<&'a Value> {
    let cells = matrix["data"]["matrix"]["cells"].as_array().unwrap();
    cells
        .iter()
        .find(|c| c["identity"] == identity && c["table"] == table && c["clause"] == clause)
}

/// What a statement of the identity itself counts.
async fn asked(client: &Client, role: &str, user: &str, sql: &str) -> String {
    client
        .batch_execute(&format!("begin; set local role {role}"))
        .await
        .unwrap();
    if !user.is_empty() {
        let claims = format!("set local request.jwt.claims = '{{\"sub\": \"{user}\"}}'");
        client.batch_execute(&claims).await.unwrap();
    }
    let rows = client.query(sql, &[]).await.unwrap();
    client.batch_execute("rollback").await.unwrap();
    rows[0].get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_and_digests_are_the_servers_own() {
    let (db, folder) = ground("matrix_counts").await;
    let arguments = [
        "verify", "--matrix", "-o", "m.json", "-o", "m.html", "-o", "m.md", "-o", "m.xml",
    ];
    let (code, out, err) = dbtune(folder.path(), &db.url, &arguments);
    assert_eq!(code, 0, "{out}{err}");
    let matrix = json(folder.path(), "m.json");
    let who = [
        ("ann", "matrix_app", "777001"),
        ("bob", "matrix_app", "777002"),
        ("visitor", "matrix_anon", ""),
        ("matrix_app_no_claims", "matrix_app", ""),
    ];
    let mut compared = 0;
    for (identity, role, user) in who {
        for (table, quoted, key) in [
            ("public.docs", "docs", "row(id)"),
            ("public.members", "members", "row(user_id, org)"),
            ("public.Odd Name", "\"Odd Name\"", "row(note, price)"),
            ("public.loose", "loose", "row(id)"),
            ("public.sealed", "sealed", "row(id)"),
        ] {
            let Some(cell) = cell(&matrix, identity, table, "select") else {
                let sql = format!(
                    "select has_any_column_privilege('{role}', '{quoted}', 'select')::text"
                );
                let may = asked(&db.client().await, "postgres", "", &sql).await;
                assert_eq!(may, "false", "{identity} {table}");
                continue;
            };
            let sql = format!(
                "select count(*) || ' ' || coalesce(sum(hashtextextended({key}::text, 0)::numeric), 0) from {quoted}"
            );
            let real = asked(&db.client().await, role, user, &sql).await;
            let told = format!("{} {}", cell["rows"], cell["digest"].as_str().unwrap());
            assert_eq!(told, real, "{identity} {table}");
            compared += 1;
            if cell["table"] == "public.docs" && role == "matrix_app" {
                let delete =
                    "with gone as (delete from docs returning 1) select count(*)::text from gone";
                let real = asked(&db.client().await, role, user, delete).await;
                let told = crate::verify_matrix::cell(&matrix, identity, table, "delete").unwrap();
                assert_eq!(told["rows"].to_string(), real, "{identity} deletes");
            }
        }
    }
    assert_eq!(compared, 4 + 3 + 4 + 3 + 3);
    what_decides(&matrix);
    nothing_is_told(folder.path(), &["m.json", "m.html", "m.md", "m.xml"], &out);
    let page = std::fs::read_to_string(folder.path().join("m.html")).unwrap();
    assert!(
        page.contains("class=\"heat\"") && page.contains("Odd Name"),
        "{page}"
    );
}

fn what_decides(matrix: &Value) {
    let ann = cell(matrix, "ann", "public.docs", "select").unwrap();
    let shares = |name: &str| -> Vec<(String, u64)> {
        let all = ann[name].as_array().unwrap().iter();
        all.map(|s| {
            (
                s["policy"].as_str().unwrap().to_owned(),
                s["rows"].as_u64().unwrap(),
            )
        })
        .collect()
    };
    // Of 1 to 210: a multiple of 5 is ann's; one that is 0 or 1 by 3 is of her organisations; a multiple of 7 is secret.
    let count = |test: &dyn Fn(u64) -> bool| (1..=210).filter(|i| test(*i)).count() as u64;
    let mine = count(&|i| i % 5 == 0 && i % 7 != 0);
    let orgs = count(&|i| i % 3 != 2 && i % 7 != 0);
    let taken = count(&|i| (i % 5 == 0 || i % 3 != 2) && i % 7 == 0);
    assert_eq!(
        shares("admits"),
        [("mine".to_owned(), mine), ("orgs".to_owned(), orgs)]
    );
    assert_eq!(shares("takes"), [("calm".to_owned(), taken)]);
    let insert = cell(matrix, "ann", "public.docs", "insert").unwrap();
    let kinds = &insert["kinds"];
    let (admitted, all) = (
        kinds["admitted"].as_u64().unwrap(),
        kinds["all"].as_u64().unwrap(),
    );
    assert!(0 < admitted && admitted < all, "{kinds}");
    let loose = cell(matrix, "ann", "public.loose", "select").unwrap();
    assert_eq!(loose["by"], "open");
    assert_eq!(loose["columns"], serde_json::json!(["id"]));
    let sealed = cell(matrix, "ann", "public.sealed", "select").unwrap();
    assert_eq!(
        (&sealed["by"], sealed["rows"].as_u64()),
        (&Value::from("nobody"), Some(0))
    );
    assert!(cell(matrix, "visitor", "public.sealed", "select").is_none());
    // A row on which the policy raises ends every statement; which of the others it admits is known all the same.
    let doors = cell(matrix, "ann", "public.doors", "select").unwrap();
    assert_eq!(
        (doors["ends"].as_str(), doors["rows"].as_u64()),
        (Some("22P02"), Some(1))
    );
}

fn nothing_is_told(folder: &Path, files: &[&str], printed: &str) {
    let mut texts = vec![("what is printed".to_owned(), printed.to_owned())];
    for file in files {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        texts.push(((*file).to_owned(), text));
    }
    for (name, text) in texts {
        for planted in PLANTED {
            assert!(!text.contains(planted), "{planted} is in {name}");
        }
    }
}

/// On a connection that is gone afterwards: nothing is cloned that somebody is connected to.
async fn change(db: &Db, sql: &str) {
    let client = db.client().await;
    client.batch_execute(sql).await.unwrap();
    server::close(client, &db.name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_matrix_finds_what_opened() {
    let (db, folder) = ground("matrix_against").await;
    let run = |arguments: &[&str]| dbtune(folder.path(), &db.url, arguments);
    let against = [
        "verify",
        "--matrix",
        "--against",
        "m.json",
        "-o",
        "now.json",
    ];
    let (code, out, err) = run(&["verify", "--matrix", "-o", "m.json"]);
    assert_eq!(code, 0, "{out}{err}");
    let (code, out, err) = run(&against);
    assert_eq!(code, 0, "nothing changed: {out}{err}");

    // The same rows by another text.
    let equal = "alter policy orgs on docs using (exists (select from members m where m.user_id = uid() and m.org = docs.org))";
    change(&db, equal).await;
    let (code, out, err) = run(&against);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("read otherwise than before"), "{out}");

    let wider = "alter policy mine on docs using (owner = uid() or owner is null); grant select on loose to matrix_anon";
    change(&db, wider).await;
    let (code, out, err) = run(&against);
    assert_eq!(code, 1, "{out}{err}");
    let changes = json(folder.path(), "now.json")["data"]["against"]["changes"].clone();
    let first = &changes[0];
    assert_eq!(
        (&first["outside"], &first["direction"]),
        (&Value::from(true), &Value::from("widening")),
        "{changes}"
    );
    let told = |identity: &str, table: &str, clause: &str, direction: &str| {
        changes.as_array().unwrap().iter().any(|c| {
            c["identity"] == identity
                && c["table"] == table
                && c["clause"] == clause
                && c["direction"] == direction
        })
    };
    assert!(
        told("visitor", "public.loose", "select", "widening"),
        "{changes}"
    );
    assert!(
        told("ann", "public.docs", "select", "widening"),
        "{changes}"
    );
    assert!(
        told("bob", "public.docs", "delete", "widening"),
        "{changes}"
    );
    assert!(
        !told("ann", "public.docs", "insert", "widening"),
        "{changes}"
    );
    nothing_is_told(folder.path(), &["now.json"], &out);

    change(&db, "alter policy mine on docs using (owner = uid()); revoke select on loose from matrix_anon;
             revoke delete on docs from matrix_app; alter policy cheap on \"Odd Name\" to matrix_app").await;
    let (code, _, _) = run(&against);
    assert_eq!(code, 1);
    let changes = json(folder.path(), "now.json")["data"]["against"]["changes"].clone();
    let all = changes.as_array().unwrap();
    assert!(
        all.iter().all(|c| c["direction"] == "narrowing"),
        "{changes}"
    );
    assert!(
        all.iter()
            .any(|c| c["identity"] == "visitor" && c["table"] == "public.Odd Name"),
        "{changes}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn other_data_is_said_and_the_rules_are_still_compared() {
    let (db, folder) = ground("matrix_data").await;
    let run = |arguments: &[&str]| dbtune(folder.path(), &db.url, arguments);
    let against = ["verify", "--matrix", "--against", "m.json"];
    assert_eq!(run(&["verify", "--matrix", "-o", "m.json"]).0, 0);
    change(&db, "insert into docs select i, 2, 777001, 'plain', 'planted body' from generate_series(1001, 1010) i").await;
    let (code, out, err) = run(&against);
    assert_eq!(code, 0, "{out}{err}");
    assert!(
        out.contains("The data is another one") && out.contains("public.docs"),
        "{out}"
    );
    change(&db, "alter table docs disable row level security").await;
    let (code, out, _) = run(&against);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("open: no row-level"), "{out}");

    std::fs::write(folder.path().join("broken.json"), "{}").unwrap();
    for file in ["broken.json", "none.json"] {
        let (code, _, err) = run(&["verify", "--matrix", "--against", file]);
        assert_eq!(code, 2, "{err}");
    }
    let (code, _, err) = run(&["verify", "--against", "m.json"]);
    assert_eq!(code, 2, "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_row_is_explained() {
    let (db, folder) = ground("matrix_why").await;
    let why = |identity: &str, table: &str, key: &str| {
        dbtune(
            folder.path(),
            &db.url,
            &["verify", "--why", identity, table, key],
        )
    };
    // 5 is ann's and of an organisation that she is not in.
    let (code, out, err) = why("ann", "docs", "5");
    assert_eq!(code, 0, "{out}{err}");
    for part in [
        "visible",
        "policy mine (permissive) is true",
        "policy orgs (permissive) is false",
        "policy calm (restrictive) is true",
    ] {
        assert!(out.contains(part), "{part} in {out}");
    }
    // 7 is secret.
    let (code, out, err) = why("ann", "public.docs", "id=7");
    assert_eq!(code, 1, "{out}{err}");
    assert!(
        out.contains("hidden") && out.contains("policy calm (restrictive) is false"),
        "{out}"
    );
    assert!(out.contains("policy orgs (permissive) is true"), "{out}");
    // The check is of two parts, of which one is true.
    assert!(
        out.contains("all of") && out.contains("`kind <> 'locked'::text` is true"),
        "{out}"
    );
    nothing_is_told(folder.path(), &[], &out);

    let (code, out, _) = why("visitor", "docs", "5");
    assert_eq!(code, 1, "{out}");
    assert!(
        out.contains("no permissive policy is for this role")
            && out.contains("not asked of this role"),
        "{out}"
    );
    assert!(out.contains("no such privilege"), "it may not write: {out}");
    let (code, out, _) = why("ann", "loose", "3");
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("no row-level security"), "{out}");
    let (code, out, _) = why("bob", "members", "user_id=777002,org=2");
    assert_eq!(code, 0, "{out}");
    for (identity, table, key) in [
        ("ann", "docs", "99999"),
        ("ann", "docs", "kind=plain"),
        ("ann", "members", "777001"),
        ("ann", "nowhere", "1"),
        ("nobody", "docs", "1"),
    ] {
        let (code, out, err) = why(identity, table, key);
        assert_eq!(code, 2, "{identity} {table} {key}: {out}{err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exported_tests_stand_alone_and_fail_when_access_changes() {
    let (db, folder) = ground("matrix_pgtap").await;
    let (code, out, err) = dbtune(
        folder.path(),
        &db.url,
        &["verify", "--export", "pgtap", "tests"],
    );
    assert_eq!(code, 0, "{out}{err}");
    let tests = folder.path().join("tests");
    let file = tests.join("public.docs.sql");
    let text = std::fs::read_to_string(&file).unwrap();
    // The workload's own sample is in it; what it finds is not.
    for planted in ["777001", "777999", "planted body"] {
        assert!(!text.contains(planted), "{text}");
    }
    let client = db.client().await;
    let available = "select count(*) from pg_available_extensions where name = 'pgtap'";
    if client
        .query_one(available, &[])
        .await
        .unwrap()
        .get::<_, i64>(0)
        == 0
    {
        println!(
            "NOT RUN: the server has no pgTAP (apt-get install postgresql-15-pgtap), so no exported test was run"
        );
        return;
    }
    client
        .batch_execute("create extension pgtap")
        .await
        .unwrap();
    let psql = server::binaries(&client).await.join("psql");
    let run = |file: &Path| {
        let output = Command::new(&psql)
            .args(["-X", "-q", "-d", &db.url, "-f"])
            .arg(file)
            .output()
            .unwrap();
        let (out, err) = (
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        );
        assert!(output.status.success(), "{out}{err}");
        out
    };
    for file in std::fs::read_dir(&tests).unwrap() {
        let out = run(&file.unwrap().path());
        assert!(out.starts_with("1..") && out.contains("\nok "), "{out}");
        assert!(
            !out.contains("not ok") && !out.contains("# Looks like"),
            "{out}"
        );
    }
    assert!(run(&file).matches("control").count() >= 2);
    client
        .batch_execute("alter policy mine on docs using (true)")
        .await
        .unwrap();
    let out = run(&file);
    assert!(
        out.contains("not ok") && out.contains("ann sees exactly"),
        "{out}"
    );
    client
        .batch_execute("alter policy mine on docs using (owner = uid()) with check (true)")
        .await
        .unwrap();
    let out = run(&file);
    assert!(
        out.contains("not ok") && out.contains("may not insert"),
        "{out}"
    );
}
