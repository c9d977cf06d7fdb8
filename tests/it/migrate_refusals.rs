//! What is refused before anything runs: said clearly, with exit code 2, and nothing changed.

use crate::migrate_ground::{Ground, INDEX_DOWN, INDEX_UP, ground, schema_dump};

/// Runs `apply`; it must refuse with every one of `words`, and change nothing.
async fn refused(ground: &Ground, args: &[&str], words: &[&str]) {
    let client = ground.owner().await;
    let before = schema_dump(&client).await;
    let output = ground.dbtune(args);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
    assert_eq!(schema_dump(&client).await, before);
}

#[tokio::test]
async fn files_that_cannot_be_run_are_named_with_line_and_remedy() {
    let ground = ground("traps").await;
    ground.put("1_good.up.sql", "create table one (a int);");
    ground.put("1_good.down.sql", "drop table one;");
    for (name, text, words) in [
        (
            "2_bom.up.sql",
            "\u{feff}create table two (a int);",
            &["2_bom.up.sql", "byte order mark"] as &[&str],
        ),
        (
            "2_crlf.up.sql",
            "create table two (a int);\r\n",
            &["2_crlf.up.sql:1", "Windows line ends"],
        ),
        (
            "2_psql.up.sql",
            "select 1;\n\\i other.sql\n",
            &["2_psql.up.sql:2", "`\\i`", "psql"],
        ),
        (
            "2_many.up.sql",
            "-- no-transaction\ncreate index concurrently a on items (name);\ncreate index concurrently b on items (name);",
            &["2_many.up.sql:3", "file of its own"],
        ),
        (
            "2_tx.up.sql",
            "create index concurrently a on items (name);",
            &["2_tx.up.sql:1", "-- no-transaction"],
        ),
        (
            "2_commit.up.sql",
            "create table two (a int);\ncommit;",
            &["2_commit.up.sql:2", "transaction"],
        ),
        (
            "2_bad.up.sql",
            "create table two (a int);\n\ncreat table three (a int);",
            &["2_bad.up.sql:3", "syntax error"],
        ),
        (
            "2_anonymous.up.sql",
            "-- no-transaction\ncreate index concurrently on items (name);",
            &["2_anonymous.up.sql:2", "no name"],
        ),
        ("02_dup.up.sql", "select 1;", &["1_good"]),
        (
            "x2_name.up.sql",
            "select 1;",
            &["x2_name.up.sql", "not a version"],
        ),
        (
            "3_only.down.sql",
            "select 1;",
            &["3_only.down.sql", "no up file"],
        ),
    ] {
        ground.put(name, text);
        if name.starts_with("02") {
            ground.put("2_other.up.sql", "select 1;");
            refused(
                &ground,
                &["apply"],
                &["2_other.up.sql", "version 2 is taken"],
            )
            .await;
            std::fs::remove_file(ground.dir.path().join("2_other.up.sql")).unwrap();
        } else {
            refused(&ground, &["apply"], words).await;
        }
        std::fs::remove_file(ground.dir.path().join(name)).unwrap();
    }
    // A bad down file is found at noon, not at three in the morning.
    ground.put("2_down.up.sql", "create table two (a int);");
    ground.put("2_down.down.sql", "drop tabel two;");
    refused(&ground, &["apply"], &["2_down.down.sql:1"]).await;
    assert_eq!(ground.dbtune(&["status"]).status.code(), Some(0));
    ground.put("2_down.down.sql", "drop table two;");
    assert_eq!(ground.dbtune(&["apply"]).status.code(), Some(0));
    assert_eq!(ground.versions().await, [1, 2]);
}

