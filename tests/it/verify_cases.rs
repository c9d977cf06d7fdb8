//! Changes that `dbtune verify` once let pass, called different, or could not look at.

use crate::server;
use crate::verify_ground::{CAUGHT, Case, NOT_ACCUSED, SAME, SHOWN, TWO, Wanted, case};

/// Papers of five teams and seven authors, and a table beside them that no change here touches.
const PAPERS: &str = "
create table papers (id int primary key, team int not null, author int not null, state text not null default 'open', hidden text);
insert into papers select i, i % 5, i % 7, (array['open', 'done'])[1 + i % 2], 'h' || i from generate_series(1, 280) i;
alter table papers enable row level security;
create table beside (id int primary key, author int);
insert into beside select i, i % 7 from generate_series(1, 50) i;
alter table beside enable row level security;
create policy own on beside to case_app using (author = me());
grant select, insert, update, delete on beside to case_app;
";
const READ: &str = "create policy see on papers for select to case_app using (author = me());";
const UPDATE: &str = "create policy change on papers for update to case_app using (author = me()) with check (author = me());";
const INSERT: &str =
    "create policy add on papers for insert to case_app with check (author = me());";

async fn papers(more: &[&str]) -> Case {
    case("papers", PAPERS, TWO)
        .await
        .and(&more.join("\n"))
        .await
}

#[tokio::test]
async fn rights_by_column_hide_no_change() {
    let mut wanted = Wanted::default();
    let reading = papers(&[READ, "grant select (id, team) on papers to case_app;"]).await;
    wanted.of(
        "reads of two columns",
        &reading,
        "alter policy see on papers using (true);",
        CAUGHT,
    );
    let updating = papers(&[
        READ,
        UPDATE,
        "grant select on papers to case_app; grant update (state) on papers to case_app;",
    ])
    .await;
    wanted.of(
        "updates of one column",
        &updating,
        "alter policy change on papers using (true) with check (true);",
        CAUGHT,
    );
    let both = papers(&[
        READ,
        UPDATE,
        "grant select (id, state), update (state) on papers to case_app;",
    ])
    .await;
    let wide = "alter policy see on papers using (true); alter policy change on papers using (true) with check (true);";
    wanted.of("reads and updates of some", &both, wide, CAUGHT);
    let adding = papers(&[READ, INSERT, "grant select on papers to case_app; grant insert (id, team, author) on papers to case_app;"]).await;
    wanted.of(
        "inserts of some",
        &adding,
        "alter policy add on papers with check (true);",
        CAUGHT,
    );
    wanted.hold();
}

#[tokio::test]
async fn writes_without_the_right_to_read_are_looked_at() {
    let mut wanted = Wanted::default();
    let adding = papers(&[INSERT, "grant insert on papers to case_app;"]).await;
    wanted.of(
        "inserts alone",
        &adding,
        "alter policy add on papers with check (true);",
        CAUGHT,
    );
    let updating = papers(&[UPDATE, "grant update on papers to case_app;"]).await;
    wanted.of(
        "updates alone",
        &updating,
        "alter policy change on papers using (true) with check (true);",
        CAUGHT,
    );
    let deleting = papers(&["create policy drop on papers for delete to case_app using (author = me()); grant delete on papers to case_app;"]).await;
    wanted.of(
        "deletes alone",
        &deleting,
        "alter policy drop on papers using (true);",
        CAUGHT,
    );
    wanted.hold();
}

