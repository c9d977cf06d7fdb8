//! Sessions found in policies and data.

use crate::seed::session_at;
use crate::seed_clinic::{clinic, clinic_spec, repository};
use crate::server::{Db, fresh, server};
use dbtune::db::{Limits, Session, read_catalog};
use dbtune::model::{Catalog, Persona};
use dbtune::seed::{Options, run};
use dbtune::verify::identity::{Found, Identity, Kind, find};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

pub(crate) async fn found(session: &Session, most: usize) -> (Catalog, Found) {
    let catalog = read_catalog(session).await.unwrap();
    let found = find(session, (&catalog, &catalog), &[], most)
        .await
        .unwrap();
    (catalog, found)
}

/// Rows of `table` that `persona` sees, on a connection of its own; `None` where the server refuses.
pub(crate) async fn sees(db: &Db, user: &str, persona: &Persona, table: &str) -> Option<i64> {
    let session = session_at(&db.url_as(user)).await;
    let limits = Limits {
        statement: Duration::from_secs(5),
        ..Limits::default()
    };
    session.begin_as(persona, true, limits).await.unwrap();
    let sql = format!("select count(*)::text from {table}");
    let counted = session.texts("count", &sql).await;
    session.end().await.unwrap();
    counted.ok().map(|texts| texts.concat().parse().unwrap())
}

fn of_kind(found: &Found, kind: Kind) -> &Identity {
    let one = found.identities.iter().find(|i| i.kind == kind);
    one.unwrap_or_else(|| panic!("no {kind:?} in {:?}", names(found)))
}

fn names(found: &Found) -> Vec<&str> {
    let names = found.identities.iter();
    names.map(|i| i.persona.name.as_str()).collect()
}

fn named<'a>(found: &'a Found, name: &str) -> &'a Identity {
    let one = found.identities.iter().find(|i| i.persona.name == name);
    one.unwrap_or_else(|| panic!("no {name} in {:?}", names(found)))
}

/// Names are unique, nothing that is shown holds a value of a row, and another look finds the same.
async fn sound(session: &Session, catalog: &Catalog, found: &Found) {
    let all = names(found);
    let unique: BTreeSet<_> = all.iter().collect();
    assert_eq!(unique.len(), all.len(), "{all:?}");
    let again = find(session, (catalog, catalog), &[], found.identities.len());
    assert_eq!(again.await.unwrap().identities, found.identities);
    for identity in &found.identities {
        let shown = format!("{identity:?}");
        let values = identity.persona.settings.values();
        let documents = values.filter_map(|v| serde_json::from_str(v).ok());
        for document in documents {
            let serde_json::Value::Object(fields) = document else {
                continue;
            };
            let texts = fields.values().filter_map(|v| v.as_str());
            for text in texts.filter(|t| t.len() > 20) {
                assert!(!shown.contains(text), "{}", identity.persona.name);
            }
        }
    }
}

