//! A rewrite is proposed where something got lighter by it and nothing much heavier, and it says by what it was tried.

use crate::commands;
use crate::server::{self, Db};
use serde_json::Value;

/// Goods in depots, and staff of depots: a helper is asked for each row. One keeper has every depot, a clerk has three.
const DEPOTS: &str = "
do $$ begin create role earn_app nologin; exception when duplicate_object then null; end $$;
do $$ begin create role earn_other nologin; exception when duplicate_object then null; end $$;
create function me() returns int language sql stable as
$$ select nullif(current_setting('app.me', true), '')::int $$;
create table staff (person int not null, depot int not null, primary key (person, depot));
insert into staff select 1, d from generate_series(1, 60000) d;
insert into staff select 2, d from generate_series(1, 3) d;
create table goods (id int primary key, depot int not null, name text not null);
insert into goods select i, i % 300 + 1, 'thing ' || i from generate_series(1, 60000) i;
create index goods_depot on goods (depot);
create function keeps(d int) returns boolean language sql stable security definer set search_path = '' as
$$ select exists (select 1 from public.staff s where s.depot = d and s.person = public.me()) $$;
alter table goods enable row level security;
create policy goods_read on goods for select to earn_app using (keeps(depot));
create policy goods_add on goods for insert to earn_app with check (keeps(depot));
create table notes (id int primary key, author int not null, body text not null);
insert into notes select i, i % 50, repeat('x', 60) from generate_series(1, 4000) i;
alter table notes enable row level security;
create policy notes_own on notes for select to earn_other using (author = me());
grant select, insert on goods to earn_app;
grant select on notes to earn_other;
vacuum analyze;
";

const KEEPER: &str = "personas: { keeper: { role: earn_app, settings: { app.me: '1' } } }\n";
const CLERK: &str = "personas: { clerk: { role: earn_app, settings: { app.me: '2' } } }\n";

async fn database(label: &str, setup: &str) -> Db {
    let db = server::fresh(label).await;
    let client = db.client().await;
    // VACUUM stands outside a transaction.
    for part in setup.split_inclusive(";\nvacuum analyze;\n") {
        let (made, vacuum) = match part.strip_suffix("vacuum analyze;\n") {
            Some(made) => (made, true),
            None => (part, false),
        };
        client.batch_execute(made).await.unwrap();
        if vacuum {
            client.batch_execute("vacuum analyze").await.unwrap();
        }
    }
    db
}

struct Advice {
    report: Value,
}

impl Advice {
    /// Of `dbtune propose` for a workload of `personas` and `queries`.
    fn of(db: &Db, personas: &str, queries: &str, clone: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let workload = format!("version: 1\n{personas}queries:\n{queries}");
        std::fs::write(folder.path().join("w.yaml"), workload).unwrap();
        let arguments = [
            "propose",
            "--workload",
            "w.yaml",
            "--clone",
            clone,
            "--dry-run",
            "--format",
            "json",
        ];
        let (code, out, err) = commands::dbtune(folder.path(), &db.url, &arguments);
        assert_eq!(code, 0, "{out}{err}");
        Self {
            report: serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}")),
        }
    }

    fn proposals(&self) -> Vec<&Value> {
        self.report["data"]["proposals"]
            .as_array()
            .unwrap()
            .iter()
            .collect()
    }

    /// The proposal that rewrites `policy`.
    fn rewrite(&self, policy: &str) -> Option<&Value> {
        self.proposals().into_iter().find(|p| {
            p["changes"]
                .as_array()
                .unwrap()
                .iter()
                .any(|c| c["policy"] == policy)
        })
    }

    /// Why `policy` is left alone.
    fn left(&self, policy: &str) -> String {
        let left = self.report["data"]["left_alone"].as_array().unwrap();
        let one = left.iter().find(|l| l["policy"] == policy);
        let Some(one) = one else {
            panic!("{policy} is not left alone: {:#}", self.report["data"])
        };
        one["why"].as_str().unwrap().to_owned()
    }
}

