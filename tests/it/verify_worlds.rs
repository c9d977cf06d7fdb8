//! Small worlds: rewrites that change a decision are told from those that do not, without a row of anybody's.

use crate::server::{self, Db};
use dbtune::db::{Session, Target, read_catalog};
use dbtune::model::{Catalog, Name};
use dbtune::verify::worlds::{CounterExample, Sides, Verdict, WorldOptions, search};
use std::time::Instant;

const SCHEMA: &str = r"
do $$ begin create role worlds_app nologin; exception when duplicate_object then null; end $$;
create extension citext;
create collation ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
create function uid() returns int language sql stable as $$ select nullif(current_setting('app.uid', true), '')::int $$;
create table t (id int primary key, org_id int, owner_name text, name_ci text collate ci, email citext, note text);
create table orgs (id int primary key, open boolean);
create table members (user_id int, org_id int, role text, level int, active boolean, since timestamptz);
create table members_txt (user_id int, email citext, email_text text, name_ci text collate ci);
create table kv (org_id int, val text);
create schema other;
create table other.members (like public.members);
grant usage on schema other to worlds_app;
grant select on orgs, members, members_txt, kv, other.members to worlds_app;
";

/// A rewrite: its policy's table, functions, command, expression before and after.
#[derive(Clone, Copy)]
struct Case {
    id: &'static str,
    command: &'static str,
    functions: &'static str,
    before: &'static str,
    after: &'static str,
}

const fn case(
    id: &'static str,
    functions: &'static str,
    before: &'static str,
    after: &'static str,
) -> Case {
    Case {
        id,
        command: "select",
        functions,
        before,
        after,
    }
}

const fn for_all(case: Case) -> Case {
    Case {
        command: "all",
        ..case
    }
}

