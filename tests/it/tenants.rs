//! A small multi-tenant database: 20,000 items of 100 tenants behind one policy that no index serves.

use crate::server::{self, Db};
use dbtune::config::parse_workload;
use dbtune::db::{Defaults, Session, Target, resolve};
use dbtune::model::Workload;

const SETUP: &str = "
do $$ begin create role tenants_app nologin; exception when duplicate_object then null; end $$;
do $$ begin create role tenants_owner login createdb; exception when duplicate_object then null; end $$;
grant tenants_app to tenants_owner;
create type level as enum ('low', 'high');
create table items (id int primary key, tenant int not null, title text not null, level level not null, price float8);
insert into items select i, i % 100, 'item ' || i, (array['low','high'])[1 + i % 2]::level, i / 7.0
from generate_series(1, 20000) i;
create table notes (id int primary key, item int references items, tenant int not null, body text);
insert into notes select i, i, i % 100, 'note' from generate_series(1, 2000) i;
create function my_tenant() returns int stable language sql as
$$ select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'tenant')::int $$;
alter table items enable row level security;
alter table notes enable row level security;
create policy mine on items to tenants_app using (tenant = (select my_tenant()));
create policy mine on notes to tenants_app using (tenant = (select my_tenant()));
grant select, insert, update, delete on items, notes to tenants_app;
alter table items owner to tenants_owner;
alter table notes owner to tenants_owner;
analyze;
";

pub(crate) const WORKLOAD: &str = "
version: 1
seed: 5
personas:
  seven:
    role: tenants_app
    sample: select tenant from items order by id offset 6 limit 1
    claims: { sub: someone, tenant: '${tenant}' }
queries:
  - name: count
    personas: [seven]
    sql: select count(*) from items
  - name: find
    personas: [seven]
    sql: select * from items where id = $1 and level = $2
    params:
      - { type: int, sql: 'select id from items' }
      - { type: level, as: owner, sql: 'select distinct level from items' }
  - name: rename
    personas: [seven]
    write: true
    sql: update items set title = 'renamed' where id = $1
    params:
      - { type: int, sql: 'select id from items' }
";

/// A copy of the database, and a target for the role that owns it and may create databases.
pub(crate) async fn database(label: &str) -> (Db, Target) {
    let template = server::template("tenants", &[SETUP.to_owned()]).await;
    let db = server::fresh_from(label, template).await;
    let client = db.client().await;
    let sql = format!("alter database \"{}\" owner to tenants_owner", db.name);
    client.batch_execute(&sql).await.unwrap();
    let target = Target::resolve(
        Some(&db.url_as("tenants_owner")),
        &std::collections::BTreeMap::default(),
    )
    .unwrap();
    (db, target)
}

/// [`WORKLOAD`] as the data of `target` fills it.
pub(crate) async fn workload(target: &Target) -> Workload {
    let file = parse_workload("w.yaml", WORKLOAD).unwrap();
    let session = Session::connect(target, "test").await.unwrap();
    resolve(&session, &file, Defaults::default()).await.unwrap()
}
