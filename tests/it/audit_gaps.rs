//! Rules over what several policies, grants or rows do together, in the ways that it can be written.

use crate::audit_ground;
use dbtune::db::Session;
use dbtune::model::HolderKind;

/// Name of the table or function that a finding is about, statements, the rule, and whether it finds something.
type Case = (&'static str, &'static str, &'static str, bool);

const GROUND: &str = "
create table member (user_id uuid not null, team_id int not null, role text, main boolean not null default false,
  primary key (user_id, team_id));
create unique index on member (user_id) where main;
create table person (user_id uuid primary key, org int, boss uuid);
create table hidden (org int, user_id uuid primary key);
alter table hidden enable row level security;
create policy own on hidden for select to app using (user_id = (select auth.uid()));
grant select on member, person, hidden to app";

const VALUE: &str = "several-rows-for-one-value";
const CROSS: &str = "checks-cross-over";
const VOID: &str = "void-column-grant";
const OPEN: &str = "true-without-login";

const CASES: &[Case] = &[
    (
        "v1",
        "using (team = (select m.team_id from member m where m.user_id = auth.uid()))",
        VALUE,
        true,
    ),
    (
        "v2",
        "using (team = (select m.team_id from member m where m.user_id = auth.uid() limit 1))",
        VALUE,
        true,
    ),
    (
        "v3",
        "using (exists (select 1 from person p where p.org = (select m.team_id from member m where m.user_id = auth.uid())))",
        VALUE,
        true,
    ),
    (
        "v4",
        "using (team = (select m.team_id from member m join person p on p.user_id = m.user_id where p.user_id = auth.uid()))",
        VALUE,
        true,
    ),
    (
        "v5",
        "using ('lead' = (select m.role from member m where m.team_id = v5.team))",
        VALUE,
        true,
    ),
    (
        "w1",
        "using (team = (select p.org from person p where p.user_id = auth.uid()))",
        VALUE,
        false,
    ),
    (
        "w2",
        "using (team = (select max(m.team_id) from member m where m.user_id = auth.uid()))",
        VALUE,
        false,
    ),
    (
        "w3",
        "using (team = (select m.team_id from member m where m.user_id = auth.uid() order by m.team_id limit 1))",
        VALUE,
        false,
    ),
    (
        "w4",
        "using ('lead' = (select m.role from member m where m.team_id = w4.team and m.user_id = auth.uid()))",
        VALUE,
        false,
    ),
    (
        "w5",
        "using (team = (select m.team_id from member m where m.user_id = auth.uid() and m.main))",
        VALUE,
        false,
    ),
    (
        "w6",
        "using (team = (select h.org from hidden h))",
        VALUE,
        false,
    ),
    (
        "w7",
        "using (team in (select m.team_id from member m where m.user_id = auth.uid()))",
        VALUE,
        false,
    ),
    (
        "w8",
        "using (team = (select b.org from person p join person b on b.user_id = p.boss where p.user_id = auth.uid()))",
        VALUE,
        false,
    ),
    (
        "w9",
        "using ((select true from member m where m.user_id = auth.uid() limit 1))",
        VALUE,
        false,
    ),
    (
        "l1",
        "using (coalesce(auth.uid(), owner) = owner)",
        OPEN,
        true,
    ),
    (
        "l2",
        "using (owner = coalesce((select auth.uid()), owner))",
        OPEN,
        true,
    ),
    (
        "l3",
        "using (owner::text = coalesce(nullif(current_setting('app.user', true), ''), owner::text))",
        OPEN,
        true,
    ),
    (
        "l4",
        "using (case when auth.uid() is null then owner else auth.uid() end = owner)",
        OPEN,
        true,
    ),
    (
        "l5",
        "using (loose is not distinct from coalesce(auth.uid(), loose))",
        OPEN,
        true,
    ),
    (
        "l6",
        "using (coalesce(auth.uid(), loose) = loose)",
        OPEN,
        true,
    ),
    (
        "m1",
        "using (coalesce(auth.uid(), loose) = owner)",
        OPEN,
        false,
    ),
    (
        "m2",
        "using (coalesce(owner, auth.uid()) = auth.uid())",
        OPEN,
        false,
    ),
    (
        "m3",
        "using (coalesce(auth.uid(), '00000000-0000-0000-0000-000000000000') = owner)",
        OPEN,
        false,
    ),
    ("m4", "using (loose is not null)", OPEN, false),
];

/// Two policies for UPDATE each.
const PAIRS: &[(&str, &str, &str, bool)] = &[
    (
        "c1",
        "using (owner = auth.uid()) with check (owner = auth.uid() and team = 1)",
        "using (auth.jwt() ->> 'r' = 'x') with check (team = 2)",
        true,
    ),
    (
        "c2",
        "using (owner = auth.uid() and team = 1)",
        "using (auth.jwt() ->> 'r' = 'x' and owner = auth.uid()) with check (owner = auth.uid())",
        true,
    ),
    (
        "d1",
        "using (owner = auth.uid()) with check (owner = auth.uid() and team = 1)",
        "using (auth.jwt() ->> 'r' = 'x') with check (auth.jwt() ->> 'r' = 'x' and team = 2)",
        false,
    ),
    (
        "d2",
        "using (owner = auth.uid())",
        "using (auth.jwt() ->> 'r' = 'x')",
        false,
    ),
    (
        "d3",
        "using (owner = auth.uid()) with check (team = 1)",
        "using (auth.jwt() ->> 'r' = 'x') with check (team = 1)",
        false,
    ),
    (
        "d4",
        "using (loose is null and owner = auth.uid()) with check (owner = auth.uid())",
        "using (auth.jwt() ->> 'r' = 'x')",
        false,
    ),
];

const GRANTS: &[(&str, &str, bool)] = &[
    (
        "g1",
        "grant update on g1 to app; grant update (team) on g1 to app",
        true,
    ),
    (
        "g2",
        "grant update on g2 to public; grant update (team) on g2 to app",
        true,
    ),
    (
        "g3",
        "grant select on g3 to app; grant update (team) on g3 to app",
        false,
    ),
    (
        "g4",
        "grant update on g4 to app; grant update (id, owner, loose, team) on g4 to app",
        false,
    ),
    (
        "g5",
        "grant update on g5 to anon; grant update (team) on g5 to app",
        false,
    ),
];

fn table(name: &str) -> String {
    format!(
        "create table {name} (id int primary key, owner uuid not null, loose uuid, team int);\n\
         alter table {name} enable row level security;\n"
    )
}

#[tokio::test]
async fn each_shape_is_found_and_its_neighbours_are_not() {
    let mut script = format!("{GROUND};\n");
    let mut expected: Vec<(&str, &str, bool)> = Vec::new();
    for (name, policy, rule, found) in CASES {
        script += &table(name);
        script += &format!(
            "grant select on {name} to app, anon;\ncreate policy p on {name} for select {policy};\n"
        );
        expected.push((name, rule, *found));
    }
    for (name, one, other, found) in PAIRS {
        script += &table(name);
        script += &format!(
            "grant select, update on {name} to app;\ncreate policy a on {name} for update to app {one};\n\
             create policy b on {name} for update to app {other};\n"
        );
        expected.push((name, CROSS, *found));
    }
    for (name, grants, found) in GRANTS {
        script += &table(name);
        script += &format!("{grants};\n");
        expected.push((name, VOID, *found));
    }
    // Functions that policies call.
    for (name, language, body, found) in [
        (
            "f1",
            "sql",
            "select m.team_id from member m where m.user_id = auth.uid()",
            true,
        ),
        (
            "f2",
            "sql",
            "select p.org from person p where p.user_id = auth.uid()",
            false,
        ),
        (
            "f3",
            "plpgsql",
            "begin return (select m.team_id from member m where m.user_id = auth.uid()); end",
            true,
        ),
        (
            "f4",
            "sql",
            "select count(*)::int from member m where m.user_id = auth.uid()",
            false,
        ),
    ] {
        script += &table(&format!("t{name}"));
        script += &format!(
            "create function {name}() returns int language {language} stable as $${body}$$;\n\
             create policy p on t{name} for select to app using (team = {name}());\n"
        );
        expected.push((name, VALUE, found));
    }
    let db = audit_ground::database("audit_gaps", &script).await;
    let (findings, _) = audit_ground::audit(&db.url).await;
    let mut wrong = Vec::new();
    for (name, rule, expected) in expected {
        let found = findings
            .iter()
            .any(|f| f.rule == rule && f.object.name.name == name);
        if found != expected {
            wrong.push(format!("{name} {rule}: {found}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // The fix leaves the columns that were meant.
    let fix = findings
        .iter()
        .find(|f| f.rule == VOID && f.object.name.name == "g1");
    let client = db.client().await;
    client
        .batch_execute(fix.unwrap().fix.as_deref().unwrap())
        .await
        .unwrap();
    let sql = "select has_column_privilege('app', 'g1', 'team', 'update') and not has_column_privilege('app', 'g1', 'owner', 'update')";
    assert!(client.query_one(sql, &[]).await.unwrap().get::<_, bool>(0));
}

#[tokio::test]
async fn a_slot_is_read_with_the_state_of_its_log() {
    let db = crate::server::fresh("slot_state").await;
    let client = db.client().await;
    let sql = "select pg_create_physical_replication_slot('slot_state', true)";
    client.query(sql, &[]).await.unwrap();
    let target = dbtune::db::Target::resolve(Some(&db.url), &crate::server::environment()).unwrap();
    let session = Session::connect(&target, "test").await.unwrap();
    let catalog = dbtune::db::read_catalog(&session).await;
    let sql = "select pg_drop_replication_slot('slot_state')";
    client.query(sql, &[]).await.unwrap();
    let catalog = catalog.unwrap();
    let slot = catalog
        .server
        .holders
        .iter()
        .find(|h| h.name == "slot_state")
        .unwrap();
    assert_eq!(slot.kind, HolderKind::ReplicationSlot);
    assert_eq!(slot.wal_status, "reserved");
    assert!(
        catalog
            .server
            .settings
            .contains_key("max_slot_wal_keep_size")
    );
}
