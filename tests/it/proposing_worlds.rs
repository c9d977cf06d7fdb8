//! `dbtune propose` and small worlds: what they show is said, and what they cannot show is not proposed.

use crate::commands;
use crate::server;

const SETUP: &str = "
do $$ begin create role prop_app nologin; exception when duplicate_object then null; end $$;
do $$ begin create role prop_owner login createdb; exception when duplicate_object then null; end $$;
grant prop_app to prop_owner;
grant all on schema public to prop_owner;
set role prop_owner;
create function uid() returns int language sql stable as $$ select nullif(current_setting('app.uid', true), '')::int $$;
create table members (user_id int not null, org_id int not null, primary key (user_id, org_id));
insert into members select u, (u * 7 + n * 13) % 200 from generate_series(1, 300) u, generate_series(1, 3) n on conflict do nothing;
create function member(o int) returns boolean language sql stable security definer set search_path = '' as
$$ select exists (select 1 from public.members m where m.org_id = o and m.user_id = public.uid()) $$;
create function looked_up(t text) returns boolean language plpgsql stable as
$$ declare found_one boolean; begin execute format('select exists (select from %I where user_id = uid())', t) into found_one; return found_one; end $$;
create table items (id int primary key, org_id int not null, name text not null);
insert into items select i, i % 200, 'item ' || i from generate_series(1, 20000) i;
create table papers (id int primary key, org_id int not null, name text not null);
insert into papers select i, i % 200, 'paper ' || i from generate_series(1, 20000) i;
alter table items enable row level security; alter table papers enable row level security;
create policy items_read on items for select to prop_app using (member(org_id));
create policy papers_read on papers for select to prop_app using (looked_up('members') and org_id % 2 = 0);
grant select on members, items, papers to prop_app;
reset role;
analyze;
";

const WORKLOAD: &str = "
version: 1
personas:
  reader: { role: prop_app, settings: { app.uid: '3' } }
queries:
  - { name: items, personas: [reader], sql: select count(*) from items }
  - { name: papers, personas: [reader], sql: select count(*) from papers }
";

#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_that_small_worlds_cannot_follow_is_not_proposed() {
    let db = server::fresh("proposing_worlds").await;
    let client = db.client().await;
    client.batch_execute(SETUP).await.unwrap();
    let sql = format!("alter database \"{}\" owner to prop_owner", db.name);
    client.batch_execute(&sql).await.unwrap();
    drop(client);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("w.yaml"), WORKLOAD).unwrap();
    let url = db.url_as("prop_owner");
    let arguments = [
        "propose",
        "--workload",
        "w.yaml",
        "--clone",
        "always",
        "--format",
        "json",
    ];
    let (code, out, err) = commands::dbtune(folder.path(), &url, &arguments);
    assert_eq!(code, 0, "{out}{err}");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    let reasons = report["data"]["proposals"].to_string();
    assert!(
        reasons.contains("the same rows in ") && reasons.contains("small worlds"),
        "{reasons}"
    );
    assert!(!reasons.contains("papers_read"), "{reasons}");
    let gaps = report["gaps"].to_string();
    assert!(
        gaps.contains("policy papers_read on public.papers") && gaps.contains("public.looked_up"),
        "{gaps}"
    );
    let written = std::fs::read_dir(folder.path().join("migrations")).unwrap();
    let names: Vec<String> = written
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(
        names.iter().any(|n| n.contains("items_items_read")),
        "{names:?}"
    );
    assert!(
        !names.iter().any(|n| n.contains("papers_read")),
        "{names:?}"
    );
}