#[tokio::test]
async fn the_clinic_has_people_of_every_kind() {
    let (db, session) = clinic("people").await;
    let options = Options {
        scale: 0.02,
        ..Options::default()
    };
    run(&session, &clinic_spec(), options, &mut |_, _, _| {})
        .await
        .unwrap();
    let mut files: Vec<_> = std::fs::read_dir(repository("policies/naive"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    for file in files {
        let text = std::fs::read_to_string(file).unwrap();
        session.execute("make the policies", &text).await.unwrap();
    }
    session.execute("analyse", "analyze").await.unwrap();
    let catalog = read_catalog(&session).await.unwrap();
    let start = Instant::now();
    let people = find(&session, (&catalog, &catalog), &[], 80).await.unwrap();
    let took = start.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    sound(&session, &catalog, &people).await;
    for kind in [
        Kind::NoClaims,
        Kind::Stranger,
        Kind::Smallest,
        Kind::Median,
        Kind::Biggest,
        Kind::Flagged,
        Kind::FrequentOwner,
        Kind::Owner,
        Kind::RoleClaim,
        Kind::EmptyClaims,
        Kind::EmptyObject,
        Kind::Malformed,
        Kind::OtherRole,
    ] {
        of_kind(&people, kind);
    }
    assert!(
        people
            .identities
            .iter()
            .all(|i| i.persona.role != "service_role"),
        "no policy binds it"
    );
    // Each role that bodies ask for has somebody, and so have those who are gone.
    for what in [
        "all where role = 'admin'",
        "all where role = 'manager'",
        "all where role = 'pharmacist'",
        "rows of users, none where deleted_at is null",
    ] {
        let shown = people.identities.iter().any(|i| i.about.contains(what));
        assert!(shown, "{what}");
    }
    let rows = async |name: &str, table: &str| {
        let identity = named(&people, name);
        sees(&db, "clinic_owner", &identity.persona, table).await
    };
    let biggest = rows("authenticated_biggest", "inventory_items").await;
    let smallest = rows("authenticated_smallest", "inventory_items").await;
    assert!(
        biggest > smallest && smallest > Some(0),
        "{biggest:?} {smallest:?}"
    );
    for table in ["inventory_items", "user_locations", "patients", "eos_todos"] {
        assert_eq!(
            rows("authenticated_stranger", table).await,
            Some(0),
            "{table}"
        );
        assert_eq!(
            rows("authenticated_no_claims", table).await,
            Some(0),
            "{table}"
        );
    }
    let all = rows("authenticated_app_role_admin_stranger", "patients").await;
    assert!(
        all > rows("authenticated_biggest", "patients").await,
        "{all:?}"
    );
    assert!(rows("anon_biggest_kiosk_id", "checkin_kiosks").await == Some(1));
    assert_eq!(
        rows("anon_stranger_kiosk_id", "checkin_kiosks").await,
        Some(0)
    );
    // What an owner sees is bound by no policy here: the tables are not forced.
    assert!(rows("clinic_owner_no_claims", "patients").await >= all);
}

const FORCED: &str = "
do $$ begin create role forced_owner login createdb; exception when duplicate_object then null; end $$;
do $$ begin create role forced_app nologin; exception when duplicate_object then null; end $$;
do $$ begin create role forced_far nologin; exception when duplicate_object then null; end $$;
grant forced_app to forced_owner;
create table tenant (id int primary key, active boolean not null);
create table member (user_id uuid, tenant_id int references tenant, until timestamptz, primary key (user_id, tenant_id));
create table doc (id int primary key, tenant_id int not null references tenant, body text);
insert into tenant select i, i <> 3 from generate_series(1, 5) i;
insert into member select md5(i::text)::uuid, 1 + i % 4, case when i % 7 = 0 then now() - interval '1 day' end from generate_series(1, 40) i;
insert into member select md5('7')::uuid, 5, null;
insert into doc select i, case when i <= 50 then 1 else 2 + i % 4 end, 'b' from generate_series(1, 100) i;
create function me() returns uuid stable language sql as $$ select nullif(current_setting('app.user_id', true), '')::uuid $$;
create policy mine on doc to forced_app using (exists (select 1 from member m where m.tenant_id = doc.tenant_id and m.user_id = me()
  and (m.until is null or m.until > now())) or current_setting('app.bypass_rls', true) = 'on');
create policy own on member to forced_app, forced_far using (user_id = me());
alter table doc enable row level security; alter table doc force row level security;
alter table member enable row level security; alter table member force row level security;
grant select on doc, member to forced_app, forced_far;
alter table tenant owner to forced_owner; alter table doc owner to forced_owner; alter table member owner to forced_owner;
analyze;
";

#[tokio::test]
async fn an_owner_under_force_finds_them_and_leaves_no_trace() {
    let db = fresh("forced").await;
    db.client().await.batch_execute(FORCED).await.unwrap();
    let session = session_at(&db.url_as("forced_owner")).await;
    let (catalog, people) = found(&session, 60).await;
    sound(&session, &catalog, &people).await;
    for (kind, some) in [
        (Kind::Biggest, true),
        (Kind::TwoMemberships, true),
        (Kind::OneMembership, true),
        (Kind::Stranger, false),
        (Kind::NoClaims, false),
        (Kind::EmptyClaims, false),
        (Kind::Owner, false),
    ] {
        let identity = of_kind(&people, kind);
        let rows = sees(&db, "forced_owner", &identity.persona, "doc").await;
        assert_eq!(rows > Some(0), some, "{kind:?} {rows:?}");
    }
    let expired = "rows of member, all where until in the future";
    let lasting = "rows of member, none where until in the future";
    assert!(
        people.identities.iter().any(|i| i.about.contains(lasting)),
        "not {expired}"
    );
    assert!(
        people
            .identities
            .iter()
            .all(|i| !i.persona.settings.contains_key("app.bypass_rls")),
        "never with the bypass on"
    );
    let gap = |what: &str| people.gaps.iter().find(|g| g.what == what);
    assert!(gap("setting app.bypass_rls").is_some(), "{:?}", people.gaps);
    let far = gap("role forced_far").and_then(|g| g.remedy.as_deref());
    assert!(
        far.is_some_and(|sql| sql.starts_with("grant forced_far to forced_owner")),
        "{far:?}"
    );
    assert!(
        people
            .identities
            .iter()
            .all(|i| i.persona.role != "forced_far")
    );
    let sql = "select bool_and(relforcerowsecurity)::text from pg_class where relname in ('doc', 'member')";
    assert_eq!(session.texts("look", sql).await.unwrap(), ["true"]);
}

#[tokio::test]
async fn who_is_no_owner_is_told_what_is_hidden() {
    let db = fresh("hidden").await;
    let client = db.client().await;
    client.batch_execute(FORCED).await.unwrap();
    let more = "do $$ begin create role hidden_login login; exception when duplicate_object then null; end $$;
        grant forced_app to hidden_login; grant select on doc to hidden_login;";
    client.batch_execute(more).await.unwrap();
    let session = session_at(&db.url_as("hidden_login")).await;
    let (_, people) = found(&session, 60).await;
    let why = |table: &str| {
        let gap = people.gaps.iter().find(|g| g.what == table);
        gap.map(|g| g.why.clone()).unwrap_or_default()
    };
    assert!(
        why("public.doc").contains("is not its owner"),
        "{:?}",
        people.gaps
    );
    let member = people
        .gaps
        .iter()
        .find(|g| g.what == "public.member" || g.remedy.is_some());
    assert!(member.is_some(), "{:?}", people.gaps);
    assert!(names(&people).contains(&"forced_app_no_claims"));
}

#[tokio::test]
async fn lists_few_users_and_constants() {
    let db = fresh("lists").await;
    let setup = "
        do $$ begin create role lists_app nologin; exception when duplicate_object then null; end $$;
        create table board (id int primary key, team int not null);
        create table note (id int primary key, owner text not null);
        create table news (id int primary key);
        insert into board select i, i % 30 from generate_series(1, 300) i;
        insert into note select i, 'user ' || i % 3 from generate_series(1, 30) i;
        insert into news values (1);
        create policy teams on board to lists_app using ((current_setting('app.claims', true)::jsonb -> 'teams') @> to_jsonb(team));
        create policy own on note to lists_app using (owner = current_setting('app.claims', true)::jsonb ->> 'name');
        create policy kinds on news as permissive to lists_app using (true);
        create policy highest on news as restrictive to lists_app using (current_setting('app.claims', true)::jsonb ->> 'level' = 'high');
        alter table board enable row level security; alter table note enable row level security; alter table news enable row level security;
        grant select on board, note, news to lists_app;
        analyze;";
    db.client().await.batch_execute(setup).await.unwrap();
    let session = session_at(&db.url).await;
    let (catalog, people) = found(&session, 80).await;
    sound(&session, &catalog, &people).await;
    let user = server().superuser();
    let mut counts: Vec<(Option<i64>, Option<i64>, Option<i64>)> = Vec::new();
    for identity in &people.identities {
        let persona = &identity.persona;
        counts.push((
            sees(&db, user, persona, "board").await,
            sees(&db, user, persona, "note").await,
            sees(&db, user, persona, "news").await,
        ));
    }
    for boards in [0, 10, 20] {
        assert!(
            counts.iter().any(|c| c.0 == Some(boards)),
            "{boards}: {counts:?}"
        );
    }
    for notes in [0, 10] {
        assert!(
            counts.iter().any(|c| c.1 == Some(notes)),
            "{notes}: {counts:?}"
        );
    }
    for news in [0, 1] {
        assert!(
            counts.iter().any(|c| c.2 == Some(news)),
            "{news}: {counts:?}"
        );
    }
    let owners: BTreeSet<&str> = people
        .identities
        .iter()
        .filter_map(|i| i.persona.settings.get("app.claims"))
        .filter_map(|text| text.split("user ").nth(1)?.get(..1))
        .collect();
    assert_eq!(owners.len(), 3, "few users: everyone");
}

#[tokio::test]
async fn roles_that_rows_name_and_people_by_way_of_a_profile() {
    let db = fresh("profiles").await;
    let setup = "
        do $$ begin create role profiles_ann nologin; exception when duplicate_object then null; end $$;
        do $$ begin create role profiles_bob nologin; exception when duplicate_object then null; end $$;
        create table right_of (username name, dep int);
        create table item (id int primary key, dep int);
        insert into right_of values ('profiles_ann', 1), ('nobody', 2);
        insert into item select i, i % 3 from generate_series(1, 30) i;
        create function may(d int, u name) returns boolean stable language sql as
          $$ select exists (select 1 from right_of r where r.dep = d and r.username = u) $$;
        create policy by_name on item using (may(dep, current_user));
        alter table item enable row level security;
        grant select on item, right_of to profiles_ann, profiles_bob;
        create table profile (id int primary key, auth_id uuid unique, blocked boolean not null);
        create table seat (profile_id int, club int);
        create table event (id int primary key, club int not null);
        insert into profile select i, md5(i::text)::uuid, i % 5 = 0 from generate_series(1, 100) i;
        insert into seat select i, i % 9 from generate_series(1, 90) i;
        insert into seat select i, 3 from generate_series(1, 90, 10) i;
        insert into event select i, i % 9 from generate_series(1, 200) i;
        create policy clubs on event to profiles_ann using (club in (select s.club from seat s
          where s.profile_id = (select p.id from profile p where p.auth_id = current_setting('app.uid', true)::uuid and not p.blocked)));
        alter table event enable row level security;
        grant select on event, seat, profile to profiles_ann, profiles_bob;
        analyze;";
    db.client().await.batch_execute(setup).await.unwrap();
    let session = session_at(&db.url).await;
    let (catalog, people) = found(&session, 60).await;
    sound(&session, &catalog, &people).await;
    let user = server().superuser();
    for (name, table, some) in [
        ("profiles_ann_no_claims", "item", true),
        ("profiles_bob_no_claims", "item", false),
        ("profiles_ann_biggest", "event", true),
        ("profiles_ann_no_membership", "event", false),
        ("profiles_ann_two_memberships", "event", true),
        ("profiles_bob_biggest", "event", false),
    ] {
        let persona = &named(&people, name).persona;
        let rows = sees(&db, user, persona, table).await;
        assert_eq!(rows > Some(0), some, "{name} {table} {rows:?}");
    }
    for what in ["all where blocked", "none where blocked"] {
        assert!(
            people.identities.iter().any(|i| i.about.contains(what)),
            "{what}"
        );
    }
}
