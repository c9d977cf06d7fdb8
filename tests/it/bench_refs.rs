//! What `bench --before REF --after REF` may name: migrations, commits, files and databases.

use crate::server::Db;
use crate::tenants;
use std::path::Path;
use std::process::{Command, Output};

/// A folder with a workload of one query, in a git repository of its own.
pub(crate) struct Project(pub(crate) tempfile::TempDir);

pub(crate) const WORKLOAD: &str = "
version: 1
personas:
  seven: { role: tenants_app, claims: { tenant: 7 } }
queries:
  - { name: count, personas: [seven], sql: select count(*) from items, slo_ms: 2000 }
";

impl Project {
    pub(crate) fn new() -> Self {
        let project = Self(tempfile::tempdir().unwrap());
        project.put("benchmarks/w.yaml", WORKLOAD);
        project
    }

    pub(crate) fn put(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.0.path().join(name)).unwrap();
    }

    /// Both files of a migration.
    pub(crate) fn migration(&self, label: &str, up: &str, down: &str) {
        self.put(&format!("migrations/{label}.up.sql"), up);
        self.put(&format!("migrations/{label}.down.sql"), down);
    }

    fn git(&self, arguments: &[&str]) {
        let output = Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@localhost"])
            .args(arguments)
            .current_dir(self.0.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {text}");
    }

    fn commit(&self, message: &str) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message]);
    }

    /// Exit code, standard output, standard error.
    pub(crate) fn dbtune(&self, url: &str, arguments: &[&str]) -> (i32, String, String) {
        let Output {
            status,
            stdout,
            stderr,
        } = command(self.0.path(), url, arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code().unwrap_or(-1), text(stdout), text(stderr))
    }

    /// The report of a short `bench`, which is to end with one of `codes`.
    fn bench(&self, url: &str, arguments: &[&str], codes: &[i32]) -> serde_json::Value {
        let all = [SHORT, arguments].concat();
        let (code, out, err) = self.dbtune(url, &all);
        assert!(codes.contains(&code), "{arguments:?}: {code} {out}{err}");
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{err}"))
    }
}

pub(crate) const SHORT: &[&str] = &[
    "--format",
    "json",
    "bench",
    "--duration",
    "300ms",
    "--draws",
    "2",
    "--no-gate",
];

pub(crate) fn command(folder: &Path, url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dbtune"));
    command
        .args(["--db", url, "--quiet"])
        .args(arguments)
        .current_dir(folder)
        .env("COLUMNS", "100");
    command
}

/// Names of clones there are of this database, by the comment that dbtune puts on each.
pub(crate) async fn clones(db: &Db) -> Vec<String> {
    let client = db.client().await;
    let sql = "select datname::text from pg_database where datname like 'dbtune\\_clone\\_%'
        and coalesce(shobj_description(oid, 'pg_database'), $1) = $1";
    let comment = format!("made by dbtune from {}; safe to drop", db.name);
    let rows = client.query(sql, &[&comment]).await.unwrap();
    rows.iter().map(|r| r.get(0)).collect()
}

fn side<'a>(report: &'a serde_json::Value, part: &str, key: &str) -> &'a serde_json::Value {
    report
        .pointer(&format!("/data/sides/{part}/{key}"))
        .unwrap()
}

fn comparison<'a>(report: &'a serde_json::Value, key: &str) -> &'a serde_json::Value {
    report
        .pointer(&format!("/data/comparisons/0/{key}"))
        .unwrap_or_else(|| panic!("{report:#}"))
}

/// Whether the plan of one side uses the index.
fn uses_index(report: &serde_json::Value, part: &str) -> bool {
    let plan = comparison(report, &format!("{part}/plan"));
    plan.as_str().unwrap().contains("items_tenant_idx")
}

const INDEX: (&str, &str) = (
    "create index items_tenant_idx on items (tenant);\n",
    "drop index items_tenant_idx;\n",
);