/// Rewrites that were once made, each wrongly.
const BREACHES: &[Case] = &[
    case(
        "e12",
        "",
        "uid() in (select distinct on (m.org_id) m.user_id from members m where m.org_id = t_e12.org_id order by m.org_id, m.since desc)",
        "org_id = any (array(select m.org_id from members m where m.user_id = (select uid())))",
    ),
    for_all(case(
        "e94",
        "",
        "uid() in (select distinct on (m.org_id) m.user_id from members m where m.org_id = t_e94.org_id and m.active
           order by m.org_id, m.level desc, m.since)",
        "org_id = any (array(select m.org_id from members m where m.active and m.user_id = (select uid())))",
    )),
    case(
        "f03",
        "create function f03_f(o int, user_id int) returns boolean language plpgsql stable as $body$ #variable_conflict use_variable
         begin return exists (select 1 from members m where m.org_id = o and m.user_id = user_id); end $body$;
         create function f03_f_set(int) returns setof int language sql stable as
           $$ select m.org_id from members m where m.user_id = user_id $$",
        "f03_f(org_id, uid())",
        "org_id = any (array(select f03_f_set(uid())))",
    ),
    case(
        "f04",
        "create function f04_f(o int, r text) returns boolean language sql stable strict as $body$ select exists
           (select 1 from members m where m.org_id = o and m.user_id = uid() and (r is null or m.role = r)) $body$;
         create function f04_f_set(text) returns setof int language sql stable as
           $$ select m.org_id from members m where m.user_id = uid() and ($1 is null or m.role = $1) $$",
        "f04_f(org_id, current_setting('app.role', true))",
        "org_id = any (array(select f04_f_set(current_setting('app.role', true))))",
    ),
    for_all(case(
        "f49",
        "create function f49_f(o int, r text) returns boolean language sql stable security definer strict as $body$ select exists
           (select 1 from members m where m.org_id = o and m.user_id = uid() and (r is null or m.role = r)) $body$;
         create function f49_f_set(text) returns setof int language sql stable security definer as
           $$ select m.org_id from members m where m.user_id = uid() and ($1 is null or m.role = $1) $$",
        "f49_f(org_id, current_setting('app.role', true))",
        "org_id = any (array(select f49_f_set(current_setting('app.role', true))))",
    )),
    case(
        "f06",
        "create function f06_f(target public.citext) returns boolean language sql stable security definer set search_path = '' as
           $body$ select exists (select 1 from public.members_txt m where m.email = target and m.user_id = public.uid()) $body$;
         create function f06_f_set() returns setof citext language sql stable security definer set search_path = '' as
           $$ select m.email from public.members_txt m where m.user_id = public.uid() $$",
        "f06_f(email)",
        "email = any (array(select f06_f_set()))",
    ),
    case(
        "f10",
        "create function f10_f(int, int) returns boolean language sql stable as $body$ select exists (select 1 from members m
           join orgs g on g.id = $1 and g.open where m.org_id = $1 and m.user_id = uid() and m.level >= $2) $body$;
         create function f10_f_set(int) returns setof int language sql stable as
           $$ select m.org_id from members m join orgs g on g.id = $1 and g.open where m.user_id = uid() and m.level >= $1 $$",
        "f10_f(org_id, 3)",
        "org_id = any (array(select f10_f_set(3)))",
    ),
    case(
        "f05",
        "create function f05_f(o int) returns boolean language sql stable as $body$ with members as (select * from public.members x
           where x.active) select exists (select 1 from members m where m.org_id = o and m.user_id = uid()) $body$;
         create function f05_f_set() returns setof int language sql stable as
           $$ select m.org_id from members m where m.user_id = uid() $$",
        "f05_f(org_id)",
        "org_id = any (array(select f05_f_set()))",
    ),
    case(
        "w29",
        "",
        "name_ci = (current_setting('app.name', true) collate \"default\")",
        "name_ci = (select current_setting('app.name', true) collate \"default\")",
    ),
    case(
        "e53",
        "",
        "exists (select 1 from members_txt m where (m.email_text collate \"default\") = t_e53.name_ci and m.user_id = uid())",
        "name_ci = any (array(select m.email_text collate \"default\" from members_txt m where m.user_id = (select uid())))",
    ),
    case(
        "f07",
        "create function f07_f(o int) returns boolean language sql stable as
           $body$ select exists (select 1 from members m where m.org_id = o and m.user_id = uid()) limit 0 $body$;
         create function f07_f_set() returns setof int language sql stable as
           $$ select m.org_id from members m where m.user_id = uid() $$",
        "f07_f(org_id) or org_id = 2",
        "org_id = any (array(select f07_f_set())) or org_id = 2",
    ),
    case(
        "f08",
        "create function f08_f(o int) returns boolean language sql stable as
           $body$ select exists (select 1 from members m where m.org_id = o and m.user_id = uid()) having false $body$;
         create function f08_f_set() returns setof int language sql stable as
           $$ select m.org_id from members m where m.user_id = uid() $$",
        "f08_f(org_id)",
        "org_id = any (array(select f08_f_set()))",
    ),
    case(
        "f09",
        "create function f09_f(o int) returns boolean language sql stable as
           $body$ select exists (select 1 from members m where m.org_id = o and m.user_id = uid()) offset 1 $body$;
         create function f09_f_set() returns setof int language sql stable as
           $$ select m.org_id from members m where m.user_id = uid() $$",
        "f09_f(org_id)",
        "org_id = any (array(select f09_f_set()))",
    ),
    case(
        "f22",
        "create function f22_f(o int) returns boolean language sql stable set search_path = other, public as
           $body$ select exists (select 1 from members where org_id = o and user_id = uid()) $body$;
         create function f22_f_set() returns setof int language sql stable as
           $$ select members.org_id from public.members where user_id = uid() $$",
        "f22_f(org_id)",
        "org_id = any (array(select f22_f_set()))",
    ),
    case(
        "f37",
        "create function f37_f(target text) returns boolean language sql stable as
           $body$ select exists (select 1 from members_txt m where m.name_ci = target and m.user_id = uid()) $body$;
         create function f37_f_set() returns setof text language sql stable as
           $$ select m.name_ci from members_txt m where m.user_id = uid() $$",
        "f37_f(owner_name)",
        "owner_name = any (array(select f37_f_set()))",
    ),
    case(
        "w60",
        "",
        "set_config('app.seen', id::text, true) is not null and current_setting('app.seen', true) = id::text",
        "set_config('app.seen', id::text, true) is not null and (select current_setting('app.seen', true)) = id::text",
    ),
    case(
        "w31",
        "",
        "name_ci = (current_setting('app.name', true) collate \"C\")",
        "name_ci = (select current_setting('app.name', true) collate \"C\")",
    ),
    case(
        "f50",
        "create table f50_kv (like kv); grant select on f50_kv to worlds_app;
         create function f50_f(o int) returns boolean language sql stable as
           $body$ select exists (select 1 from f50_kv kv where kv.org_id = o and kv.val::boolean) $body$;
         create function f50_f_set() returns setof int language sql stable as
           $$ select kv.org_id from f50_kv kv where kv.val::boolean $$",
        "f50_f(org_id)",
        "org_id = any (array(select f50_f_set()))",
    ),
];