#[tokio::test]
async fn what_no_row_shows_today_is_decided_all_the_same() {
    let mut wanted = Wanted::default();
    let empty = papers(&[
        READ,
        "grant select, insert on papers to case_app; truncate papers;",
    ])
    .await;
    let open = "alter policy see on papers using (true); create policy add on papers for insert to case_app with check (true);";
    wanted.of("an empty table", &empty, open, CAUGHT);
    let adding = papers(&[
        READ,
        INSERT,
        "grant select, insert, update on papers to case_app;",
    ])
    .await;
    let unseen = "alter policy add on papers with check (author = me() or state = 'public');";
    wanted.of("a state that no row has, inserted", &adding, unseen, CAUGHT);
    let updating = papers(&[READ, UPDATE, "grant select, update on papers to case_app;"]).await;
    let unseen = "alter policy change on papers with check (author = me() or state = 'public');";
    wanted.of(
        "a state that no row has, updated",
        &updating,
        unseen,
        CAUGHT,
    );
    let roles = papers(&[READ, "grant select on papers to case_app;"]).await;
    let everybody = "create policy everybody on papers for select to public using (true); grant select on papers to public;";
    wanted.of("a role that no persona has", &roles, everybody, CAUGHT);
    wanted.hold();
}

#[tokio::test]
async fn a_policy_that_writes_is_no_proof() {
    let log = "create table log (t text); grant insert on log to case_app;
        create function seen(o int) returns boolean language plpgsql as $$ begin insert into log values ('x'); return o = me(); end $$;
        create policy see on papers for select to case_app using (seen(author)); grant select on papers to case_app;";
    let logging = papers(&[log]).await;
    let mut wanted = Wanted::default();
    wanted.of(
        "a function that writes",
        &logging,
        "alter policy see on papers using (seen(author) or team = 3);",
        CAUGHT,
    );
    wanted.hold();
}

#[tokio::test]
async fn new_tables_columns_and_indexes_change_nothing() {
    let ground = papers(&[READ, "grant select on papers to case_app;"]).await;
    let mut wanted = Wanted::default();
    let table = "create table extra (id int primary key, author int); create index on extra (author); alter table extra enable row level security;
        create policy own on extra to case_app using (true); grant select on extra to case_app;";
    wanted.of("a table with an index and a policy", &ground, table, SAME);
    let column = "alter table papers add column region int; create index on papers (region); alter policy see on papers using (author = me());";
    wanted.of("a column with an index", &ground, column, SAME);
    let function = "create function low(t text) returns text language sql immutable as $$ select lower(t) $$; create index on papers (low(state));";
    wanted.of("a function with an index", &ground, function, SAME);
    wanted.hold();
}

#[tokio::test]
async fn another_name_hides_no_change() {
    let ground = papers(&[READ, "grant select on papers to case_app;"]).await;
    let mut wanted = Wanted::default();
    let column =
        "alter table papers rename column team to squad; alter policy see on papers using (true);";
    wanted.of("a column", &ground, column, CAUGHT);
    let table = "alter table papers rename to articles; alter policy see on articles using (true);";
    wanted.of("a table", &ground, table, CAUGHT);
    wanted.hold();
}

#[tokio::test]
async fn chance_is_not_called_a_difference() {
    let chance = "grant select on papers to case_app; create policy chance on papers for select to case_app using (random() < 0.5);";
    let ground = papers(&[READ, chance]).await;
    let mut wanted = Wanted::default();
    wanted.of(
        "random() in a policy that nobody touches",
        &ground,
        "create table nothing (id int);",
        NOT_ACCUSED,
    );
    wanted.hold();
}

#[tokio::test]
async fn ways_past_the_policies_are_seen() {
    let ground = papers(&[READ, "grant select on papers to case_app;"]).await;
    let mut wanted = Wanted::default();
    let view = "create view every as select * from papers; grant select on every to case_app;";
    wanted.of("a view of its owner", &ground, view, CAUGHT);
    let copy = "create table copied as select * from papers; grant select on copied to case_app;";
    wanted.of("a copy", &ground, copy, CAUGHT);
    let kept =
        "create materialized view kept as select * from papers; grant select on kept to case_app;";
    wanted.of("a materialised copy", &ground, kept, CAUGHT);
    let function = "create function every_paper() returns setof papers language sql stable security definer as $$ select * from papers $$;";
    wanted.of("a function of its owner", &ground, function, CAUGHT);
    wanted.of(
        "no row-level security",
        &ground,
        "alter table papers disable row level security;",
        CAUGHT,
    );
    wanted.of(
        "a role that may not be made",
        &ground,
        "create role case_seer;",
        &[1, 2, 3],
    );
    let version: i32 = ground
        .db
        .client()
        .await
        .query_one("select current_setting('server_version_num')::int", &[])
        .await
        .unwrap()
        .get(0);
    // Views that ask as their caller came with 15.
    if version >= 150_000 {
        let asked = "create view asked with (security_invoker) as select * from papers; grant select on asked to case_app;";
        let invoker = papers(&[READ, "grant select on papers to case_app;", asked]).await;
        wanted.of(
            "a view that asks as its owner from now on",
            &invoker,
            "alter view asked reset (security_invoker);",
            CAUGHT,
        );
    }
    wanted.hold();
}

