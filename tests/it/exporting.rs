//! `dbtune bench export`: the real pgbench runs what it writes.

use crate::commands::dbtune;
use crate::recording::shop;
use crate::server;
use std::process::Command;

const WORKLOAD: &str = r#"
version: 1
personas:
  staff:
    role: rec_app
    claims: { sub: "${who}", note: "for ${who}: all" }
    settings: { app.kind: "staff:member" }
    sample: select user_id as who from staff where shop_id = 9 order by 1 limit 1
queries:
  - { name: count, personas: [staff], sql: "select count(*) from orders where made > timestamptz '2025-01-01 00:00:00+00'", weight: 3 }
  - name: find
    personas: [staff]
    sql: select * from orders where id = $1 and state = $2 and buyer like $3 limit $4
    params:
      - { type: uuid, sql: select id from orders limit 50 }
      - { type: state, as: owner, sql: select distinct state from orders }
      - { type: text, as: owner, sql: "select buyer || ':%' from orders order by id limit 5" }
      - { type: bigint, as: owner, sql: values (10) }
  - name: rename
    personas: [staff]
    write: true
    sql: update orders set buyer = 'changed' where shop_id = any ($1)
    params:
      - { type: "integer[]", as: owner, sql: "values ('{9}')" }
    weight: 0.5
"#;

#[tokio::test(flavor = "multi_thread")]
async fn pgbench_runs_the_scripts() {
    let db = shop("export").await;
    let client = db.client().await;
    let pgbench = server::binaries(&client).await.join("pgbench");
    if !pgbench.exists() {
        eprintln!(
            "SKIPPED: no pgbench beside the server, {}",
            pgbench.display()
        );
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("w.yaml"), WORKLOAD).unwrap();
    let url = db.url_as("rec_owner");
    let secret = client
        .query_one(
            "select min(user_id::text) from staff where shop_id = 9",
            &[],
        )
        .await
        .unwrap()
        .get::<_, String>(0);
    for (flags, holds) in [(&[][..], false), (&["--with-values"], true)] {
        let export = [
            "bench",
            "export",
            "--pgbench",
            "out",
            "--k6",
            "k6.js",
            "--workload",
            "w.yaml",
        ];
        let (code, out, err) = dbtune(folder.path(), &url, &[&export[..], flags].concat());
        assert_eq!(code, 0, "{out}{err}");
        let mut all = std::fs::read_to_string(folder.path().join("k6.js")).unwrap();
        for entry in std::fs::read_dir(folder.path().join("out")).unwrap() {
            all += &std::fs::read_to_string(entry.unwrap().path()).unwrap();
        }
        assert_eq!(
            all.contains(&secret),
            holds,
            "the claims are written only where that is asked for"
        );
        assert_eq!(all.contains("Secret Buyer"), holds);
        let ran = Command::new(folder.path().join("out/run.sh"))
            .args(["-c", "2", "-t", "20", &url])
            .env("PGBENCH", &pgbench)
            .output()
            .unwrap();
        let (out, err) = (
            String::from_utf8_lossy(&ran.stdout),
            String::from_utf8_lossy(&ran.stderr),
        );
        assert!(ran.status.success(), "{out}{err}\n{all}");
        assert!(out.contains("40/40"), "{out}{err}");
        assert!(!err.contains("ERROR") && !err.contains("error"), "{err}");
    }
    let sql = "select count(*) from orders where buyer = 'changed'";
    assert_eq!(
        client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0),
        0,
        "writes are rolled back"
    );
    // Every script alone, so that the draw of scripts leaves none out.
    for entry in std::fs::read_dir(folder.path().join("out")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "sql") {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let number: u32 = name.split('_').next().unwrap().parse().unwrap();
            let ran = Command::new(&pgbench)
                .args([
                    "-n",
                    "-M",
                    "prepared",
                    "-c",
                    "2",
                    "-t",
                    "5",
                    "-D",
                    &format!("ready_{number}=0"),
                    "-f",
                ])
                .arg(&path)
                .arg(&url)
                .output()
                .unwrap();
            assert!(
                ran.status.success(),
                "{name}: {}",
                String::from_utf8_lossy(&ran.stderr)
            );
        }
    }
}
