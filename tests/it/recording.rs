//! `dbtune bench record` on a real server: what it writes is read and run by `dbtune bench`.

use crate::commands::dbtune;
use crate::server::{self, Db};

/// A membership table, an access function once a row, and orders of 50 shops of very different sizes.
pub(crate) const SHOP: &str = "
do $$ begin create role rec_app nologin; exception when duplicate_object then null; end $$;
do $$ begin create role rec_public nologin; exception when duplicate_object then null; end $$;
do $$ begin create role rec_owner login createdb; exception when duplicate_object then null; end $$;
grant rec_app, rec_public, pg_read_all_stats to rec_owner;
grant all on schema public to rec_owner;
create extension if not exists pg_stat_statements;
set role rec_owner;
create function uid() returns uuid language sql stable as
$$ select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid $$;
create type state as enum ('open', 'paid', 'sent');
create table staff (user_id uuid not null, shop_id int not null, primary key (user_id, shop_id));
insert into staff select md5('user' || u)::uuid, u % 50 from generate_series(1, 200) u;
create table orders (id uuid primary key default gen_random_uuid(), shop_id int not null, state state not null,
  buyer text not null, total numeric not null, made timestamptz not null);
insert into orders select md5('order' || i)::uuid, (power(i % 997, 2) / 20000)::int % 50, (array['open','paid','sent'])[1 + i % 3]::state,
  'Secret Buyer ' || i, i % 77, timestamptz '2025-01-01' + i * interval '1 minute' from generate_series(1, 2500) i;
create index on orders (shop_id);
create table notices (id int primary key, title text not null, shown boolean not null);
insert into notices select i, 'Notice ' || i, i % 2 = 0 from generate_series(1, 100) i;
create function can_see(shop int) returns boolean language sql stable security definer set search_path = '' as
$$ select exists (select 1 from public.staff s where s.shop_id = shop and s.user_id = public.uid()) $$;
alter table orders enable row level security;
alter table notices enable row level security;
create policy orders_all on orders to rec_app using (can_see(shop_id)) with check (can_see(shop_id));
create policy notices_all on notices for select to rec_public using (shown);
grant select, insert, update, delete on orders to rec_app;
grant select on notices to rec_public;
reset role;
analyze;
";

pub(crate) async fn shop(label: &str) -> Db {
    let template = server::template("recording", &[SHOP.to_owned()]).await;
    let db = server::fresh_from(label, template).await;
    let sql = format!("alter database \"{}\" owner to rec_owner", db.name);
    db.client().await.batch_execute(&sql).await.unwrap();
    db
}

