//! Names that try to leave their quotes, their line or the terminal, on a real server and in every format.

use crate::audit_ground;
use crate::audit_run::{dbtune, write};
use dbtune::sql::quote;

/// Each as schema, table, column and policy in turn.
const NAMES: [&str; 5] = [
    "a\"b'c;--",
    "line\nbreak\ttab",
    "\u{1b}[31mred\u{7}\u{9b}1m\u{202e}",
    "ünï_日本_😀",
    "</script>&`|*_[x](y)",
];

fn script() -> String {
    let mut script = String::from("create schema hostile;\n");
    for name in NAMES.iter().map(|n| (*n).to_owned()).chain([long()]) {
        let id = quote::ident(&name);
        script.push_str(&format!(
            "create table hostile.{id} ({id} uuid not null, n int);\n\
             insert into hostile.{id} select gen_random_uuid(), n from generate_series(1, 20000) n;\n\
             alter table hostile.{id} enable row level security;\n\
             grant select on hostile.{id} to app;\n\
             create policy {id} on hostile.{id} for select to app using ({id} = auth.uid());\n"
        ));
    }
    script + "analyze;\n"
}

/// As long as PostgreSQL allows.
fn long() -> String {
    "x".repeat(60) + "\"'x"
}

#[tokio::test(flavor = "multi_thread")]
async fn fixes_run_and_escapes_stay_out_of_the_terminal() {
    let db = audit_ground::database("hostile_names", &script()).await;
    let folder = tempfile::tempdir().unwrap();
    for format in ["table", "json", "markdown", "html", "sarif", "junit"] {
        let ran = dbtune(
            folder.path(),
            &["audit", "--format", format, "--db", &db.url],
        );
        assert_eq!(ran.code, 0, "{format}: {}{}", ran.out, ran.err);
        let bad = |c: char| {
            c.is_control() && !matches!(c, '\n' | '\t') || matches!(c, '\u{202a}'..='\u{202e}')
        };
        let bad: Vec<char> = ran.out.chars().filter(|c| bad(*c)).collect();
        assert!(bad.is_empty(), "{format}: {bad:?}");
        assert!(ran.out.contains("日本"), "{format}");
        if format == "html" {
            assert!(!ran.out.contains("</script>"), "{}", ran.out);
        }
    }
    // Two rules whose findings are known; one has a fix.
    let audit = [
        "audit",
        "--only",
        "per-row-stable-call",
        "--only",
        "unindexed-policy-column",
        "--format",
        "json",
    ];
    let offline = dbtune(
        folder.path(),
        &["snapshot", "-o", "s.json", "--db", &db.url],
    );
    assert_eq!(offline.code, 0, "{}", offline.err);
    let again = || dbtune(folder.path(), &[&audit[..], &["--db", &db.url]].concat());
    let live = again();
    let read = dbtune(
        folder.path(),
        &[&audit[..], &["--snapshot", "s.json"]].concat(),
    );
    assert_eq!(live.json()["findings"], read.json()["findings"]);
    assert_eq!(
        live.counted().len(),
        2 * (NAMES.len() + 1),
        "{:?}",
        live.counted()
    );

    // Fixes from the JSON run as they are; from the table too, though they are folded there.
    let client = db.client().await;
    let fixes: Vec<String> = live.json()["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|f| f["fix"].as_str().map(str::to_owned))
        .collect();
    assert!(fixes.len() > NAMES.len(), "{fixes:?}");
    for fix in fixes {
        let broken = dbtune::sql::lines::fold(&fix, 40);
        client
            .batch_execute(&broken)
            .await
            .unwrap_or_else(|e| panic!("{broken}: {e:?}"));
    }
    let after = again();
    assert!(
        after.counted().len() <= NAMES.len() + 1,
        "{:?}",
        after.counted()
    );

    // A baseline finds the same objects again.
    write(folder.path(), "before.json", &live.out);
    let known = [&audit[..], &["--baseline", "before.json", "--db", &db.url]].concat();
    assert_eq!(
        dbtune(folder.path(), &known).counted(),
        Vec::<String>::new()
    );
}
