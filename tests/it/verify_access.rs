//! What gives access to rows: read, compared between two databases, and what each kind of change reaches.

use crate::seed::session_at;
use crate::seed_clinic::clinic;
use crate::server::{self, Db};
use dbtune::db::Session;
use dbtune::verify::access::{
    Class, Comparison, Definitions, Kind, changed_rows, compare, fingerprints, occupied, read,
};
use std::collections::BTreeSet;

const SETUP: &str = "
do $$ begin create role va_app nologin; exception when duplicate_object then null; end $$;
do $$ begin create role va_admin nologin; exception when duplicate_object then null; end $$;
do $$ begin create role va_owner nologin; exception when duplicate_object then null; end $$;
grant usage on schema public to va_app, va_admin;
create type grade as enum ('low', 'high');
create domain positive as int check (value > 0);
create table members (org int not null, who text not null, primary key (org, who));
create table docs (id int primary key, org int not null default 1, owner text default current_user, level grade, n positive, title text,
  secret text);
create table notes (id int primary key, doc int references docs, body text);
create table plain (id int, v text);
create table audit (id int generated always as identity, what text);
create function me() returns text language sql stable as $$ select current_setting('app.me', true) $$;
create function is_member(o int) returns boolean language sql stable security definer set search_path = '' as
$$ select exists (select from public.members m where m.org = o and m.who = public.me()) $$;
create function note_change() returns trigger language plpgsql security definer as
$$ begin insert into audit (what) values (tg_op); return new; end $$;
create function lister() returns setof docs language sql security definer as $$ select * from docs $$;
create function helper(v int) returns int language sql immutable as $$ select v $$;
create trigger noted after insert or update on docs for each row execute function note_change();
create view titles as select id, title from docs;
create view bare as select v from plain;
create materialized view copied as select id, org from docs;
create unique index one_title on docs (org, title) where title is not null;
alter table docs enable row level security;
alter table members enable row level security;
alter table notes enable row level security;
create policy own on docs to va_app using (is_member(org)) with check (is_member(org) and n > 0);
create policy all_admin on docs to va_admin using (true);
create policy mine on members to va_app using (who = me());
create policy through on notes to va_app using (doc in (select id from docs));
grant select, insert, update, delete on members, docs, notes to va_app;
grant select on titles to va_app;
grant select on docs to va_admin;
alter table members owner to va_owner;
alter table docs owner to va_owner;
alter table notes owner to va_owner;
alter function is_member(int) owner to va_owner;
insert into members values (1, 'ann');
insert into docs values (1, 1, 'ann', 'low', 1, 'a', 'b');
insert into notes values (1, 1, 'x');
insert into plain values (1, 'x');
";

async fn open(db: &Db) -> Session {
    session_at(&db.url).await
}

/// A copy of the small schema.
async fn copy(label: &str) -> (Db, Session) {
    let template = server::template("verify_access", &[SETUP.to_owned()]).await;
    let db = server::fresh_from(label, template).await;
    let session = open(&db).await;
    (db, session)
}

async fn after(change: &str) -> (Definitions, Session) {
    let (_db, session) = copy("access").await;
    session
        .execute("change", change)
        .await
        .unwrap_or_else(|e| panic!("{change}: {e}"));
    (read_own(&session, "va_").await, session)
}

/// Without the roles of other tests: all databases of a server share them.
async fn read_own(session: &Session, prefix: &str) -> Definitions {
    let mut found = read(session).await.unwrap();
    found
        .objects
        .retain(|key, _| key.kind != Kind::Role || key.name.name.starts_with(prefix));
    found
}

fn said(found: &Comparison) -> Vec<&str> {
    found.changed.iter().map(|c| c.what.as_str()).collect()
}

fn touched(found: &Comparison) -> String {
    let names: Vec<&str> = found.touched.iter().map(|n| n.name.as_str()).collect();
    names.join(" ")
}

fn classes(found: &Comparison) -> String {
    let classes: BTreeSet<Class> = found.access.iter().map(|a| a.class).collect();
    let names: Vec<String> = classes.iter().map(|c| format!("{c:?}")).collect();
    names.join(" ")
}