/// What people read, its lines joined.
fn printed(db: &Db, personas: &str, queries: &str, clone: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let workload = format!("version: 1\n{personas}queries:\n{queries}");
    std::fs::write(folder.path().join("w.yaml"), workload).unwrap();
    let arguments = [
        "propose",
        "--workload",
        "w.yaml",
        "--clone",
        clone,
        "--dry-run",
    ];
    let (code, out, err) = commands::dbtune(folder.path(), &db.url, &arguments);
    assert_eq!(code, 0, "{out}{err}");
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn lookups(proposal: &Value) -> Vec<&str> {
    let list = proposal["tried"]["lookups"].as_array().unwrap();
    list.iter().map(|l| l.as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_is_computed_for_one_row_is_left_out() {
    let db = database("earn_one_row", DEPOTS).await;
    // Nothing reads the table.
    let advice = Advice::of(
        &db,
        KEEPER,
        "  - { name: one, personas: [keeper], sql: select 1 }\n",
        "always",
    );
    assert!(advice.rewrite("goods_read").is_none());
    let why = advice.left("goods_read");
    assert!(why.contains("by key@keeper") && why.contains('→'), "{why}");
    // A look-up by key reads it.
    let key = "  - { name: one, personas: [keeper], sql: select * from goods where id = 77 }\n";
    assert!(
        Advice::of(&db, KEEPER, key, "always")
            .rewrite("goods_read")
            .is_none()
    );
    assert!(
        Advice::of(&db, KEEPER, key, "never")
            .rewrite("goods_read")
            .is_none()
    );
    // A list gains by it, and the look-up by key that the workload does not have would pay.
    let count = "  - { name: all, personas: [keeper], sql: select count(*) from goods }\n";
    let advice = Advice::of(&db, KEEPER, count, "always");
    assert!(advice.rewrite("goods_read").is_none());
    let why = advice.left("goods_read");
    assert!(
        why.contains("many times heavier") && why.contains("by key@keeper"),
        "{why}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_query_reads_is_tried_with_look_ups_made_up_for_it() {
    let db = database("earn_unread", DEPOTS).await;
    let other = "  - { name: one, personas: [clerk], sql: select 1 }\n";
    let advice = Advice::of(&db, CLERK, other, "always");
    let read = advice
        .rewrite("goods_read")
        .unwrap_or_else(|| panic!("{:#}", advice.report["data"]));
    assert_eq!(read["tried"]["queries"].as_array().unwrap().len(), 0);
    let tried = lookups(read);
    for wanted in ["by key@clerk", "first page@clerk", "whole table@clerk"] {
        assert!(tried.contains(&wanted), "{wanted}: {tried:?}");
    }
    let add = advice
        .rewrite("goods_add")
        .unwrap_or_else(|| panic!("{:#}", advice.report["data"]));
    assert!(
        lookups(add).contains(&"insert of many@clerk"),
        "{:?}",
        lookups(add)
    );
    // Nobody in the workload is asked by the third policy.
    let why = advice.left("notes_own");
    assert!(why.contains("no persona with role earn_other"), "{why}");
    let client = db.client().await;
    let count = client
        .query_one("select count(*) from goods", &[])
        .await
        .unwrap();
    assert_eq!(count.get::<_, i64>(0), 60000);
    drop(client);
    // Without a clone nothing was tried, so nothing that is not read is proposed.
    let advice = Advice::of(&db, CLERK, other, "never");
    assert!(advice.proposals().is_empty(), "{:#}", advice.report["data"]);
    assert!(advice.left("goods_read").contains("without a clone"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_workload_reads_says_by_which_queries_it_was_tried() {
    let db = database("earn_read", DEPOTS).await;
    let count = "  - { name: all, personas: [clerk], sql: select count(*) from goods }\n";
    let advice = Advice::of(&db, CLERK, count, "always");
    let read = advice.rewrite("goods_read").unwrap();
    assert_eq!(read["tried"]["queries"], serde_json::json!(["all@clerk"]));
    assert_eq!(read["basis"], "clone");
    let text = printed(&db, CLERK, count, "always");
    assert!(text.contains("(run on a clone: all@clerk;"), "{text}");
    assert!(
        text.contains("Left alone notes_own on public.notes:"),
        "{text}"
    );
    let text = printed(&db, CLERK, count, "never");
    assert!(
        text.contains("(by rule, not tried: read by all@clerk)"),
        "{text}"
    );
}

/// Papers of one heavy author: wrapped, the author's share is not known to the planner.
const PAPERS: &str = "
do $$ begin create role earn_app nologin; exception when duplicate_object then null; end $$;
create function me() returns int language sql stable as
$$ select nullif(current_setting('app.me', true), '')::int $$;
create table papers (id int primary key, author int not null, created_at timestamptz not null, body text not null);
insert into papers select i, case when i % 3 = 0 then 1 else i % 2000 end, timestamptz '2025-01-01' + i * interval '1 min',
  repeat('x', 90) from generate_series(1, 30000) i;
create index papers_author on papers (author);
create index papers_created on papers (created_at);
alter table papers enable row level security;
create policy papers_own on papers for select to earn_app using (author = me());
grant select on papers to earn_app;
vacuum analyze;
";

#[tokio::test(flavor = "multi_thread")]
async fn a_wrapped_call_that_hides_a_heavy_user_is_left_out() {
    let db = database("earn_heavy", PAPERS).await;
    let page = "  - { name: page, personas: [keeper], sql: select * from papers order by created_at desc limit 20 }\n";
    let advice = Advice::of(&db, KEEPER, page, "always");
    assert!(
        advice.rewrite("papers_own").is_none(),
        "{:#}",
        advice.report["data"]
    );
    assert!(!advice.left("papers_own").is_empty());
    // Beside a workload that does not read it, too.
    let advice = Advice::of(
        &db,
        KEEPER,
        "  - { name: one, personas: [keeper], sql: select 1 }\n",
        "always",
    );
    assert!(
        advice.rewrite("papers_own").is_none(),
        "{:#}",
        advice.report["data"]
    );
}

/// What is not to be read before its hour, and a switch of the session beside it.
const EMBARGO: &str = "
do $$ begin create role earn_app nologin; exception when duplicate_object then null; end $$;
create table issues (id bigint primary key, due timestamptz not null, title text not null);
insert into issues select i, now() - interval '20 days' + i * interval '1 min', 'issue ' || i from generate_series(1, 30000) i;
alter table issues enable row level security;
create policy coming on issues for select to earn_app using (due > now());
create policy switched_on on issues as restrictive for select to earn_app using (current_setting('app.on', true) = 'yes');
grant select on issues to earn_app;
vacuum analyze;
";

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_of_the_server_is_not_hidden_from_the_planner() {
    let db = database("earn_embargo", EMBARGO).await;
    let personas = "personas: { reader: { role: earn_app, settings: { app.on: 'yes' } } }\n";
    let queries = "  - { name: total, personas: [reader], sql: select count(*) from issues }
  - { name: page, personas: [reader], sql: select id from issues order by due limit 10 }\n";
    let advice = Advice::of(&db, personas, queries, "always");
    assert!(
        advice.rewrite("coming").is_none(),
        "{:#}",
        advice.report["data"]
    );
    let indexes = advice
        .proposals()
        .into_iter()
        .filter(|p| !p["bytes"].is_null());
    assert_eq!(indexes.count(), 1, "{:#}", advice.report["data"]);
}

/// Rooms by the roles that a login is a member of, and shelves by a helper that is told the user.
const ROLES: &str = "
do $$ declare i int; begin
  for i in 1..20 loop
    begin execute 'create role earn_team_' || i; exception when duplicate_object then null; end;
  end loop;
  begin create role earn_login; exception when duplicate_object then null; end;
end $$;
grant earn_team_3, earn_team_4 to earn_login;
create table rooms (id numeric primary key, team varchar(80) not null, name text not null);
insert into rooms select i, 'earn_team_' || (1 + i % 20), 'room ' || i from generate_series(1, 20000) i;
create index rooms_team_id on rooms (team, id);
alter table rooms enable row level security;
create policy rooms_of_team on rooms using (team in (select rolname from pg_roles where pg_has_role(current_user, oid, 'member')));
create table rights (who text not null, section text not null);
insert into rights select 'earn_login', 's' || d from generate_series(1, 3) d;
insert into rights select 'other' || (i % 200), 's' || (i % 300) from generate_series(1, 2000) i;
create table shelves (id int primary key, section text not null);
insert into shelves select i, 's' || (i % 300) from generate_series(1, 15000) i;
create index shelves_section on shelves (section);
create function may_see(section text, who text) returns boolean language sql stable as
$$ select exists (select 1 from rights r where r.section = $1 and r.who = $2) $$;
alter table shelves enable row level security;
create policy shelves_seen on shelves using (may_see(section, current_user::text));
grant select on rooms, shelves, rights to earn_login;
vacuum analyze;
";

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_is_no_lighter_is_left_out_and_one_that_is_stays() {
    let db = database("earn_roles", ROLES).await;
    let personas = "personas: { login: { role: earn_login } }\n";
    let queries = "  - { name: room, personas: [login], sql: select name from rooms where id = 62 }
  - { name: rooms, personas: [login], sql: select id from rooms order by id limit 30 }
  - { name: shelves, personas: [login], sql: select count(*) from shelves }\n";
    let advice = Advice::of(&db, personas, queries, "always");
    let cost = |query: &str, side: &str| -> f64 {
        let queries = advice.report["data"]["queries"].as_array().unwrap();
        let one = queries.iter().find(|q| q["query"] == query).unwrap();
        one[side].as_f64().unwrap()
    };
    assert!(cost("shelves@login", "cost_after") < cost("shelves@login", "cost_before") / 2.0);
    let shelves = advice.rewrite("shelves_seen").unwrap();
    assert_eq!(
        shelves["tried"]["queries"],
        serde_json::json!(["shelves@login"])
    );
    // Rewritten only where the team becomes an index condition, which cost alone does not tell.
    let faster = |query: &str| cost(query, "ms_after") < cost(query, "ms_before");
    let gained = faster("room@login") || faster("rooms@login");
    assert!(
        gained || advice.rewrite("rooms_of_team").is_none(),
        "{:#}",
        advice.report["data"]
    );
}