#[tokio::test]
async fn a_folder_that_contradicts_the_ledger_is_refused() {
    let ground = ground("edited").await;
    ground.usual();
    let done = ground.dbtune(&["apply"]);
    assert_eq!(
        done.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );

    ground.put(
        "20250101000001_items_tenant_idx.up.sql",
        &INDEX_UP.replace('\n', "\r\n"),
    );
    refused(
        &ground,
        &["apply"],
        &["20250101000001_items_tenant_idx.up.sql", "other line ends"],
    )
    .await;
    ground.put(
        "20250101000001_items_tenant_idx.up.sql",
        &INDEX_UP.replace("tenant)", "name)"),
    );
    refused(
        &ground,
        &["apply"],
        &[
            "20250101000001_items_tenant_idx.up.sql",
            "edited after it was applied",
        ],
    )
    .await;
    let status = ground.dbtune(&["status"]);
    assert_eq!(status.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&status.stdout).contains("edited"));
    ground.put("20250101000001_items_tenant_idx.up.sql", INDEX_UP);

    ground.put("20250101000000_own_policy.up.sql.bak", "");
    std::fs::remove_file(ground.dir.path().join("20250101000000_own_policy.up.sql")).unwrap();
    std::fs::remove_file(ground.dir.path().join("20250101000000_own_policy.down.sql")).unwrap();
    refused(
        &ground,
        &["apply"],
        &[
            "20250101000000",
            "missing from the folder",
            "--ignore-missing",
        ],
    )
    .await;
    assert_eq!(
        ground.dbtune(&["apply", "--ignore-missing"]).status.code(),
        Some(0)
    );

    ground.put("20250101000001_a.up.sql", "select 1;");
    refused(
        &ground,
        &["apply", "--ignore-missing"],
        &["version 20250101000001 is taken"],
    )
    .await;
    std::fs::remove_file(ground.dir.path().join("20250101000001_a.up.sql")).unwrap();
    ground.put("20241231000000_late.up.sql", "create table late (a int);");
    ground.put("20241231000000_late.down.sql", "drop table late;");
    refused(
        &ground,
        &["apply", "--ignore-missing"],
        &["20241231000000_late.up.sql", "--out-of-order"],
    )
    .await;
    let late = ground.dbtune(&["apply", "--ignore-missing", "--out-of-order"]);
    assert_eq!(
        late.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&late.stderr)
    );
    // The ledger alone takes back what is missing from the folder.
    let back = ground.dbtune(&["rollback", "--all", "--yes"]);
    assert_eq!(
        back.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&back.stderr)
    );
    assert!(ground.versions().await.is_empty());
}

#[tokio::test]
async fn rollback_asks_first_and_needs_a_down_text() {
    let ground = ground("nodown").await;
    ground.put("1_x.up.sql", "create table one (a int);");
    let output = ground.dbtune(&["apply"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).contains("no down file"));
    refused(
        &ground,
        &["rollback", "--yes"],
        &["1_x.down.sql", "cannot be taken back"],
    )
    .await;
    ground.put("1_x.down.sql", "drop table one;");
    refused(&ground, &["rollback"], &["--yes"]).await;
    assert_eq!(ground.dbtune(&["rollback", "--yes"]).status.code(), Some(0));
    assert!(ground.versions().await.is_empty());
}

#[tokio::test]
async fn an_index_that_dbtune_did_not_make_is_never_touched() {
    let ground = ground("theirs").await;
    ground.put(
        "1_i.up.sql",
        &INDEX_UP.replace("concurrently", "concurrently if not exists"),
    );
    ground.put("1_i.down.sql", INDEX_DOWN);
    let client = ground.owner().await;
    // Somebody's failed build: IF NOT EXISTS would take it for done.
    client
        .batch_execute("insert into items (tenant) values (7), (7)")
        .await
        .unwrap();
    client
        .batch_execute("create unique index concurrently items_tenant_idx on items (tenant)")
        .await
        .unwrap_err();
    refused(
        &ground,
        &["apply"],
        &["items_tenant_idx", "invalid", "drop index concurrently"],
    )
    .await;
    let status = ground.dbtune(&["status"]);
    assert_eq!(status.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&status.stdout).contains("items_tenant_idx"));
    client
        .batch_execute("drop index concurrently items_tenant_idx")
        .await
        .unwrap();
    assert_eq!(ground.dbtune(&["apply"]).status.code(), Some(0));
    ground.assert_tidy("after the drop").await;
}

#[tokio::test]
async fn without_the_right_to_make_a_schema_the_grant_is_named() {
    let ground = ground("grant").await;
    ground.usual();
    ground
        .db
        .client()
        .await
        .batch_execute(&format!(
            "revoke create on database \"{}\" from \"{}\"",
            ground.db.name, ground.user
        ))
        .await
        .unwrap();
    let output = ground.dbtune(&["apply"]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("create schema dbtune authorization"),
        "{text}"
    );
}
