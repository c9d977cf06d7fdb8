//! `dbtune bench` and `dbtune verify` as they are typed: exit codes, files and refusals.

use crate::tenants;
use std::path::Path;
use std::process::Output;

const UP: &str = "create index items_tenant_idx on items (tenant);\n";
/// No server: whoever connects fails.
const NOWHERE: &str = "postgresql://nobody@127.0.0.1:1/nothing";

/// Exit code, standard output and standard error of dbtune in `folder`.
pub(crate) fn dbtune(folder: &Path, url: &str, arguments: &[&str]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = std::process::Command::new(env!("CARGO_BIN_EXE_dbtune"))
        .args(["--db", url, "--quiet"])
        .args(arguments)
        .current_dir(folder)
        .env("COLUMNS", "100")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

/// A folder with the workload and one pending migration.
fn folder(up: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("benchmarks/w.yaml", tenants::WORKLOAD);
    write("migrations/1_change.up.sql", up);
    write(
        "migrations/1_change.down.sql",
        "drop index items_tenant_idx;\n",
    );
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn bench_and_verify_an_index() {
    let (db, _) = tenants::database("cli").await;
    let url = db.url_as("tenants_owner");
    let folder = folder(UP);
    let bench = [
        "bench",
        "--before",
        "--after",
        "--duration",
        "1s",
        "--no-gate",
        "-o",
        "r.html",
        "-o",
        "r.xml",
    ];
    let nowhere = [&bench[..], &["-o", "no/such/folder/r.md"]].concat();
    let (code, out, err) = dbtune(folder.path(), NOWHERE, &nowhere);
    assert_eq!(code, 2, "before anything is measured: {out}");
    assert!(err.contains("cannot write no/such/folder/r.md"), "{err}");
    assert!(!folder.path().join("r.html").exists());

    let (code, out, err) = dbtune(folder.path(), &url, &bench);
    assert_eq!(code, 0, "{out}{err}");
    let cases = std::fs::read_to_string(folder.path().join("r.xml")).unwrap();
    assert!(
        cases.starts_with("<?xml") && cases.contains("after: the pending migrations"),
        "{cases}"
    );
    assert!(
        out.contains("count@seven") && out.contains("faster"),
        "{out}"
    );
    let table = out
        .lines()
        .filter(|l| l.contains('─') || l.contains("@seven"));
    assert!(
        table.clone().count() > 3 && table.clone().all(|l| l.chars().count() <= 100),
        "{out}"
    );
    let page = std::fs::read_to_string(folder.path().join("r.html")).unwrap();
    assert!(
        page.starts_with("<!doctype html>")
            && page.contains("<svg")
            && page.contains("count@seven")
    );
    assert!(!page.contains("someone"), "no claims");

    let (code, out, err) = dbtune(folder.path(), &url, &["verify"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(
        out.contains("Nothing that decides who sees or writes rows changed; 2 tables"),
        "{out}"
    );

    let client = db.client().await;
    let sql = "select count(*) from pg_indexes where indexname = 'items_tenant_idx'";
    assert_eq!(
        client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0),
        0,
        "the source is as it was"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_shows_more_fails_both() {
    let (db, _) = tenants::database("cli_more").await;
    let url = db.url_as("tenants_owner");
    let folder = folder("alter policy mine on items using (true);\n");
    let (code, out, _) = dbtune(
        folder.path(),
        &url,
        &[
            "bench",
            "--before",
            "--after",
            "--duration",
            "1s",
            "--no-gate",
        ],
    );
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("DIFFERS"), "{out}");
    let (code, out, _) = dbtune(folder.path(), &url, &["--format", "json", "verify"]);
    assert_eq!(code, 1, "{out}");
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["outcome"], "fail");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_side() {
    let (db, _) = tenants::database("cli_recorded").await;
    let url = db.url_as("tenants_owner");
    let folder = folder(UP);
    let record = [
        "bench",
        "--before",
        "--duration",
        "500ms",
        "-o",
        "base.json",
    ];
    let (code, out, err) = dbtune(folder.path(), &url, &record);
    assert_eq!(code, 0, "{out}{err}");
    let recorded = std::fs::read_to_string(folder.path().join("base.json")).unwrap();
    assert!(
        !recorded.contains("someone") && !recorded.contains("item 7"),
        "no claims and no rows"
    );

    let compare = [
        "bench",
        "--after",
        "--baseline",
        "base.json",
        "--duration",
        "500ms",
        "--no-gate",
    ];
    let client = db.client().await;
    client.batch_execute(UP).await.unwrap();
    let (code, out, err) = dbtune(folder.path(), &url, &compare);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("count@seven"), "{out}");

    client
        .batch_execute("delete from notes where id = 3")
        .await
        .unwrap();
    let (code, out, err) = dbtune(folder.path(), &url, &compare);
    assert_eq!(code, 2, "{out}");
    assert!(
        err.contains("another data set") && err.contains("notes"),
        "{err}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_what_to_do() {
    let (db, _) = tenants::database("cli_refused").await;
    let url = db.url_as("tenants_owner");
    let folder = folder(UP);
    for (arguments, words) in [
        (&["bench"][..], &["--before"][..]),
        (&["bench", "--before"], &["-o FILE"]),
        (
            &["bench", "--after"],
            &["--baseline FILE", "--before --after"],
        ),
        (
            &["bench", "--before", "--after", "--only", "nope"],
            &["no query `nope`", "count, find, rename"],
        ),
        (
            &["bench", "--before", "--after", "--workload", "none.yaml"],
            &["none.yaml"],
        ),
        (
            &["bench", "--before", "--after", "--migrations", "none"],
            &["none"],
        ),
        (&["verify", "--before", "postgresql://x"], &["--after"]),
    ] {
        let (code, _, err) = dbtune(folder.path(), &url, arguments);
        assert_eq!(code, 2, "{arguments:?}: {err}");
        for word in words {
            assert!(err.contains(word), "{arguments:?}: {err}");
        }
    }
    let client = db.client().await;
    let (code, _, err) = dbtune(folder.path(), &url, &["verify"]);
    assert_eq!(code, 2);
    assert!(
        err.contains("nobody is connected") && err.contains("pid "),
        "{err}"
    );
    drop(client);
    let broken = tenants::WORKLOAD.replace("role: tenants_app", "rule: tenants_app");
    std::fs::write(folder.path().join("benchmarks/w.yaml"), broken).unwrap();
    let (code, _, err) = dbtune(folder.path(), &url, &["verify"]);
    assert!(
        code == 2 && err.contains("w.yaml:6:5") && err.contains("rule"),
        "{err}"
    );
}