/// A schema whose `n`th table is guarded by the `n`th case's old expression.
async fn schema(label: &str, cases: &[Case]) -> Db {
    schema_of(label, SCHEMA, cases).await
}

async fn schema_of(label: &str, tables: &str, cases: &[Case]) -> Db {
    let db = server::fresh(label).await;
    let client = db.client().await;
    client.batch_execute(tables).await.unwrap();
    for case in cases {
        let Case {
            id,
            command,
            functions,
            before,
            ..
        } = case;
        let sql = format!(
            "{functions}; create table t_{id} (like t including all); grant all on t_{id} to worlds_app;
             alter table t_{id} enable row level security;
             create policy p on t_{id} for {command} to worlds_app using ({before})"
        );
        client
            .batch_execute(&sql)
            .await
            .unwrap_or_else(|e| panic!("{id}: {e:?}"));
    }
    db
}

fn target(url: &str) -> Target {
    Target::resolve(Some(url), &server::environment()).unwrap()
}

async fn catalog(target: &Target) -> Catalog {
    let session = Session::connect(target, "test").await.unwrap();
    read_catalog(&session).await.unwrap()
}

/// The catalog with the new expression in place of the old.
fn changed(catalog: &Catalog, case: &Case) -> Catalog {
    let mut catalog = catalog.clone();
    let table = Name::new("public", format!("t_{}", case.id));
    let policies = &mut catalog.tables.get_mut(&table).unwrap().policies;
    policies[0].using = Some(case.after.to_owned());
    catalog
}

fn alter(case: &Case) -> String {
    format!("alter policy p on t_{} using ({})", case.id, case.after)
}

/// The verdict on one case, by changing one database within the transaction.
async fn within_one(
    target: &Target,
    catalog: &Catalog,
    case: &Case,
    options: WorldOptions,
) -> Verdict {
    let sides = Sides::One {
        target,
        before: &[],
        after: &[alter(case)],
    };
    let after = changed(catalog, case);
    let table = Name::new("public", format!("t_{}", case.id));
    search(
        sides,
        (catalog, &after),
        &table,
        &[],
        options,
        &mut |_, _| {},
    )
    .await
    .unwrap()
}

/// What a script ends with on a connection of its own: the last statement's rows, or its SQLSTATE.
async fn ended(target: &Target, sql: &str) -> Result<Vec<String>, Option<String>> {
    let session = Session::connect(target, "test").await.unwrap();
    let texts = session.texts_at_once("run a counter-example", sql).await;
    texts.map_err(|error| error.sqlstate)
}