/// The first migration makes a column, the second the index, the third takes the index away again.
fn three() -> Project {
    let project = Project::new();
    project.migration(
        "20250101000001_color",
        "alter table items add color text;\n",
        "alter table items drop color;\n",
    );
    project.migration("20250101000002_tenant_idx", INDEX.0, INDEX.1);
    project.migration("20250202000003_no_idx", INDEX.1, INDEX.0);
    project
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_reached_forwards_and_backwards() {
    let (db, _) = tenants::database("ref_versions").await;
    let url = db.url_as("tenants_owner");
    let project = three();
    // Nothing is applied: both go forwards.
    let report = project.bench(
        &url,
        &["--before", "20250101000001", "--after", "tenant_idx"],
        &[0],
    );
    assert!(!uses_index(&report, "before") && uses_index(&report, "after"));
    assert_eq!(side(&report, "before", "kind"), "version");
    assert_eq!(side(&report, "before", "newest"), "20250101000001_color");
    assert_eq!(
        side(&report, "after", "newest"),
        "20250101000002_tenant_idx"
    );
    assert_eq!(
        side(&report, "after", "applied").as_array().unwrap().len(),
        2
    );

    let (code, _, err) = project.dbtune(&url, &["apply"]);
    assert_eq!(code, 0, "{err}");
    // Everything is applied: one side goes back, the other stays.
    let report = project.bench(
        &url,
        &["--before", "version:20250101000002", "--after", "202502"],
        &[0],
    );
    assert!(uses_index(&report, "before") && !uses_index(&report, "after"));
    assert_eq!(
        side(&report, "before", "taken_back")
            .as_array()
            .unwrap()
            .len(),
        1
    );
    // As `--before` alone records it, from a clone, and with every format naming the sides.
    let record = ["--before", "0", "-o", "base.json"];
    let report = project.bench(&url, &record, &[0]);
    let words = report.pointer("/data/side").unwrap().as_str().unwrap();
    assert!(
        words.contains("with no migration (3 taken back)"),
        "{words}"
    );
    for format in ["table", "markdown", "html"] {
        let bench = [
            "--format",
            format,
            "bench",
            "--before",
            "0",
            "--after",
            "color",
            "--duration",
            "100ms",
            "--no-gate",
        ];
        let (code, out, err) = project.dbtune(&url, &bench);
        assert_eq!(code, 0, "{out}{err}");
        for words in [
            "before: version 0, before the first migration, on a clone with no migration (3 taken back)",
            "after: version 20250101000001_color, on a clone up to 20250101000001_color (2 taken back)",
        ] {
            let out = out.replace("\\_", "_");
            assert!(out.contains(words), "{format}: {out}");
        }
    }
    let client = db.client().await;
    let sql = "select count(*) from _sqlx_migrations";
    assert_eq!(
        client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0),
        3,
        "the source is as it was"
    );
    drop(client);
    assert_eq!(clones(&db).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_are_reached_whatever_the_database_has() {
    if Command::new("git").arg("--version").output().is_err() {
        eprintln!("SKIPPED: commits need git");
        return;
    }
    let (db, _) = tenants::database("ref_commits").await;
    let url = db.url_as("tenants_owner");
    let project = Project::new();
    project.git(&["init", "--quiet", "--initial-branch", "main"]);
    project.migration(
        "1_color",
        "alter table items add color text;\n",
        "alter table items drop color;\n",
    );
    project.commit("color");
    project.git(&["tag", "v1"]);
    project.git(&["checkout", "--quiet", "-b", "feature"]);
    project.migration("2_tenant_idx", INDEX.0, INDEX.1);
    project.commit("index");
    project.git(&["checkout", "--quiet", "main"]);
    project.migration(
        "3_size",
        "alter table items add size int;\n",
        "alter table items drop size;\n",
    );
    project.commit("size");
    // The database has what main has; the branch lacks 3 and has 2.
    let (code, _, err) = project.dbtune(&url, &["apply"]);
    assert_eq!(code, 0, "{err}");
    let report = project.bench(&url, &["--before", "main", "--after", "feature"], &[0]);
    assert!(
        !uses_index(&report, "before") && uses_index(&report, "after"),
        "{report:#}"
    );
    let before = side(&report, "before", "what").as_str().unwrap();
    assert!(
        before.starts_with("git main (") && before.len() == "git main ()".len() + 10,
        "{before}"
    );
    assert_eq!(side(&report, "before", "newest"), "3_size");
    assert_eq!(
        side(&report, "after", "taken_back"),
        &serde_json::json!(["3_size"])
    );
    assert_eq!(
        side(&report, "after", "applied"),
        &serde_json::json!(["2_tenant_idx"])
    );

    // Merged, and with an edit of what was applied: out of order, taken back and applied anew.
    project.git(&["merge", "--quiet", "--no-edit", "feature"]);
    project.put(
        "migrations/3_size.up.sql",
        "alter table items add size bigint;\n",
    );
    project.commit("edited");
    let report = project.bench(&url, &["--before", "v1", "--after", "HEAD"], &[0]);
    assert_eq!(side(&report, "before", "newest"), "1_color");
    assert_eq!(
        side(&report, "after", "applied"),
        &serde_json::json!(["2_tenant_idx", "3_size"])
    );
    assert!(uses_index(&report, "after"));
    // The folder may be gone from the disk, and a subfolder may be where one is.
    for file in ["1_color", "2_tenant_idx", "3_size"] {
        project.remove(&format!("migrations/{file}.up.sql"));
        project.remove(&format!("migrations/{file}.down.sql"));
    }
    std::fs::remove_dir(project.0.path().join("migrations")).unwrap();
    let report = project.bench(&url, &["--before", "git:HEAD~1", "--after", "HEAD"], &[0]);
    assert_eq!(side(&report, "after", "newest"), "3_size");
    // One commit against itself says so.
    let report = project.bench(&url, &["--before", "HEAD", "--after", "main"], &[0]);
    let gaps = report.get("gaps").unwrap().to_string();
    assert!(gaps.contains("have the same migrations"), "{gaps}");
    // What an unknown name is told.
    let (code, _, err) = project.dbtune(&url, &["bench", "--before", "mian", "--after", "HEAD"]);
    assert_eq!(code, 2, "{err}");
    for words in [
        "`mian`", "1_color", "3_size", "feature", "main", "v1", "git:", "fetch",
    ] {
        assert!(err.contains(words), "{words}: {err}");
    }
    // A commit without the folder, and one whose migrations have no way back.
    project.git(&["checkout", "--quiet", "--orphan", "empty"]);
    project.commit("no migrations");
    let (code, _, err) = project.dbtune(&url, &["bench", "--before", "main", "--after", "empty"]);
    assert!(
        code == 2 && err.contains("no such folder") && err.contains("empty:migrations"),
        "{err}"
    );
    assert_eq!(clones(&db).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_and_files_are_sides() {
    let (db, _) = tenants::database("ref_url").await;
    let (other, _) = tenants::database("ref_other").await;
    let (url, second) = (db.url_as("tenants_owner"), other.url_as("tenants_owner"));
    let project = Project::new();
    project.migration("1_tenant_idx", INDEX.0, INDEX.1);
    other
        .client()
        .await
        .batch_execute(&format!("{}analyze items", INDEX.0))
        .await
        .unwrap();
    // Two databases: nothing is cloned, no folder is read.
    let with_secret = second.replacen("@/", ":hush@/", 1);
    assert_ne!(with_secret, second);
    let report = project.bench(
        "postgresql://nobody@127.0.0.1:1/none",
        &["--before", &url, "--after", &with_secret],
        &[0],
    );
    assert!(!uses_index(&report, "before") && uses_index(&report, "after"));
    let text = report.to_string();
    assert!(text.contains(":***@") && !text.contains("hush"), "{text}");
    assert_eq!(
        report.pointer("/data/warnings").unwrap(),
        &serde_json::json!([])
    );
    // A database and a clone.
    let report = project.bench(&url, &["--before", &second, "--after", "1"], &[0]);
    assert!(uses_index(&report, "before") && uses_index(&report, "after"));

    // A file on either side, on both, and beside a clone.
    project.bench(&url, &["--before", "-o", "base.json"], &[0]);
    let recorded = std::fs::read_to_string(project.0.path().join("base.json")).unwrap();
    let recorded: serde_json::Value = serde_json::from_str(&recorded).unwrap();
    for path in [
        "/environment/machine/processors",
        "/environment/server/address",
        "/environment/tables/public.items/columns/title",
    ] {
        assert!(recorded.pointer(path).is_some(), "{path}: {recorded}");
    }
    let report = project.bench(
        &url,
        &["--before", "base.json", "--after", "tenant_idx"],
        &[0],
    );
    assert!(!uses_index(&report, "before") && uses_index(&report, "after"));
    let what = side(&report, "before", "what").as_str().unwrap();
    assert!(
        what.starts_with("file base.json, recorded 2") && what.contains("itself"),
        "{what}"
    );
    let report = project.bench(&url, &["--before", "base.json", "--after"], &[0]);
    assert!(!uses_index(&report, "after"), "the database itself");
    project.bench(&second, &["--before", "-o", "other.json"], &[0]);
    let report = project.bench(
        "postgresql://nobody@127.0.0.1:1/none",
        &["--before", "base.json", "--after", "file:other.json"],
        &[0],
    );
    assert!(uses_index(&report, "after"));
    project.bench(&second, &["--before", "--after", "other.json"], &[0]);

    // Another machine, another setting, another server: told. Other data: refused, unless asked for.
    let mut elsewhere = recorded.clone();
    elsewhere["environment"]["machine"]["processor"] = "Abacus 1".into();
    elsewhere["environment"]["settings"]["work_mem"] = "1GB".into();
    elsewhere["environment"]["server"]["version_num"] = 140_001.into();
    project.put("elsewhere.json", &elsewhere.to_string());
    let report = project.bench(&url, &["--before", "elsewhere.json", "--after"], &[0]);
    let warnings = report.pointer("/data/warnings").unwrap().to_string();
    for words in ["Abacus 1", "work_mem 1GB before", "14.1 before"] {
        assert!(warnings.contains(words), "{words}: {warnings}");
    }
    other
        .client()
        .await
        .batch_execute("update notes set body = 'other' where id = 3")
        .await
        .unwrap();
    let bench = ["bench", "--before", &url, "--after", &second];
    let (code, _, err) = project.dbtune(&url, &bench);
    assert!(
        code == 2
            && err.contains("public.notes")
            && err.contains("body")
            && err.contains("--allow-other-data"),
        "{err}"
    );
    let report = project.bench(
        &url,
        &["--before", &url, "--after", &second, "--allow-other-data"],
        &[0],
    );
    assert!(
        report
            .pointer("/data/warnings")
            .unwrap()
            .to_string()
            .contains("notes")
    );
    assert_eq!(clones(&db).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_side_is_refused() {
    let (db, _) = tenants::database("ref_refused").await;
    let url = db.url_as("tenants_owner");
    let project = three();
    project.put("old.json", "{\"version\": 1, \"queries\": {}}");
    project.put("other.json", "{\"rows\": []}");
    let cases: [(&[&str], &[&str]); 11] = [
        (
            &["--before", "nope", "--after"],
            &[
                "`nope`",
                "20250101000001_color",
                "no git repository",
                "version:",
            ],
        ),
        (
            &["--before", "version:7", "--after"],
            &["version:7", "20250202000003_no_idx"],
        ),
        (
            &["--before", "20250101", "--after"],
            &["several migrations", "20250101000001_color"],
        ),
        (
            &["--before", "git:main", "--after"],
            &["git:main", "no git repository"],
        ),
        (
            &["--before", "", "--after"],
            &["--before is given an empty text"],
        ),
        (
            &["--before", "old.json", "--after"],
            &["old.json", "earlier dbtune", "again"],
        ),
        (
            &["--before", "other.json", "--after"],
            &["other.json", "no file that dbtune recorded"],
        ),
        (&["--before", "none.json", "--after"], &["none.json"]),
        (
            &["--before", "--after", "mysql://u:hush@h/d"],
            &["mysql://"],
        ),
        (
            &["--before", "--after", "u:hush@h/d"],
            &["may hold a password"],
        ),
        (
            &["--before", "postgres://u:hush@127.0.0.1:1/d", "--after"],
            &["u:***@127.0.0.1:1/d"],
        ),
    ];
    for (arguments, words) in cases {
        let (code, out, err) = project.dbtune(&url, &[&["bench"], arguments].concat());
        assert_eq!(code, 2, "{arguments:?}: {out}{err}");
        for word in words {
            assert!(err.contains(word), "{arguments:?}: {word}: {err}");
        }
        assert!(!err.contains("hush"), "{arguments:?}: {err}");
    }
    // What is there although the ledger does not know it.
    db.client()
        .await
        .batch_execute("alter table items add color text")
        .await
        .unwrap();
    let (code, _, err) = project.dbtune(&url, &["bench", "--before", "0", "--after"]);
    assert!(
        code == 2 && err.contains("42701") && err.contains("ledger"),
        "{err}"
    );
    db.client()
        .await
        .batch_execute("alter table items drop color")
        .await
        .unwrap();
    // A migration without a way back, which the side needs.
    project.remove("migrations/20250202000003_no_idx.down.sql");
    let (code, _, err) = project.dbtune(&url, &["apply"]);
    assert_eq!(code, 0, "{err}");
    let (code, _, err) = project.dbtune(&url, &["bench", "--before", "tenant_idx", "--after"]);
    assert_eq!(code, 2, "{err}");
    for word in [
        "clone \"before\"",
        "20250202000003_no_idx.down.sql",
        "cannot be taken back",
    ] {
        assert!(err.contains(word), "{word}: {err}");
    }
    assert_eq!(clones(&db).await, Vec::<String>::new());
}
