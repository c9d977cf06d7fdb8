//! Everything that `propose` writes for the demo platform, applied and taken back while its users are at work.
//! Slow, so asked for: `make bench-apply`.

use crate::migrate_ground::schema_dump;
use crate::migrate_harness::own_server;
use crate::pgbench::Pgbench;
use crate::server;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The repository's own file or folder.
fn of_project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn dbtune(url: &str, args: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_dbtune"))
        .args(["--quiet", "--db", url])
        .args(args)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
#[ignore = "long; make bench-apply"]
async fn the_platform_comes_back_under_load() {
    let server = own_server().await;
    let admin = server::connect(&server.url("postgres", server.superuser())).await;
    admin.batch_execute("create database clinic").await.unwrap();
    let admin = server::connect(&server.url("clinic", server.superuser())).await;
    let bootstrap = std::fs::read_to_string(of_project("fixtures/bootstrap.sql")).unwrap();
    admin.batch_execute(&bootstrap).await.unwrap();

    let url = server.url("clinic", "clinic_owner");
    let dir = tempfile::tempdir().unwrap();
    let mut newest = 0;
    for entry in std::fs::read_dir(of_project("migrations")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        std::fs::copy(entry.path(), dir.path().join(&name)).unwrap();
        newest = newest.max(name.split('_').next().unwrap().parse::<i64>().unwrap());
    }
    let folder = dir.path().to_str().unwrap();
    dbtune(&url, &["apply", "--migrations", folder]);
    let owner = server::connect(&url).await;
    let mut policies: Vec<_> = std::fs::read_dir(of_project("policies/naive"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    policies.sort();
    for file in policies {
        let sql = std::fs::read_to_string(file).unwrap();
        owner.batch_execute(&sql).await.unwrap();
    }
    let spec = of_project("fixtures/clinic.yaml");
    dbtune(
        &url,
        &["seed", "--spec", spec.to_str().unwrap(), "--scale", "0.1"],
    );
    let before = schema_dump(&owner).await;
    let workload = of_project("benchmarks/clinic.yaml");
    let workload = workload.to_str().unwrap();
    dbtune(
        &url,
        &[
            "propose",
            "--clone",
            "never",
            "--workload",
            workload,
            "--migrations",
            folder,
        ],
    );

    let rows = owner
        .query(
            "select id::text from inventory_items order by random() limit 100",
            &[],
        )
        .await
        .unwrap();
    let ids: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let item = format!("('{{{}}}'::uuid[])[:n]", ids.join(","));
    let user: String = owner
        .query_one("select user_id::text from user_locations limit 1", &[])
        .await
        .unwrap()
        .get(0);
    let scripts = [
        format!(
            "\\set n random(1, 100)\nupdate inventory_items set updated_at = now() where id = {item};\n"
        ),
        format!(
            "\\set n random(1, 100)\nbegin;\nset local role authenticated;\n\
             select set_config('request.jwt.claims', '{{\"sub\": \"{user}\", \"role\": \"authenticated\"}}', true);\n\
             select name, quantity from inventory_items where id = {item};\ncommit;\n"
        ),
    ];
    let scripts: Vec<&str> = scripts.iter().map(String::as_str).collect();
    let load = Pgbench::start(server, ("clinic", "clinic_owner"), 4, &scripts).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    dbtune(&url, &["apply", "--unverified", "--migrations", folder]);
    let up = begun.elapsed();
    let number: i64 = owner
        .query_one(
            "select count(*) from _sqlx_migrations where version > $1",
            &[&newest],
        )
        .await
        .unwrap()
        .get(0);
    let begun = Instant::now();
    dbtune(&url, &["rollback", "--yes", "--to", &newest.to_string()]);
    let down = begun.elapsed();
    let latencies = load.stop();
    let (p99, longest) = latencies.tail();
    assert_eq!(schema_dump(&owner).await, before);
    println!(
        "demo platform with {} transactions of 4 users meanwhile (p99 {p99:?}, longest {longest:?}):",
        latencies.count()
    );
    println!("  {number} migrations applied in {up:?}, taken back in {down:?}");
    assert!(number > 30, "{number}");
    assert!(down < Duration::from_secs(2), "{down:?}");
}