#[tokio::test]
async fn every_rewrite_that_was_once_wrong_is_found() {
    let db = schema("worlds_breaches", BREACHES).await;
    let target = target(&db.url);
    let catalog = catalog(&target).await;
    let client = db.client().await;
    let mut missed = Vec::new();
    for case in BREACHES {
        let id = case.id;
        let begun = Instant::now();
        let verdict = within_one(&target, &catalog, case, WorldOptions::default()).await;
        let took = begun.elapsed();
        let Verdict::Different(example) = verdict else {
            missed.push(format!("{id}: {verdict:?}"));
            continue;
        };
        let CounterExample {
            world,
            rows,
            way,
            before,
            after,
            sql,
            ..
        } = *example;
        println!("{id}: world {world} ({way:?}, {took:?}), {rows} rows: {before} / {after}");
        let old = ended(&target, &sql).await;
        client.batch_execute(&alter(case)).await.unwrap();
        let new = ended(&target, &sql).await;
        assert_ne!(old, new, "{id}: the script shows the difference\n{sql}");
        let kept: i64 = client
            .query_one(&format!("select count(*) from t_{id}"), &[])
            .await
            .unwrap()
            .get(0);
        assert_eq!(kept, 0, "nothing stays");
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

const DOCS: &str = r"
do $$ begin create role worlds_app nologin; exception when duplicate_object then null; end $$;
create schema auth; grant usage on schema auth to worlds_app;
create function auth.jwt() returns jsonb language sql stable as
  $$ select coalesce(nullif(current_setting('request.jwt.claims', true), ''), '{}')::jsonb $$;
create function auth.uid() returns uuid language sql stable as $$ select (auth.jwt() ->> 'sub')::uuid $$;
create table t (id int primary key, owner_id uuid, org_id int, status text, readers uuid[], writers uuid[]);
create table members (user_id uuid, org_id int, role text);
create table admins (user_id uuid primary key);
grant select on members, admins to worlds_app;
create function is_admin() returns boolean language sql stable as
  $$ select exists (select from admins a where a.user_id = auth.uid()) $$;
create function checks() returns boolean language plpgsql as
  $$ declare r text; begin select m.role into r from members m where m.user_id = auth.uid();
     if r = 'admin' then return true; end if;
     return exists (select from members m where m.user_id = auth.uid() and m.role is null); end $$;
create function is_member(o int, r text) returns boolean language sql stable security definer set search_path = '' as
  $$ select exists (select 1 from public.members m where m.org_id = o and m.user_id = auth.uid() and m.role = r) $$;
create function is_member_set(text) returns setof int language sql stable security definer set search_path = '' as
  $$ select m.org_id from public.members m where m.user_id = auth.uid() and m.role = $1 $$;
create function can_see(o int) returns boolean language plpgsql stable as
  $$ begin return exists(select 1 from public.members where org_id = o and user_id = auth.uid()); end $$;
create function can_see_set() returns setof int language sql stable as
  $$ select org_id from public.members where user_id = auth.uid() $$;
";

const SET: &str =
    "org_id = any (array(select m.org_id from members m where m.user_id = (select auth.uid())))";

/// Rewrites that keep every decision.
const EQUIVALENT: &[Case] = &[
    case("wrap", "", "owner_id = auth.uid()", "owner_id = (select auth.uid())"),
    for_all(case("wrap_all", "", "owner_id = auth.uid()", "owner_id = (select auth.uid())")),
    case(
        "claim",
        "",
        "org_id = (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'org')::int",
        "org_id = (select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'org')::int)",
    ),
    case("admin", "", "is_admin() or owner_id = auth.uid()", "(select is_admin()) or owner_id = (select auth.uid())"),
    case("level", "", "(auth.jwt() ->> 'aal') = 'aal2'", "(select (auth.jwt() ->> 'aal') = 'aal2')"),
    case("not", "", "not (owner_id = auth.uid())", "not (owner_id = (select auth.uid()))"),
    case("in_set", "", "org_id in (select m.org_id from members m where m.user_id = auth.uid())", SET),
    for_all(case("exists", "", "exists (select 1 from members m where m.org_id = t_exists.org_id and m.user_id = auth.uid())", SET)),
    case("turned", "", "auth.uid() in (select m.user_id from members m where m.org_id = t_turned.org_id)", SET),
    case(
        "taken_out",
        "",
        "exists (select 1 from members m where m.org_id = t_taken_out.org_id and m.user_id = auth.uid() and t_taken_out.status = 'x')",
        "status = 'x' and org_id = any (array(select m.org_id from members m where m.user_id = (select auth.uid())))",
    ),
    case(
        "either",
        "",
        "exists (select 1 from members m where m.org_id = t_either.org_id and m.user_id = auth.uid()
           and (t_either.status = 'x' or m.role = 'admin'))",
        "(status = 'x' and org_id = any (array(select m.org_id from members m where m.user_id = (select auth.uid()))))
         or org_id = any (array(select m.org_id from members m where m.user_id = (select auth.uid()) and m.role = 'admin'))",
    ),
    case(
        "case_or",
        "",
        "case when status is null then true else owner_id = auth.uid() end",
        "status is null or owner_id = (select auth.uid())",
    ),
    case(
        "distinct",
        "",
        "owner_id is not distinct from auth.uid()",
        "owner_id = (select auth.uid()) or (owner_id is null and (select auth.uid() is null))",
    ),
    case("array", "", "auth.uid() = any (readers)", "readers @> (select array[auth.uid()])"),
    case("quiet", "", "checks()", "(select checks())"),
    case("member", "", "is_member(org_id, 'admin')", "org_id = any (array(select is_member_set('admin')))"),
    for_all(case("see", "", "can_see(org_id)", "org_id = any (array(select can_see_set()))")),
];

#[tokio::test]
async fn rewrites_that_keep_every_decision_are_left_in_peace() {
    let db = schema_of("worlds_equal", DOCS, EQUIVALENT).await;
    let target = target(&db.url);
    let catalog = catalog(&target).await;
    let mut accused = Vec::new();
    for case in EQUIVALENT {
        let begun = Instant::now();
        let verdict = within_one(&target, &catalog, case, WorldOptions::default()).await;
        println!("{}: {:?}", case.id, begun.elapsed());
        if !matches!(verdict, Verdict::Same { worlds } if worlds >= 500) {
            accused.push(format!("{}: {verdict:#?}", case.id));
        }
    }
    assert!(accused.is_empty(), "{}", accused.join("\n"));
}

const QUOTA: &str = "
do $$ begin create role worlds_app nologin; exception when duplicate_object then null; end $$;
create function uid() returns int language sql stable as $$ select nullif(current_setting('app.uid', true), '')::int $$;
create table quota (user_id int primary key, n int not null); grant select, update on quota to worlds_app;
create function under() returns boolean language plpgsql as
  $$ declare k int; begin select q.n into k from quota q where q.user_id = uid(); return k < 3; end $$;
create table posts (id int primary key, owner int, body text);
alter table posts enable row level security; grant select, insert on posts to worlds_app;
create policy see on posts for select to worlds_app using (owner = uid());
create policy add on posts for insert to worlds_app with check (under() and owner = uid());
create function count_it() returns trigger language plpgsql as
  $$ begin update quota set n = n + 1 where user_id = uid(); return new; end $$;
create trigger c before insert on posts for each row execute function count_it();
";

/// Two databases, of which the second is changed.
#[tokio::test]
async fn a_limit_that_one_statement_passes_is_found() {
    let mut targets = Vec::new();
    for (label, change) in [
        ("worlds_quota_before", ""),
        (
            "worlds_quota_after",
            "alter policy add on posts with check ((select under()) and owner = uid())",
        ),
    ] {
        let db = server::fresh(label).await;
        let client = db.client().await;
        client.batch_execute(QUOTA).await.unwrap();
        client.batch_execute(change).await.unwrap();
        targets.push(target(&db.url));
    }
    let (before, after) = (&targets[0], &targets[1]);
    let catalogs = (catalog(before).await, catalog(after).await);
    let sides = Sides::Two { before, after };
    let table = Name::new("public", "posts");
    let begun = Instant::now();
    let verdict = search(
        sides,
        (&catalogs.0, &catalogs.1),
        &table,
        &[],
        WorldOptions::default(),
        &mut |_, _| {},
    )
    .await
    .unwrap();
    let Verdict::Different(example) = verdict else {
        panic!("{verdict:?}")
    };
    println!(
        "quota: world {} in {:?}\n{}",
        example.world,
        begun.elapsed(),
        example.sql
    );
    assert_eq!(example.statement, "INSERT of several rows");
    assert_eq!(example.before, "refused (42501)");
    assert_ne!(
        ended(before, &example.sql).await,
        ended(after, &example.sql).await
    );
}

/// As an owner who is no superuser: forced policies, triggers, rows of a table of another owner.
const OWNED: &str = "
do $$ begin create role worlds_app nologin; exception when duplicate_object then null; end $$;
do $$ begin create role worlds_owner login; exception when duplicate_object then null; end $$;
do $$ begin create role worlds_other login; exception when duplicate_object then null; end $$;
grant worlds_app, worlds_other to worlds_owner;
grant all on schema public to worlds_owner, worlds_other;
create function uid() returns int language sql stable as $$ select nullif(current_setting('app.uid', true), '')::int $$;
create type kind as enum ('open', 'closed');
create table orgs (id int generated always as identity primary key, kind kind not null, name varchar(3) not null default 'abc');
create table members (id uuid primary key default gen_random_uuid(), org_id int not null references orgs, user_id int not null,
  until date, unique (org_id, user_id));
alter table members owner to worlds_other; alter table orgs owner to worlds_other;
create table docs (id bigserial primary key, org_id int not null references orgs on delete cascade, author int,
  tags text[] not null default '{}', made timestamptz not null default clock_timestamp(), size numeric(6,2) check (size > 0),
  doubled numeric generated always as (size * 2) stored);
create function stamp() returns trigger language plpgsql as
  $$ begin new.author := uid(); new.made := clock_timestamp(); return new; end $$;
create trigger stamp before insert or update on docs for each row execute function stamp();
alter table docs enable row level security; alter table docs force row level security;
alter table docs owner to worlds_owner; grant all on docs, orgs, members to worlds_app; grant usage on sequence docs_id_seq to worlds_app;
create policy p on docs to worlds_app using (exists (select from members m join orgs o on o.id = m.org_id
  where m.org_id = docs.org_id and m.user_id = uid() and o.kind = 'open' and (m.until is null or m.until > current_date)));
create materialized view counted as select count(*) from members;
create function looks(o int) returns boolean language plpgsql stable as
  $$ declare found_one boolean; begin execute 'select exists (select from members where org_id = $1)' into found_one using o; return found_one; end $$;
";

#[tokio::test]
async fn an_owner_who_is_no_superuser_finds_the_same() {
    let db = server::fresh("worlds_owned").await;
    db.client().await.batch_execute(OWNED).await.unwrap();
    let target = target(&db.url_as("worlds_owner"));
    let catalog = catalog(&target).await;
    let table = Name::new("public", "docs");
    let verdict = async |using: &str| {
        let change = [format!("alter policy p on docs using ({using})")];
        let sides = Sides::One {
            target: &target,
            before: &[],
            after: &change,
        };
        let mut after = catalog.clone();
        after.tables.get_mut(&table).unwrap().policies[0].using = Some(using.to_owned());
        let begun = Instant::now();
        let found = search(
            sides,
            (&catalog, &after),
            &table,
            &[],
            WorldOptions::default(),
            &mut |_, _| {},
        )
        .await;
        println!("{:?}", begun.elapsed());
        found.unwrap()
    };
    let set = "org_id = any (array(select m.org_id from members m join orgs o on o.id = m.org_id
        where m.user_id = (select uid()) and o.kind = 'open' and (m.until is null or m.until > current_date)))";
    let same = verdict(set).await;
    assert!(
        matches!(same, Verdict::Same { worlds } if worlds >= 500),
        "{same:#?}"
    );
    for (was, is) in [
        ("m.until is null or ", ""),
        ("current_date", "current_date - 3650"),
        ("o.kind = 'open' and", ""),
        ("o.kind = 'open'", "o.kind >= 'open'"),
    ] {
        let wrong = verdict(&set.replace(was, is)).await;
        let Verdict::Different(example) = wrong else {
            panic!("{was}: {wrong:?}")
        };
        println!(
            "{} / {} / {}",
            example.statement, example.before, example.after
        );
    }
    for (unreadable, why) in [
        (
            "looks(org_id)",
            "function public.looks builds queries from text",
        ),
        (
            "(select count from counted) > 0",
            "materialised view public.counted",
        ),
        ("org_id = 1 or random() < 0.5", "rests on chance"),
        ("true", "in no world did the policies keep a row from"),
    ] {
        let change = [format!("alter policy p on docs using ({unreadable})")];
        let sides = Sides::One {
            target: &target,
            before: &change,
            after: &change,
        };
        let mut catalog = catalog.clone();
        catalog.tables.get_mut(&table).unwrap().policies[0].using = Some(unreadable.to_owned());
        let mut after = catalog.clone();
        after.tables.get_mut(&table).unwrap().policies[0].check = Some(unreadable.to_owned());
        let found = search(
            sides,
            (&catalog, &after),
            &table,
            &[],
            WorldOptions {
                worlds: 50,
                ..WorldOptions::default()
            },
            &mut |_, _| {},
        )
        .await
        .unwrap();
        assert!(
            matches!(&found, Verdict::NotShown(w) if w.contains(why)),
            "{found:?}"
        );
    }
}
