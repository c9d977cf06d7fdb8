//! A folder of migrations audited without any database at hand.

use crate::audit_run::{dbtune, write};
use serde_json::Value;
use std::path::Path;

const FIRST: &str = "-- The first table.
create table doc (
  id int primary key,
  owner uuid references auth.users (id)
);

create policy own on doc using (owner = auth.uid());
";

const SECOND: &str = "do $$ begin
  execute 'create table made_by_hand (a int)';
end $$;
alter table made_by_hand enable row level security;
grant select on made_by_hand to anon;

create function f() returns int language sql
  security definer as 'select count(*)::int from doc';
alter policy own on doc using (owner = (select auth.uid()) and (select f()) > 0);
";

fn origin<'a>(json: &'a Value, rule: &str) -> Vec<(&'a str, u64)> {
    let findings = json["findings"].as_array().unwrap();
    findings
        .iter()
        .filter(|f| f["rule"] == rule)
        .map(|f| {
            let origin = &f["origin"];
            (
                origin["file"].as_str().unwrap_or("none"),
                origin["line"].as_u64().unwrap_or(0),
            )
        })
        .collect()
}

fn audit(folder: &Path, layout: &str) -> crate::audit_run::Ran {
    let arguments = [
        "audit",
        "--format",
        "json",
        "--migrations",
        "m",
        "--layout",
        layout,
    ];
    dbtune(folder, &arguments)
}

#[test]
fn findings_name_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "m/1_first.up.sql", FIRST);
    write(folder.path(), "m/1_first.down.sql", "drop table doc;");
    write(folder.path(), "m/2_second.up.sql", SECOND);
    write(
        folder.path(),
        "m/3_alone.up.sql",
        "-- no-transaction\ncreate index concurrently made_a on made_by_hand (a);\n",
    );
    let ran = audit(folder.path(), "sqlx");
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    let json = ran.json();
    assert_eq!(
        origin(&json, "policies-without-rls"),
        [("m/1_first.up.sql", 2)]
    );
    assert_eq!(
        origin(&json, "rls-without-policies"),
        [("m/2_second.up.sql", 1)]
    );
    assert_eq!(
        origin(&json, "mutable-search-path"),
        [("m/2_second.up.sql", 7)]
    );
    // Stand-ins are named, and judged by nobody.
    assert!(ran.gaps().contains("auth.users") && ran.gaps().contains("empty database"));
    for finding in json["findings"].as_array().unwrap() {
        let object = finding["object"]["name"].as_str().unwrap();
        assert!(object.starts_with("public."), "{finding}");
    }
    let table = dbtune(folder.path(), &["audit", "--migrations", "m"]);
    assert!(
        table.out.contains("public.doc (m/1_first.up.sql:2)"),
        "{}",
        table.out
    );
}

#[test]
fn other_layouts_and_a_bootstrap() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        "m/1_first.sql",
        "-- migrate:up\ncreate table t (a hidden.kind);\n\ncreate policy p on t using (a is not null);\n-- migrate:down\ndrop table t;\n",
    );
    let ran = audit(folder.path(), "dbmate");
    assert_eq!(ran.code, 2, "{}", ran.out);
    assert!(
        ran.err.contains("m/1_first.sql:2: ")
            && ran.err.contains("hidden")
            && ran.err.contains("--bootstrap FILE"),
        "{}",
        ran.err
    );

    write(
        folder.path(),
        "b.sql",
        "create schema hidden; create type hidden.kind as enum ('a', 'b');",
    );
    let arguments = [
        "audit",
        "--format",
        "json",
        "--migrations",
        "m",
        "--layout",
        "dbmate",
        "--bootstrap",
        "b.sql",
    ];
    let ran = dbtune(folder.path(), &arguments);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert_eq!(
        origin(&ran.json(), "policies-without-rls"),
        [("m/1_first.sql", 2)]
    );
}

#[test]
fn lines_are_those_of_the_file_whatever_stands_before_the_script() {
    let table = "create table t (a int);\n\ncreate policy p on t using (a > 0);\n";
    for (layout, name, text, line) in [
        (
            "dbmate",
            "1_first.sql",
            format!("-- What it is for.\n\n-- migrate:up\n{table}-- migrate:down\ndrop table t;\n"),
            4,
        ),
        (
            "dbmate",
            "1_first.sql",
            format!("-- migrate:down\ndrop table t;\n-- migrate:up transaction:false\n{table}"),
            4,
        ),
        ("flyway", "V1__first.sql", table.to_owned(), 1),
    ] {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &format!("m/{name}"), &text);
        if layout == "flyway" {
            let conf = format!("m/{name}.conf");
            write(folder.path(), &conf, "executeInTransaction=false\n");
        }
        let ran = audit(folder.path(), layout);
        assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
        let file = format!("m/{name}");
        let expected = [(file.as_str(), line)];
        assert_eq!(origin(&ran.json(), "policies-without-rls"), expected);

        let broken = text.replace("create policy", "create polizy");
        write(folder.path(), &format!("m/{name}"), &broken);
        let ran = audit(folder.path(), layout);
        let place = format!("m/{name}:{}: ", line + 2);
        assert!(ran.err.contains(&place), "{layout}: {}", ran.err);
    }
}

#[test]
fn what_fails_is_named_with_its_line() {
    for (text, line, words) in [
        (
            "create table t (a int);\n\n\nselect 1 / 0;\n",
            4,
            "division by zero",
        ),
        (
            "create table t (a int);\ncreate tabel u (a int);\n",
            2,
            "tabel",
        ),
        ("select 1;\n\\i other.sql\n", 2, "psql"),
        ("create table t (a int);\ncopy t from stdin;\n", 2, "COPY"),
        ("select nothing.of_the_kind();\n", 1, "nothing"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "m/1_bad.up.sql", text);
        let ran = audit(folder.path(), "sqlx");
        assert_eq!(ran.code, 2, "{}", ran.out);
        assert!(
            ran.err.contains(&format!("m/1_bad.up.sql:{line}: ")) && ran.err.contains(words),
            "{}",
            ran.err
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let ran = audit(folder.path(), "sqlx");
    assert!(
        ran.code == 2 && ran.err.contains("no such folder"),
        "{}",
        ran.err
    );
}
