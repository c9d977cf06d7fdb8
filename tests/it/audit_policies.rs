//! What rules over policy expressions find in the many ways that one thing can be written, on a real server.

use crate::audit_ground;
use std::collections::{BTreeMap, BTreeSet};

/// Table, role, command, USING, WITH CHECK, and the rules that speak of it.
type Case = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
);

const GROUND: &str = "
create function auth.role() returns text language sql stable as $$ select auth.jwt() ->> 'role' $$;
create function auth.email() returns text language sql stable as $$ select auth.jwt() ->> 'email' $$;
create table auth.users (id uuid primary key, email text, raw_user_meta_data jsonb, raw_app_meta_data jsonb);
create table staff (user_id uuid, role text);
grant usage on schema auth to app, anon;
grant select on auth.users, staff to app, anon;
create table guarded (tenant_id int, user_id uuid);
grant select on guarded to app, anon;
alter table guarded enable row level security;
create policy own on guarded for select to app using (user_id = (select auth.uid()));
create function meta_role() returns text language sql stable as $$ select auth.jwt() -> 'user_metadata' ->> 'role' $$;
create function stranger() returns boolean language plpgsql stable as $$ begin return auth.uid() is null; end $$;
create function tenant_now() returns text language sql immutable as $$ select current_setting('app.tenant', true) $$;
create function is_even(a int) returns boolean language sql immutable as $$ select a % 2 = 0 $$";

const CASES: &[Case] = &[
    // Nobody has logged in.
    (
        "a1",
        "anon",
        "select",
        "auth.uid() is null or user_id = auth.uid()",
        "",
        &["true-without-login"],
    ),
    (
        "a2",
        "anon",
        "select",
        "not (auth.uid() is not null) or user_id = auth.uid()",
        "",
        &["true-without-login"],
    ),
    (
        "a3",
        "anon",
        "select",
        "coalesce(user_id = auth.uid(), true)",
        "",
        &["true-without-login"],
    ),
    (
        "a4",
        "anon",
        "select",
        "case when auth.uid() is null then true else user_id = auth.uid() end",
        "",
        &["true-without-login"],
    ),
    (
        "a5",
        "anon",
        "select",
        "stranger() or user_id = auth.uid()",
        "",
        &["true-without-login"],
    ),
    (
        "a6",
        "anon",
        "select",
        "auth.uid() is not distinct from null or user_id = auth.uid()",
        "",
        &["true-without-login"],
    ),
    (
        "a7",
        "anon",
        "insert",
        "",
        "auth.uid() is null or user_id = auth.uid()",
        &["true-without-login"],
    ),
    (
        "a8",
        "anon",
        "select",
        "is_public and (auth.uid() is null or user_id = auth.uid())",
        "",
        &[],
    ),
    (
        "a9",
        "anon",
        "select",
        "auth.uid() is not null and user_id = auth.uid()",
        "",
        &[],
    ),
    // Always, never, and in part.
    (
        "b1",
        "app",
        "select",
        "status = 'x' or 1 = 1",
        "",
        &["always-true-policy"],
    ),
    (
        "b2",
        "app",
        "select",
        "user_id = (select auth.uid()) and (status = 'x' or true)",
        "",
        &["true-branch"],
    ),
    (
        "b3",
        "app",
        "select",
        "status = null",
        "",
        &["always-false-policy"],
    ),
    ("b4", "app", "insert", "", "true", &["always-true-policy"]),
    ("b5", "app", "insert", "", "", &["policy-without-condition"]),
    (
        "b6",
        "app",
        "select",
        "id is not null",
        "",
        &["always-true-policy"],
    ),
    (
        "b7",
        "app",
        "select",
        "auth.role() = 'authenticated'",
        "",
        &["policy-without-column"],
    ),
    ("b8", "app", "select", "is_even(id)", "", &[]),
    // What is written.
    (
        "c1",
        "app",
        "all",
        "user_id = (select auth.uid())",
        "true",
        &["write-check-drops-scope"],
    ),
    (
        "c2",
        "app",
        "all",
        "user_id = (select auth.uid())",
        "status = 'x'",
        &["write-check-drops-scope"],
    ),
    (
        "c3",
        "app",
        "all",
        "user_id = (select auth.uid())",
        "tenant_id = (select current_setting('app.t', true)::int)",
        &[],
    ),
    (
        "c4",
        "app",
        "all",
        "user_id = (select auth.uid())",
        "user_id is not distinct from (select auth.uid())",
        &[],
    ),
    (
        "c5",
        "anon",
        "delete",
        "is_public",
        "",
        &["anonymous-write", "update-without-select"],
    ),
    ("c6", "anon", "all", "is_public", "", &["anonymous-write"]),
    // What is trusted.
    (
        "d1",
        "app",
        "select",
        "(auth.jwt() #>> '{user_metadata,role}') = 'admin'",
        "",
        &["user-editable-claim"],
    ),
    (
        "d2",
        "app",
        "select",
        "(current_setting('request.jwt.claims', true)::jsonb -> 'user_metadata' ->> 'role') = 'admin'",
        "",
        &["user-editable-claim"],
    ),
    (
        "d3",
        "app",
        "select",
        "meta_role() = 'admin'",
        "",
        &["user-editable-claim"],
    ),
    (
        "d4",
        "app",
        "select",
        "auth.jwt() -> 'app_metadata' -> 'user_metadata' ->> 'role' = 'admin'",
        "",
        &[],
    ),
    (
        "d5",
        "app",
        "select",
        "email = (select auth.email())",
        "",
        &["email-in-policy"],
    ),
    (
        "d6",
        "app",
        "select",
        "email ilike (select auth.jwt() ->> 'like')",
        "",
        &["pattern-from-session"],
    ),
    (
        "d7",
        "app",
        "select",
        "current_setting('app.role', true) like 'admin%'",
        "",
        &[],
    ),
    ("d8", "app", "select", "status = tenant_now()", "", &[]),
    // Sub-selects.
    (
        "e1",
        "app",
        "select",
        "exists (select from auth.users u where u.raw_app_meta_data ->> 'role' = 'admin')",
        "",
        &["exists-without-caller"],
    ),
    (
        "e2",
        "app",
        "select",
        "exists (select from auth.users u where u.id in (select auth.uid()))",
        "",
        &[],
    ),
    (
        "e3",
        "app",
        "select",
        "exists (select from guarded g where g.tenant_id = tenant_id and g.user_id = auth.uid())",
        "",
        &["sub-select-ignores-row"],
    ),
    (
        "e4",
        "app",
        "select",
        "exists (select from guarded g where g.tenant_id = e4.tenant_id and g.user_id = auth.uid())",
        "",
        &[],
    ),
    (
        "e5",
        "app",
        "select",
        "exists (select from staff s where s.user_id = auth.uid() and s.role = 'admin')",
        "",
        &[],
    ),
    (
        "e6",
        "app",
        "select",
        "exists (select from guarded g where g.user_id = auth.uid())",
        "",
        &["sub-select-ignores-row"],
    ),
    // Roles and settings.
    (
        "f1",
        "app",
        "select",
        "current_user::text = any (array[status, email])",
        "",
        &["role-keyed-policy"],
    ),
    (
        "f2",
        "app",
        "select",
        "auth.role() in ('app', 'editor') and is_public",
        "",
        &["unknown-role-in-policy"],
    ),
    (
        "f3",
        "app",
        "select",
        "current_user = 'nobody_at_all' and is_public",
        "",
        &["unknown-role-in-policy"],
    ),
    (
        "f4",
        "app",
        "select",
        "status = current_setting('tenant', true)",
        "",
        &["unqualified-setting"],
    ),
    (
        "f5",
        "app",
        "select",
        "status = current_setting('app.tenant')",
        "",
        &["setting-without-default"],
    ),
    (
        "f6",
        "app",
        "select",
        "tenant_id = 1",
        "",
        &["identity-compared-with-literal"],
    ),
    (
        "f7",
        "app",
        "select",
        "status = current_setting('search_path')",
        "",
        &["unqualified-setting"],
    ),
];