/// What an API would send, as the member of staff whose shop has many orders.
async fn traffic(db: &Db) {
    let client = db.client().await;
    let who = "select set_config('request.jwt.claims', json_build_object('sub', md5('user9')::uuid)::text, true)";
    for _ in 0..3 {
        for sql in [
            "select * from orders where state = 'open' and total > 5 order by made desc limit 20 offset 0",
            "select id, buyer from orders where buyer ilike '%Buyer 9%' and made between '2025-01-02' and '2025-01-09'",
            "select count(*), 1 from orders where state in ('open', 'paid') and made > now() - interval '30 days'",
            "select o.* from orders o where lower(o.buyer) = 'secret buyer 58' and o.shop_id = 9 -- a remark",
            "update orders set state = 'sent', total = 3 where buyer = 'nobody'",
            "insert into orders (id, shop_id, state, buyer, total, made) select gen_random_uuid(), 9, 'open', 'Secret Name', 1, now() where false",
            "select * from orders where to_tsvector(buyer) @@ to_tsquery('secret')",
        ] {
            client
                .batch_execute(&format!(
                    "begin; {who}; set local role rec_app; {sql}; rollback"
                ))
                .await
                .unwrap();
        }
        let sql =
            "begin; set local role rec_public; select title from notices where id = 4; rollback";
        client.batch_execute(sql).await.unwrap();
    }
    client
        .batch_execute("select count(*) from orders where total > 3")
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_counted_is_run_again() {
    let db = shop("record").await;
    traffic(&db).await;
    let folder = tempfile::tempdir().unwrap();
    let url = db.url_as("rec_owner");
    let (code, out, err) = dbtune(folder.path(), &url, &["bench", "record", "-o", "w.yaml"]);
    assert_eq!(code, 0, "{out}{err}");
    let text = std::fs::read_to_string(folder.path().join("w.yaml")).unwrap();
    for value in ["Secret", "2025-01-0", "nobody", "58"] {
        assert!(!text.contains(value), "{value} is a row value:\n{text}");
    }
    let file =
        dbtune::config::parse_workload("w.yaml", &text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let personas: Vec<_> = file.personas.keys().map(String::as_str).collect();
    assert_eq!(
        personas,
        [
            "rec_app_biggest",
            "rec_app_median",
            "rec_app_small",
            "rec_public"
        ],
        "{text}"
    );
    let sample = file.personas["rec_app_biggest"].sample.as_deref().unwrap();
    assert!(
        sample.contains("staff") && sample.contains("orders"),
        "{sample}"
    );
    assert_eq!(file.queries.len(), 7, "{text}\n{out}");
    assert_eq!(file.queries.iter().filter(|q| q.write).count(), 2, "{text}");
    assert!(
        text.contains("# Left out:") && text.contains("to_tsquery"),
        "{text}"
    );
    assert!(out.contains("nothing says which values"), "{out}");

    std::fs::create_dir(folder.path().join("migrations")).unwrap();
    let bench = [
        "bench",
        "--before",
        "--after",
        "--workload",
        "w.yaml",
        "--duration",
        "2s",
        "--draws",
        "3",
        "--no-gate",
        "--format",
        "json",
    ];
    let (code, out, err) = dbtune(folder.path(), &url, &bench);
    assert_eq!(code, 0, "{out}{err}\n{text}");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    let compared = report["data"]["comparisons"].as_array().unwrap();
    assert_eq!(compared.len(), 19, "{out}");
    let failed: Vec<_> = report["gaps"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|g| g["why"].as_str().unwrap().contains("fails"))
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_recorded_without_its_values() {
    let db = shop("record_log").await;
    let folder = tempfile::tempdir().unwrap();
    let url = db.url_as("rec_owner");
    let line = |message: &str, detail: &str| {
        let json = serde_json::json!({ "dbname": db.name, "session_id": "s", "message": message, "detail": detail });
        format!("{json}\n")
    };
    let log = line("duration: 1 ms  statement: set role rec_app", "")
        + &line(
            "duration: 7.5 ms  execute <unnamed>: select * from orders where buyer = $1 and state = $2",
            "parameters: $1 = 'Secret Buyer 7', $2 = 'open'",
        )
        + &line(
            "duration: 2.5 ms  statement: select * from orders where total > 76",
            "",
        );
    std::fs::write(folder.path().join("log.json"), log).unwrap();
    let record = ["bench", "record", "--log", "log.json", "-o", "w.yaml"];
    let (code, out, err) = dbtune(folder.path(), &url, &record);
    assert_eq!(code, 0, "{out}{err}");
    let text = std::fs::read_to_string(folder.path().join("w.yaml")).unwrap();
    assert!(!text.contains("Secret") && !text.contains("76"), "{text}");
    let file = dbtune::config::parse_workload("w.yaml", &text).unwrap();
    assert_eq!(file.queries.len(), 2, "{text}");
    let (code, _, err) = dbtune(
        folder.path(),
        &url,
        &[&record[..], &["--keep-values"]].concat(),
    );
    assert_eq!(code, 0, "{err}");
    let text = std::fs::read_to_string(folder.path().join("w.yaml")).unwrap();
    assert!(
        text.contains("Secret Buyer 7") && text.contains("It holds values of rows"),
        "{text}"
    );

    let nobody = ["bench", "record", "--log", "nothing.json", "-o", "w.yaml"];
    assert_eq!(dbtune(folder.path(), &url, &nobody).0, 2);
}
