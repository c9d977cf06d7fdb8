//! Findings that do not fail: waived by the configuration, known from a baseline.

use crate::audit_ground;
use crate::audit_run::{dbtune, write};

const SCRIPT: &str = "
create table doc (id int primary key, owner_id uuid not null);
insert into doc select n, md5((n % 2000)::text)::uuid from generate_series(1, 20000) n;
alter table doc enable row level security;
grant select on doc to app;
create policy own on doc for select to app using (owner_id = auth.uid());
analyze;
";

const CALL: &str = "per-row-stable-call public.doc · own";
const INDEX: &str = "unindexed-policy-column public.doc · owner_id";

fn waiver(rule: &str, object: &str, expires: &str) -> String {
    format!(
        "- rule: {rule}\n  object: '{object}'\n  reason: it is being rewritten\n  expires: {expires}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn waivers_hold_until_they_expire() {
    let db = audit_ground::database("waivers", SCRIPT).await;
    let folder = tempfile::tempdir().unwrap();
    let audit = [
        "audit",
        "--fail-on",
        "warning",
        "--format",
        "json",
        "--db",
        &db.url,
    ];
    let plain = dbtune(folder.path(), &audit);
    assert_eq!(
        (plain.code, plain.counted()),
        (1, vec![CALL.to_owned(), INDEX.to_owned()])
    );

    let configured = |waivers: &[String]| {
        write(
            folder.path(),
            "dbtune.yaml",
            &format!("waivers:\n{}", waivers.concat()),
        );
        dbtune(folder.path(), &audit)
    };
    let one = waiver("per-row-stable-call", "public.doc/own", "2999-12-31");
    let two = waiver("unindexed-policy-column", "public.*", "2999-12-31");
    let ran = configured(&[one.clone(), two.clone()]);
    assert_eq!((ran.code, ran.counted().len()), (0, 0), "{}", ran.out);
    assert_eq!(ran.json()["data"]["waived"], 2);
    assert!(ran.out.contains("it is being rewritten"), "{}", ran.out);

    let old = waiver("unindexed-policy-column", "public.*", "2020-12-31");
    let ran = configured(&[one.clone(), old]);
    assert_eq!((ran.code, ran.counted()), (1, vec![INDEX.to_owned()]));
    assert!(
        ran.gaps().contains("expired on 2020-12-31"),
        "{}",
        ran.gaps()
    );

    let idle = waiver("unused-index", "public.nothing", "2999-12-31");
    let ran = configured(&[one.clone(), two, idle]);
    assert_eq!(ran.code, 0);
    assert!(ran.gaps().contains("covers no finding"), "{}", ran.gaps());
    let table = dbtune(folder.path(), &["audit", "--db", &db.url]);
    assert!(
        table
            .out
            .contains("waived until 2999-12-31: it is being rewritten"),
        "{}",
        table.out
    );

    for (text, words) in [
        (waiver("no-such-rule", "x", "2999-12-31"), "no-such-rule"),
        (
            one.replace("  reason: it is being rewritten\n", ""),
            "reason",
        ),
        (one.replace("2999-12-31", "tomorrow"), "dbtune.yaml:5"),
    ] {
        let ran = configured(&[text]);
        assert!(ran.code == 2 && ran.err.contains(words), "{}", ran.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_new_fails() {
    let db = audit_ground::database("baseline", SCRIPT).await;
    let folder = tempfile::tempdir().unwrap();
    let json = ["audit", "--format", "json", "--db", &db.url];
    let before = dbtune(folder.path(), &json);
    assert_eq!(before.counted(), [CALL, INDEX]);
    write(folder.path(), "before.json", &before.out);
    let strict = [
        "audit",
        "--fail-on",
        "note",
        "--baseline",
        "before.json",
        "--db",
        &db.url,
    ];
    let ran = dbtune(folder.path(), &strict);
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert!(
        ran.out.contains("2 known from the baseline; 0 of it gone"),
        "{}",
        ran.out
    );

    let client = db.client().await;
    client
        .batch_execute(
            "create index on doc (owner_id);
             create table more (id int primary key, owner_id uuid);
             alter table more enable row level security;
             create policy p on more for select to app using (id in (select more.id from more));
             grant select on more to app;
             analyze",
        )
        .await
        .unwrap();
    let ran = dbtune(
        folder.path(),
        &[&strict[..], &["--format", "json"]].concat(),
    );
    assert_eq!(ran.code, 1, "{}", ran.out);
    assert!(
        ran.counted()
            .contains(&"policy-recursion public.more · p".to_owned()),
        "{}",
        ran.out
    );
    assert!(!ran.counted().contains(&CALL.to_owned()));
    assert_eq!(
        (&ran.json()["data"]["known"], &ran.json()["data"]["gone"]),
        (&1.into(), &1.into())
    );
    // Rules that were not run take nothing away.
    let only = [
        &strict[..],
        &["--format", "json", "--only", "policy-recursion"],
    ]
    .concat();
    assert_eq!(dbtune(folder.path(), &only).json()["data"]["gone"], 0);

    write(
        folder.path(),
        "other.json",
        r#"{"command":"verify","findings":[]}"#,
    );
    write(folder.path(), "broken.json", "{}");
    for file in ["other.json", "broken.json", "none.json"] {
        let ran = dbtune(
            folder.path(),
            &["audit", "--baseline", file, "--db", &db.url],
        );
        assert!(ran.code == 2 && ran.err.contains(file), "{}", ran.err);
    }
}