#[tokio::test]
async fn triggers_that_guard_are_missed() {
    let mut wanted = Wanted::default();
    let stamping = "grant select, insert on papers to case_app;
        create function stamp() returns trigger language plpgsql as $$ begin new.author := me(); return new; end $$;
        create trigger stamp before insert on papers for each row execute function stamp();";
    let stamped = papers(&[READ, INSERT, stamping]).await;
    let bare =
        "drop trigger stamp on papers; alter policy add on papers with check (author = me());";
    wanted.of("one that writes the author", &stamped, bare, CAUGHT);
    let guarding = "grant select, insert, update on papers to case_app;
        create function guard() returns trigger language plpgsql as $$ begin if new.team <> 1 then raise exception 'no'; end if; return new; end $$;
        create trigger guard before insert or update on papers for each row execute function guard();";
    let guarded = papers(&[READ, INSERT, UPDATE, guarding]).await;
    wanted.of(
        "one that refuses",
        &guarded,
        "drop trigger guard on papers;",
        CAUGHT,
    );
    wanted.hold();
}

/// Everybody reads every parcel, and who sent one may change it.
const PARCELS: &str = "
create function sender() returns uuid language sql stable
  as $$ select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid $$;
create table parcels (id int primary key, sent_by uuid not null, state text not null);
create index on parcels (sent_by);
insert into parcels select i, md5((i % 80)::text)::uuid, 'packed' from generate_series(1, 4000) i;
alter table parcels enable row level security;
grant select, update, delete on parcels to case_app;
create policy see on parcels for select to case_app using (true);
create policy change on parcels for update to case_app using (sent_by = (select sender())) with check (sent_by = (select sender()) and state = 'packed');
create policy drop on parcels for delete to case_app using (sent_by = (select sender()));
";
const SENDER: &str = r#"
version: 1
personas:
  sender:
    role: case_app
    claims: { sub: "${who}" }
    sample: select sent_by::text as who from parcels group by 1 order by 1 limit 1
queries:
  - { name: mine, personas: [sender], sql: "select count(*) from parcels" }
"#;

#[tokio::test]
async fn where_everybody_reads_and_owners_write() {
    let mut wanted = Wanted::default();
    let mut parcels = case("parcels", PARCELS, SENDER).await;
    parcels.user = server::server().superuser();
    wanted.of(
        "owners delete no longer",
        &parcels,
        "alter policy drop on parcels using (false);",
        SHOWN,
    );
    wanted.of(
        "owners hand rows over",
        &parcels,
        "alter policy change on parcels with check (state = 'packed');",
        SHOWN,
    );
    wanted.of(
        "everybody deletes everything",
        &parcels,
        "alter policy drop on parcels using (true);",
        SHOWN,
    );
    let mut own = case("parcels", PARCELS, SENDER)
        .await
        .and("alter policy see on parcels using (sent_by = (select sender()));")
        .await;
    own.user = server::server().superuser();
    wanted.of(
        "an UPDATE without WHERE hands rows over",
        &own,
        "alter policy change on parcels with check (state = 'packed');",
        SHOWN,
    );
    wanted.hold();
}
