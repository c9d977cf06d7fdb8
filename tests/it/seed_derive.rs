use crate::server::{environment, fresh};
use dbtune::db::{Session, Target};
use dbtune::seed::{Options, derive_from, run};

/// Every kind of key and type that a stranger's schema may have.
const STRANGER: &str = "
    create schema crm;
    create type crm.level as enum ('low', 'high');
    create domain crm.positive as integer;
    create table crm.tenants (id bigint generated always as identity primary key, code varchar(8) not null unique);
    create table crm.people (
        id serial primary key, tenant_id bigint not null references crm.tenants, email text not null unique,
        boss_id integer references crm.people, team_id integer, level crm.level not null, levels crm.level[] not null,
        numbers integer[] not null, share numeric(3, 2), amount crm.positive not null, born date not null,
        woken time, waited interval, network cidr, raw bytea, ratio real not null, flag boolean not null,
        shape point, search tsvector generated always as (to_tsvector('simple', email)) stored,
        unique (tenant_id, id)
    );
    create table crm.teams (
        id serial primary key, tenant_id bigint not null references crm.tenants, lead_id integer not null,
        foreign key (tenant_id, lead_id) references crm.people (tenant_id, id)
    );
    alter table crm.people add foreign key (team_id) references crm.teams;
    create table crm.memberships (
        person_id integer references crm.people, team_id integer references crm.teams,
        since timestamptz not null, primary key (person_id, team_id)
    );
    create table crm.badges (
        person_id integer not null references crm.people, level crm.level not null, unique (person_id, level)
    );
    create table crm.\"Order\" (id uuid primary key, person_id integer not null unique references crm.people,
        \"select\" jsonb not null check (\"select\" <> 'null'));
";

#[tokio::test]
async fn a_strangers_schema_is_filled_without_a_specification() {
    let db = fresh("stranger").await;
    let client = db.client().await;
    client.batch_execute(STRANGER).await.unwrap();
    let target = Target::resolve(Some(&db.url), &environment()).unwrap();
    let session = Session::connect(&target, "seed").await.unwrap();
    let derived = derive_from(&session, 2_000, 1).await.unwrap();
    run(
        &session,
        &derived.spec,
        Options::default(),
        &mut |_, _, _| {},
    )
    .await
    .unwrap_or_else(|e| panic!("{e}\n{derived:#?}"));

    for table in [
        "tenants",
        "people",
        "teams",
        "memberships",
        "badges",
        "\"Order\"",
    ] {
        let sql = format!("select count(*) from crm.{table}");
        assert!(
            client.query_one(&sql, &[]).await.unwrap().get::<_, i64>(0) > 1,
            "{table} is empty"
        );
    }
    // The next row takes a fresh number.
    client
        .batch_execute("insert into crm.tenants (code) values ('new')")
        .await
        .unwrap();

    let gaps: Vec<&str> = derived.gaps.iter().map(|gap| gap.what.as_str()).collect();
    for expected in [
        "crm.people.shape",
        "foreign key people_team_id_fkey of crm.people",
        "constraints of crm.Order: Order_select_check",
    ] {
        assert!(gaps.contains(&expected), "{expected} is not in {gaps:?}");
    }
    assert_eq!(gaps.len(), 3, "{gaps:?}");
}

#[tokio::test]
async fn an_empty_database_is_said_to_be_empty() {
    let db = fresh("empty").await;
    let target = Target::resolve(Some(&db.url), &environment()).unwrap();
    let session = Session::connect(&target, "seed").await.unwrap();
    let error = derive_from(&session, 10, 1).await.unwrap_err().to_string();
    assert_eq!(error, "the database has no table to fill");
}
