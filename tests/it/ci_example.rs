//! The steps of docs/ci.md: the page says what the script does, and the script works.

use crate::server;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

fn repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The `run:` blocks of the workflow on the page, by name.
fn page() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(repository("docs/ci.md")).unwrap();
    let yaml = text
        .split("```yaml\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let workflow: serde_json::Value = serde_saphyr::from_str(yaml).unwrap();
    let steps = workflow
        .pointer("/jobs/dbtune/steps")
        .and_then(|s| s.as_array())
        .unwrap();
    for uses in steps.iter().filter_map(|s| s.get("uses")?.as_str()) {
        assert!(
            uses.starts_with("actions/"),
            "{uses} is no public action of GitHub's own"
        );
    }
    steps
        .iter()
        .filter_map(|step| {
            Some((
                step.get("name")?.as_str()?.to_owned(),
                step.get("run")?.as_str()?.trim().to_owned(),
            ))
        })
        // How dbtune gets onto the machine is the reader's business.
        .filter(|(name, _)| name != "dbtune")
        .collect()
}

fn script() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(repository("scripts/ci-example.sh")).unwrap();
    text.split("# step: ")
        .skip(1)
        .map(|step| step.split_once('\n').unwrap())
        .map(|(name, body)| (name.to_owned(), body.trim().to_owned()))
        .collect()
}

#[test]
fn the_page_and_the_script_say_the_same() {
    let (page, script) = (page(), script());
    assert_eq!(page.len(), 3);
    assert_eq!(page, script);
}

const BASE: &str = "
do $$ begin create role ci_app nologin; exception when duplicate_object then null; end $$;
create table notes (id int primary key, owner int not null, body text not null);
create index notes_owner_idx on notes (owner);
alter table notes enable row level security;
create policy own on notes for select to ci_app
  using (owner = (select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::int));
grant select on notes to ci_app;
";

const WORKLOAD: &str = "
version: 1
personas:
  seven: { role: ci_app, claims: { sub: 7 } }
queries:
  - { name: mine, personas: [seven], sql: select count(*) from notes, slo_ms: 2000 }
";

/// A clone of a pull request's branch: one commit with one more migration than `origin/main` has.
fn clone(change: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("migrations/1_notes.up.sql", BASE);
    write("migrations/1_notes.down.sql", "drop table notes;\n");
    write(
        "seed.sql",
        "insert into notes select i, i % 50, repeat('x', 200) from generate_series(1, 20000) i;\n",
    );
    write("benchmarks/workload.yaml", WORKLOAD);
    let git = |arguments: &[&str]| {
        let status = Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@localhost"])
            .args(arguments)
            .current_dir(folder.path())
            .status()
            .unwrap();
        assert!(status.success(), "git {arguments:?}");
    };
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "base"]);
    git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
    write("migrations/2_change.up.sql", change);
    write("migrations/2_change.down.sql", "select 1;\n");
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "change"]);
    folder
}

async fn run(label: &str, change: &str, base: &str) -> (i32, String, tempfile::TempDir) {
    let db = server::fresh(label).await;
    let binaries = server::binaries(&db.client().await).await;
    let folder = clone(change);
    let mut path = vec![binaries];
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
    let output = Command::new("sh")
        .arg(repository("scripts/ci-example.sh"))
        .current_dir(folder.path())
        .env("DATABASE_URL", &db.url)
        .env("DBTUNE", env!("CARGO_BIN_EXE_dbtune"))
        .env("PATH", std::env::join_paths(path).unwrap())
        .env("DURATION", "2s")
        .env("BASE_REF", base)
        .env("GITHUB_STEP_SUMMARY", folder.path().join("summary.md"))
        .output()
        .unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    (output.status.code().unwrap_or(-1), text, folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_steps_pass_a_harmless_change_and_stop_a_bad_one() {
    if Command::new("git").arg("--version").output().is_err() {
        eprintln!("SKIPPED: the steps of docs/ci.md need git");
        return;
    }
    let (code, text, folder) =
        run("ci_good", "comment on table notes is 'harmless';\n", "main").await;
    let summary = std::fs::read_to_string(folder.path().join("summary.md")).unwrap();
    // 3 where this machine is too busy to tell.
    assert!(code == 0 || code == 3, "{code}: {text}\n{summary}");
    assert!(
        summary.starts_with("## dbtune bench")
            && summary.contains("mine@seven")
            && summary.contains("before: git origin/main (")
            && summary.contains("after: git HEAD ("),
        "{summary}"
    );
    for file in ["bench.html", "bench.md", "bench.xml"] {
        assert!(folder.path().join(file).exists(), "{file}: {text}");
    }
    assert!(text.contains("::notice title=dbtune audit::"), "{text}");

    let bad = "drop index notes_owner_idx;\nalter policy own on notes using (owner = (select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::int) and pg_sleep(0.0002)::text = '');\n";
    let (code, text, folder) = run("ci_bad", bad, "").await;
    assert_eq!(code, 1, "{text}");
    let summary = std::fs::read_to_string(folder.path().join("summary.md")).unwrap_or_default();
    let table = summary.split("<details>").next().unwrap();
    assert!(
        table.contains("| mine@seven |") && text.contains("::error title=mine@seven::"),
        "{text}\n{summary}"
    );
}