/// A change, the words that one sentence has, the tables touched, and how rows are opened or closed.
#[rustfmt::skip]
const CHANGES: &[(&str, &str, &str, &str)] = &[
    ("create index on docs (org)", "", "", ""),
    ("analyze; comment on table docs is 'x'; alter table docs set (fillfactor = 90)", "", "", ""),
    ("alter policy own on docs using (true)", "policy own on public.docs: USING changed", "docs notes", "Policy"),
    ("alter policy own on docs with check (true)", "policy own on public.docs: WITH CHECK changed", "docs notes", "Policy"),
    ("alter policy own on docs to public", "policy own on public.docs: roles changed", "docs notes", "Policy"),
    ("drop policy all_admin on docs", "policy all_admin on public.docs dropped", "docs notes", "Policy"),
    ("create policy more on docs as restrictive using (n > 1)", "policy more on public.docs added", "docs notes", "Policy"),
    ("alter policy own on docs rename to theirs", "policy own on public.docs renamed to theirs", "docs notes", ""),
    // A function with the rights of the table's owner does not care for its policies.
    ("alter policy mine on members using (true)", "policy mine on public.members: USING changed", "members", "Policy"),
    ("alter table members force row level security", "table public.members: FORCE ROW LEVEL SECURITY set", "docs members notes", "Policy"),
    ("alter table docs disable row level security", "table public.docs: row-level security switched off", "docs notes", "Policy"),
    ("alter table plain enable row level security", "table public.plain: row-level security switched on", "plain", "Policy"),
    ("alter table docs owner to va_admin", "table public.docs: owner changed from va_owner to va_admin", "docs notes", "Owner"),
    ("grant select on plain to va_app", "table public.plain: SELECT granted to va_app", "plain", "Privilege"),
    ("grant select (title) on docs to public", "table public.docs: SELECT (title) granted to PUBLIC", "docs notes", "Privilege"),
    ("revoke insert on docs from va_app", "table public.docs: INSERT revoked from va_app", "docs notes", "Privilege"),
    ("grant select on docs to va_admin with grant option", "table public.docs: grant option of SELECT for va_admin changed", "docs notes", "Privilege"),
    ("grant create on schema public to va_app", "schema public: CREATE granted to va_app", "", "Privilege"),
    ("revoke usage on schema public from va_app", "schema public: USAGE revoked from va_app", "audit docs members notes plain", "Privilege"),
    ("create or replace function me() returns text language sql stable as $$ select 'ann' $$", "function public.me(): body changed", "docs members notes", "Policy"),
    ("alter function me() strict", "function public.me(): became STRICT", "docs members notes", "Policy"),
    ("alter function is_member(int) reset search_path", "settings taken away", "docs notes", "Policy"),
    ("alter function is_member(int) security invoker", "is no longer SECURITY DEFINER", "docs notes", "Policy Callable"),
    ("alter function is_member(int) owner to va_admin", "owner changed from va_owner to va_admin", "docs notes", "Policy"),
    ("revoke execute on function me() from public", "EXECUTE revoked from PUBLIC", "docs members notes", "Policy"),
    ("create or replace function lister() returns setof docs language sql security definer as $$ select * from docs where true $$", "function public.lister(): body changed", "", "Callable"),
    ("revoke execute on function lister() from public", "EXECUTE revoked from PUBLIC", "", "Callable"),
    ("create or replace function helper(v int) returns int language sql immutable as $$ select v + 1 $$", "function public.helper(v integer): body changed", "", ""),
    ("create function quiet(v int) returns int language sql as $$ select v $$", "function public.quiet(v integer) added", "", ""),
    ("create function leak() returns bigint language sql security definer as $$ select count(*) from docs $$", "function public.leak() added", "", "Callable"),
    ("create function leak() returns bigint language sql security definer as $$ select count(*) from docs $$; revoke execute on function leak() from public", "function public.leak() added", "", ""),
    ("create function mine(o int) returns boolean language sql security definer as $$ select o in (select org from members) $$; alter policy own on docs using (mine(org))", "function public.mine(o integer) added", "docs notes", "Policy Companion"),
    ("create function me(i int) returns text language sql as $$ select 'x' $$", "function public.me(i integer) added", "docs members notes", "Policy"),
    ("create or replace function note_change() returns trigger language plpgsql security definer as $$ begin return new; end $$", "function public.note_change(): body changed", "docs", "Trigger"),
    ("alter table docs disable trigger noted", "trigger noted on public.docs: disabled", "docs", "Trigger"),
    ("drop trigger noted on docs", "trigger noted on public.docs dropped", "docs", "Trigger"),
    ("create trigger other before insert on notes for each row execute function note_change()", "trigger other on public.notes added", "notes", "Trigger"),
    ("create rule r as on delete to notes do instead nothing", "rule r on public.notes added", "notes", "Rule"),
    ("create or replace view titles as select id, title from docs where id > 0", "view public.titles: definition changed", "", "View"),
    ("grant insert on titles to va_app", "view public.titles: INSERT granted to va_app", "", "View"),
    ("alter view titles set (security_barrier)", "view public.titles: gained security_barrier", "", "View"),
    ("create view open as select * from docs; grant select on open to va_app", "view public.open added", "", "View"),
    ("create view closed as select * from docs", "view public.closed added", "", ""),
    ("drop view titles", "view public.titles dropped", "", "View"),
    ("create materialized view kept as select * from docs; grant select on kept to public", "materialized view public.kept added", "", "View"),
    ("grant select on copied to va_app", "materialized view public.copied: SELECT granted to va_app", "", "View"),
    ("alter table docs alter org set default 2", "columns of public.docs: column org changed", "docs notes", "Default"),
    ("alter table docs alter title set default 'x'", "columns of public.docs: column title changed", "docs notes", ""),
    ("alter table docs add column extra text", "columns of public.docs: column extra added", "docs", ""),
    // A name in a body can be the new column's.
    ("alter table members add column o int", "columns of public.members: column o added", "docs members notes", ""),
    ("alter table docs rename title to name", "columns of public.docs: column title renamed to name", "docs notes", ""),
    ("alter table docs drop column secret", "columns of public.docs: column secret dropped", "docs notes", ""),
    ("alter table notes alter body type varchar(9)", "columns of public.notes: column body changed", "notes", ""),
    ("alter table notes drop constraint notes_doc_fkey, add constraint notes_doc_fkey foreign key (doc) references docs on delete cascade", "constraint notes_doc_fkey on public.notes: definition changed; follows added", "notes", "Cascade"),
    ("alter table notes add column d int references docs on delete cascade", "constraint notes_d_fkey on public.notes added", "notes", ""),
    ("alter table docs add check (id > 0)", "constraint docs_id_check on public.docs added", "docs", ""),
    ("drop index one_title", "unique index one_title on public.docs dropped", "docs", ""),
    ("alter type grade add value 'top'", "type public.grade: labels changed", "docs notes", ""),
    ("alter domain positive drop constraint positive_check", "type public.positive: constraints taken away", "docs notes", ""),
    ("create table fresh (id int, o int); alter table fresh enable row level security; create policy p on fresh using (true); grant select on fresh to va_app", "table public.fresh added", "", ""),
    ("create table part () inherits (notes); grant select on part to va_app", "table public.part added", "notes", "Parent"),
    ("drop table plain cascade", "table public.plain dropped", "", ""),
    ("alter table plain rename to other", "table public.plain renamed to public.other", "plain", ""),
    ("alter default privileges in schema public grant select on tables to va_app", "default privileges of", "", "DefaultPrivileges"),
    ("create publication pub for table docs", "publication pub added", "", "Publication"),
    ("do $$ begin execute format('alter database %I set search_path = public, pg_catalog', current_database()); end $$", "database: setting search_path added", "docs members notes", "Setting"),
    ("do $$ begin execute format('alter database %I set work_mem = ''5MB''', current_database()); end $$", "database: setting work_mem added", "", ""),
    ("create function same(a text, b text) returns boolean language sql as 'select true'; create operator public.= (leftarg = text, rightarg = text, function = same)", "operator public.= (text, text) added", "docs notes", "Policy"),
];

