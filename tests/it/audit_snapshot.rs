//! An audit without a database: from a file that holds no row value.

use crate::audit_ground;
use crate::audit_run::{dbtune, write};
use dbtune::model::{Catalog, Snapshot, Statements};
use dbtune::rules::{self, Scope};
use std::os::unix::fs::PermissionsExt;

const SCRIPT: &str = "
create table doc (id int primary key, owner_id uuid not null, title text, price float8);
insert into doc select n, md5((n % 2000)::text)::uuid, 'rowvalue-xyz', n / 7.0 from generate_series(1, 20000) n;
create index doc_title on doc (title);
create index doc_title_again on doc (title);
alter table doc enable row level security;
grant select on doc to app;
create policy own on doc for select to app using (owner_id = auth.uid());
do $$ begin create role snapshot_keeper login; exception when duplicate_object then null; end $$;
alter role snapshot_keeper set app.jwt_secret = 's3cret';
alter role snapshot_keeper password 's3cret';
analyze;
";

/// Where nobody listens.
const NOWHERE: &str = "postgresql://nobody@127.0.0.1:1/nothing";

#[tokio::test(flavor = "multi_thread")]
async fn offline_finds_what_was_found_live() {
    let db = audit_ground::database("snapshot", SCRIPT).await;
    let client = db.client().await;
    client.batch_execute("set role app").await.unwrap();
    for _ in 0..5 {
        let sql = "select count(*), pg_sleep(0.11) from doc where title = 'rowvalue-xyz'";
        client.query(sql, &[]).await.unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let wrote = dbtune(
        folder.path(),
        &["snapshot", "-o", "s.json", "--db", &db.url],
    );
    assert_eq!(wrote.code, 0, "{}{}", wrote.out, wrote.err);
    assert!(wrote.out.contains("no row"), "{}", wrote.out);
    let file = folder.path().join("s.json");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        1,
        "no other file is left"
    );
    let text = std::fs::read_to_string(&file).unwrap();
    for secret in ["rowvalue-xyz", "s3cret"] {
        assert!(!text.contains(secret), "{secret}");
    }
    assert!(text.contains("pg_sleep($"), "statements are in it");

    same_findings_of_the_same_moment(&db.url).await;
    // From one moment to the next, dbtune's own statements change the shares of time.
    client
        .batch_execute("reset role; drop extension pg_stat_statements")
        .await
        .unwrap();
    // Taken again it replaces the file.
    let again = dbtune(
        folder.path(),
        &["snapshot", "-o", "s.json", "--db", &db.url],
    );
    assert_eq!(again.code, 0, "{}", again.err);
    let audit = ["audit", "--format", "json", "--db"];
    let live = dbtune(folder.path(), &[&audit[..], &[&db.url]].concat());
    let offline = [&audit[..], &[NOWHERE, "--snapshot", "s.json"]].concat();
    let offline = dbtune(folder.path(), &offline);
    assert_eq!(offline.code, live.code, "{}", offline.err);
    let findings = |ran: &crate::audit_run::Ran| {
        serde_json::to_string_pretty(&ran.json()["findings"]).unwrap()
    };
    assert_eq!(findings(&live), findings(&offline));
    let found = live.counted().join("\n");
    for rule in ["duplicate-index", "per-row-stable-call"] {
        assert!(found.contains(rule), "{found}");
    }
}

/// Byte for byte, whatever the rules make of it.
async fn same_findings_of_the_same_moment(url: &str) {
    let (catalog, statements) = audit_ground::read(url).await;
    let found = |catalog: &Catalog, statements: Option<&Statements>| {
        let found = rules::audit(catalog, statements, &Scope::default());
        serde_json::to_string(&found).unwrap()
    };
    let live = found(&catalog, statements.as_ref());
    assert!(live.contains("slow-statement"), "{live}");
    let mut bytes = Vec::new();
    Snapshot::new(catalog, statements)
        .write(&mut bytes)
        .unwrap();
    let read = Snapshot::parse(&bytes).unwrap();
    assert_eq!(live, found(&read.catalog, read.statements.as_ref()));
}

#[test]
fn what_cannot_be_used_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        "new.json",
        r#"{"format":"dbtune-snapshot","version":99,"catalog":7}"#,
    );
    write(folder.path(), "other.json", r#"{"version":1}"#);
    write(folder.path(), "broken.json", "{\"format\":");
    for (file, words) in [
        ("new.json", "version 99"),
        ("other.json", "no snapshot"),
        ("broken.json", "no snapshot"),
        ("none.json", "could not read none.json"),
    ] {
        let ran = dbtune(folder.path(), &["audit", "--snapshot", file]);
        assert_eq!(ran.code, 2, "{file}: {}", ran.err);
        assert!(ran.err.contains(words), "{file}: {}", ran.err);
    }
    let both = ["audit", "--snapshot", "new.json", "--migrations", "."];
    assert_eq!(dbtune(folder.path(), &both).code, 2);
    let nowhere = ["snapshot", "-o", "no/such/folder/s.json", "--db", NOWHERE];
    assert_eq!(dbtune(folder.path(), &nowhere).code, 2);
}
