//! What an audit says of whole databases, and what it must not say.

use crate::{audit_ground, server};
use dbtune::model::Severity;
use std::process::Command;

const DOCS: &str = "
create table doc (id int primary key, owner_id uuid not null, org int not null, created_at timestamptz);
insert into doc select n, md5((n % 2000)::text)::uuid, n % 3, now() from generate_series(1, 20000) n;
alter table doc enable row level security;
grant select on doc to app;
";

async fn findings(label: &str, script: &str) -> Vec<String> {
    let db = audit_ground::database(label, &format!("{DOCS}{script}analyze;\n")).await;
    audit_ground::labels(&audit_ground::audit(&db.url).await.0)
}

#[tokio::test]
async fn a_tuned_table_yields_nothing() {
    let script = "
create index on doc (owner_id, created_at desc);
create policy own on doc for select to app using (owner_id = (select auth.uid()));
";
    assert_eq!(findings("tuned", script).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_tiny_table_yields_nothing() {
    let script = "
delete from doc where id > 300;
vacuum doc;
create policy own on doc for select to app using (owner_id = auth.uid());
";
    assert_eq!(findings("tiny", script).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_column_with_few_values_asks_for_no_index() {
    let script = "
create policy org on doc for select to app using (org = (select (auth.jwt() ->> 'org')::int));
";
    assert_eq!(findings("few", script).await, Vec::<String>::new());
}

#[tokio::test]
async fn one_wrapped_call_does_not_excuse_a_bare_one() {
    let script = "
create policy own on doc for select to app
  using (owner_id = (select auth.uid()) or md5(owner_id::text) = (auth.jwt() ->> 'hash'));
";
    let found = findings("mixed", script).await;
    assert_eq!(found, ["per-row-stable-call public.doc · own"]);
}

#[tokio::test]
async fn a_sub_select_over_an_unindexed_table_is_followed() {
    let script = "
create index on doc (owner_id);
create table friend (id int generated always as identity primary key, user_id uuid, other uuid);
insert into friend (user_id, other) select md5((n % 500)::text)::uuid, gen_random_uuid() from generate_series(1, 20000) n;
create policy own on doc for select to app
  using (owner_id = any (array(select f.other from friend f where f.user_id = auth.uid())));
";
    assert_eq!(
        findings("inner", script).await,
        [
            "per-row-stable-call public.doc · own",
            "unindexed-policy-column public.friend · user_id",
        ]
    );
}

#[tokio::test]
async fn recursion_by_way_of_another_table_is_found_and_a_straight_chain_is_not() {
    let script = "
create index on doc (owner_id);
create table a (id int primary key);
create table b (id int primary key);
create table c (id int primary key);
alter table a enable row level security;
alter table b enable row level security;
alter table c enable row level security;
create policy a on a for select to app using (id in (select b.id from b));
create policy b on b for select to app using (id in (select a.id from a));
create policy c on c for select to app using (id in (select d.id from doc d));
create policy own on doc for select to app using (owner_id = (select auth.uid()));
grant select on a, b, c to app;
";
    let db = audit_ground::database("recursion", &format!("{DOCS}{script}analyze;\n")).await;
    let found = audit_ground::labels(&audit_ground::audit(&db.url).await.0);
    assert_eq!(
        found,
        [
            "policy-recursion public.a · a",
            "policy-recursion public.b · b"
        ]
    );
    // The server agrees with both halves.
    let client = db.client().await;
    client.batch_execute("set role app").await.unwrap();
    let error = client.batch_execute("select from a").await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42P17");
    client.batch_execute("select from c").await.unwrap();
}

#[tokio::test]
async fn names_from_hell_are_quoted_in_fixes_that_run() {
    let script = "
create schema \"my \"\"schema\";
create table \"my \"\"schema\".\"Order; drop\" (\"user id\" uuid not null, \"select\" int primary key);
insert into \"my \"\"schema\".\"Order; drop\" select gen_random_uuid(), n from generate_series(1, 20000) n;
alter table \"my \"\"schema\".\"Order; drop\" enable row level security;
create policy \"own's\" on \"my \"\"schema\".\"Order; drop\" for select to app using (\"user id\" = (select auth.uid()));
analyze;
";
    let db = audit_ground::database("hostile", script).await;
    let (found, _) = audit_ground::audit(&db.url).await;
    let [finding] = found.as_slice() else {
        panic!("{found:#?}")
    };
    let fix = finding.fix.as_ref().unwrap();
    db.client().await.batch_execute(fix).await.unwrap();
    let (after, _) = audit_ground::audit(&db.url).await;
    assert_eq!(audit_ground::labels(&after), Vec::<String>::new(), "{fix}");
}

#[tokio::test]
async fn a_role_that_may_only_connect_is_told_what_it_could_not_see() {
    let script = "
create policy own on doc for select to app using (owner_id = auth.uid());
do $$ begin create role audit_visitor login; exception when duplicate_object then null; end $$;
revoke all on pg_stat_statements from public;
";
    let db = audit_ground::database("visitor", &format!("{DOCS}{script}analyze;\n")).await;
    let (found, gaps) = audit_ground::audit(&db.url_as("audit_visitor")).await;
    assert_eq!(
        audit_ground::labels(&found),
        [
            "per-row-stable-call public.doc · own",
            "unindexed-policy-column public.doc · owner_id",
        ]
    );
    let remedies: Vec<&str> = gaps.iter().filter_map(|g| g.remedy.as_deref()).collect();
    assert!(
        remedies.iter().any(|r| r.contains("to audit_visitor")),
        "{gaps:#?}"
    );
    assert!(
        gaps.iter().any(|g| g.what.contains("column statistics")),
        "{gaps:#?}"
    );
}

#[tokio::test]
async fn slow_statements_are_named_with_their_role_and_policies() {
    let script = "
create index on doc (owner_id);
create policy own on doc for select to app using (owner_id = (select auth.uid()));
";
    let db = audit_ground::database("slow", &format!("{DOCS}{script}analyze;\n")).await;
    let client = db.client().await;
    client.batch_execute("set role app").await.unwrap();
    for _ in 0..5 {
        client
            .query("select count(*), pg_sleep(0.11) from doc", &[])
            .await
            .unwrap();
    }
    let (found, _) = audit_ground::audit(&db.url).await;
    let [finding] = found.as_slice() else {
        panic!("{found:#?}")
    };
    assert_eq!(finding.rule, "slow-statement");
    assert_eq!(finding.severity, Severity::Warning);
    assert_eq!(finding.evidence["role"], "app");
    assert_eq!(
        finding.evidence["rls_tables"],
        serde_json::json!(["public.doc"])
    );
    // Who may not see them is told how many they are.
    client
        .batch_execute(
            "reset role; do $$ begin create role audit_stranger login; exception when duplicate_object then null; end $$",
        )
        .await
        .unwrap();
    let (found, gaps) = audit_ground::audit(&db.url_as("audit_stranger")).await;
    assert!(
        found.iter().all(|f| f.rule != "slow-statement"),
        "{found:#?}"
    );
    let remedy = Some("grant pg_read_all_stats to audit_stranger;".to_owned());
    assert!(
        gaps.iter()
            .any(|g| g.what.ends_with("statements") && g.remedy == remedy),
        "{gaps:#?}"
    );
}

#[tokio::test]
async fn the_exit_code_follows_the_findings_and_fail_on() {
    let bare = server::fresh("audit_empty").await;
    let (code, out) = run(&bare.url, &[]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("no tables"), "{out}");

    let script = "
create policy own on doc for select to app using (owner_id = auth.uid());
analyze;
";
    let db = audit_ground::database("exit", &format!("{DOCS}{script}")).await;
    let (code, out) = run(&db.url, &[]);
    assert_eq!(code, 0, "warnings pass by default: {out}");
    assert!(
        out.contains("0 errors, 2 warnings, 0 notes in 1 table with 1 policy; statistics since"),
        "{out}"
    );
    assert_eq!(run(&db.url, &["--fail-on", "warning"]).0, 1);
    let skip = [
        "--fail-on",
        "note",
        "--skip",
        "per-row-stable-call",
        "--skip",
        "unindexed-policy-column",
    ];
    assert_eq!(run(&db.url, &skip).0, 0);
    let (code, out) = run(&db.url, &["--only", "nonsense"]);
    assert_eq!(code, 2);
    assert!(out.contains("no rule `nonsense`"), "{out}");
    let (code, out) = run(&db.url, &["--schema", "elsewhere"]);
    assert_eq!(code, 2);
    assert!(out.contains("there are: public"), "{out}");
}

fn run(url: &str, args: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_dbtune"))
        .args(["audit", "--quiet", "--db", url])
        .args(args)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}