#[tokio::test]
async fn each_change_is_said_in_words_and_reaches_what_depends_on_it() {
    let (_db, session) = copy("access").await;
    let before = read_own(&session, "va_").await;
    let (same, _) = after("select 1").await;
    assert_eq!(compare(&before, &same, true), nothing(&before, &same));
    let mut wrong = Vec::new();
    for (change, words, tables, opens) in CHANGES {
        let (now, _) = after(change).await;
        let found = compare(&before, &now, true);
        let right = if words.is_empty() {
            found.changed.is_empty()
        } else {
            said(&found).iter().any(|s| s.contains(words))
        };
        if !right || touched(&found) != *tables || classes(&found) != *opens {
            wrong.push(format!(
                "{change}\n  {:?}\n  touched {} (expected {tables})\n  opens {} (expected {opens})",
                said(&found),
                touched(&found),
                classes(&found)
            ));
        }
        // By name alone nothing that is decided by number may be missed, a rename apart.
        let by_name = compare(&before, &now, false);
        assert!(
            by_name.changed.is_empty() == found.changed.is_empty(),
            "{change}"
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A comparison that found nothing; what it binds is not of interest.
fn nothing(before: &Definitions, after: &Definitions) -> Comparison {
    Comparison {
        reach: compare(before, after, true).reach,
        ..Comparison::default()
    }
}

/// Roles belong to the whole server, so there is one side only, read before and after.
#[tokio::test]
async fn roles_are_compared_over_time() {
    let (_db, session) = copy("roles").await;
    session
        .execute("set up", "create role vr_staff; grant select, update on plain to vr_staff; create role vr_other; grant insert on audit to vr_other")
        .await
        .unwrap();
    for (change, words, tables, opens, back) in [
        (
            "grant vr_staff to vr_other",
            "role vr_other: became a member of vr_staff",
            "plain",
            "Role",
            "revoke vr_staff from vr_other",
        ),
        (
            "alter role vr_other bypassrls",
            "role vr_other: gained BYPASSRLS",
            "audit docs members notes",
            "Role",
            "alter role vr_other nobypassrls",
        ),
        (
            "alter role vr_staff set app.me = 'x'",
            "role vr_staff: setting app.me added",
            "plain",
            "Setting",
            "alter role vr_staff reset all",
        ),
        (
            "alter role vr_staff set work_mem = '5MB'",
            "role vr_staff: setting work_mem added",
            "",
            "",
            "alter role vr_staff reset all",
        ),
        (
            "create role vr_new in role vr_staff",
            "role vr_new added",
            "plain",
            "Role",
            "drop role vr_new",
        ),
    ] {
        let before = read_own(&session, "vr_").await;
        session.execute("change", change).await.unwrap();
        let after = read_own(&session, "vr_").await;
        session.execute("take back", back).await.unwrap();
        let found = compare(&before, &after, true);
        assert!(
            said(&found).contains(&words),
            "{change}: {:?}",
            said(&found)
        );
        assert!(!said(&found).concat().contains("'x'"));
        assert_eq!(touched(&found), tables, "{change}");
        assert_eq!(classes(&found), opens, "{change}");
    }
    session
        .execute(
            "clean up",
            "drop owned by vr_staff, vr_other; drop role vr_staff, vr_other",
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn changed_rows_and_open_copies_are_found() {
    let (_a, before) = copy("rows").await;
    let (_b, after) = copy("rows").await;
    assert!(changed_rows(&before, &after).await.unwrap().is_empty());
    let was = read(&before).await.unwrap();
    let change = "update docs set title = title; delete from plain; insert into audit (what) values ('x');
        create table taken as select * from docs; create table empty as select * from docs limit 0; create table private as select * from docs;
        grant select on taken, empty to va_app; vacuum_is_elsewhere";
    let change = change.replace("; vacuum_is_elsewhere", "");
    after.execute("change", &change).await.unwrap();
    let names = |set: BTreeSet<dbtune::model::Name>| {
        set.into_iter()
            .map(|n| n.name)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        names(changed_rows(&before, &after).await.unwrap()),
        "audit docs plain"
    );
    let is = read(&after).await.unwrap();
    let mut found = compare(&was, &is, true);
    assert_eq!(names(found.open.keys().cloned().collect()), "empty taken");
    let full = occupied(&after, &found.open.keys().cloned().collect())
        .await
        .unwrap();
    found.settle(&full);
    let what: Vec<&str> = found.access.iter().map(|a| a.what.as_str()).collect();
    assert_eq!(
        what,
        ["table public.taken is new, holds rows and is open to va_app"]
    );
    assert!(
        found
            .access
            .iter()
            .all(|a| a.class == Class::Copy && !a.decidable)
    );
    // Written anew, with other rows or not: read again.
    after.execute("change", "vacuum full notes").await.unwrap();
    assert!(names(changed_rows(&before, &after).await.unwrap()).contains("notes"));
}

#[tokio::test]
async fn the_clinic_is_read_fast_and_a_clone_has_the_same_fingerprints() {
    let (db, session) = clinic("access_clinic").await;
    let (begun, found) = (std::time::Instant::now(), read(&session).await.unwrap());
    let took = begun.elapsed();
    assert!(took.as_secs_f64() < 1.0, "{took:?}");
    let owner = session_at(&db.url).await;
    let sql = format!("alter database {} set app.secret = 'Sesame'", db.name);
    owner.execute("set up", &sql).await.unwrap();
    let found = {
        drop(found);
        read(&session).await.unwrap()
    };
    drop((session, owner));
    let target = dbtune::db::Target::resolve(Some(&db.url), &crate::server::environment()).unwrap();
    let pair = crate::pair::Pair::open(&target).await.unwrap();
    let clone = Session::connect(pair.after(), "test").await.unwrap();
    let copied = read(&clone).await.unwrap();
    drop(clone);
    pair.close().await.unwrap();
    let all: BTreeSet<_> = found.objects.keys().cloned().collect();
    let (one, other) = (fingerprints(&found, &all), fingerprints(&copied, &all));
    let differing: Vec<_> = one
        .iter()
        .filter(|(k, v)| other.get(*k) != Some(*v))
        .collect();
    assert!(
        differing.is_empty() && one.len() == other.len() && one.len() == all.len(),
        "{differing:?}"
    );
    assert!(all.len() > 100 && compare(&found, &copied, true).changed.is_empty());
    let text = serde_json::to_string(&found).unwrap();
    assert!(!text.contains("Sesame"), "no value of a setting is kept");
    assert_eq!(serde_json::from_str::<Definitions>(&text).unwrap(), found);
}