/// Notes that every table here would have.
const USUAL: &[&str] = &[
    "nullable-scope-column",
    "policy-for-public",
    "never-analyzed",
];

fn script() -> String {
    let mut script = vec![GROUND.to_owned()];
    for (table, role, command, using, check, _) in CASES {
        script.push(format!(
            "create table {table} (id int primary key, tenant_id int, user_id uuid, email text, status text, is_public boolean)"
        ));
        script.push(format!(
            "grant select, insert, update, delete on {table} to app, anon"
        ));
        script.push(format!("alter table {table} enable row level security"));
        let clause = |word: &str, text: &str| {
            if text.is_empty() {
                String::new()
            } else {
                format!(" {word} ({text})")
            }
        };
        script.push(format!(
            "create policy p on {table} for {command} to {role}{}{}",
            clause("using", using),
            clause("with check", check)
        ));
    }
    script.join(";\n")
}

#[tokio::test]
async fn one_thing_is_found_however_it_is_written() {
    let db = audit_ground::database("policies", &script()).await;
    let (findings, gaps) = audit_ground::audit(&db.url).await;
    assert!(
        !gaps.iter().any(|g| g.what.starts_with("policy ")),
        "{gaps:#?}"
    );
    let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for finding in &findings {
        let policy = finding.object.part.as_deref() == Some("p");
        if policy && !USUAL.contains(&finding.rule.as_str()) {
            let rules = found.entry(&finding.object.name.name).or_default();
            rules.insert(&finding.rule);
        }
    }
    let mut wrong = Vec::new();
    for (table, .., expected) in CASES {
        let found = found.remove(table).unwrap_or_default();
        let expected: BTreeSet<&str> = expected.iter().copied().collect();
        if found != expected {
            wrong.push(format!("{table}: found {found:?}, expected {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let immutable = findings
        .iter()
        .find(|f| f.rule == "immutable-session-function");
    assert_eq!(
        immutable.map(|f| f.object.name.name.as_str()),
        Some("tenant_now")
    );
}
