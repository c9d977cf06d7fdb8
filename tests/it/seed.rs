use crate::server::{Db, environment, fresh_from, template};
use dbtune::db::{Session, Target};
use dbtune::seed::{Error, Existing, Options, Plan, Spec, run};

const SHOP: &str = "
    create type size as enum ('small', 'large');
    create table shops (id uuid primary key, name text not null unique);
    create table staff (
        shop_id uuid not null references shops, person integer not null, is_head boolean not null,
        primary key (shop_id, person)
    );
    create table goods (
        id uuid primary key, shop_id uuid not null references shops, label text not null, size size not null,
        price numeric(8, 2) not null check (price > 0), stock integer, tags text[] not null,
        facts jsonb not null, seen inet, since timestamptz not null, gone timestamptz check (gone > since),
        upper_label text generated always as (upper(label)) stored
    );
    create table sales (
        id uuid primary key, goods_id uuid not null references goods, shop_id uuid not null references shops
    );
";

const SHOP_SPEC: &str = "
version: 1
seed: 7
tables:
  - table: sales
    rows: 2000
    columns:
      id: {uuid: {}}
      goods_id: {ref: {table: goods}}
      shop_id: {copy: {from: goods_id, column: shop_id}}
  - table: goods
    rows: 1000
    columns:
      id: {uuid: {}}
      shop_id: {ref: {table: shops, skew: 100}}
      label: {text: '{word} {row:4}'}
      size: {choice: {small: 3, large: 1}}
      price: {decimal: {from: 0.01, to: 123456.78}}
      stock: {int: [-5, 5], null_fraction: 0.5}
      tags: {array: {of: word, count: [0, 3]}}
      facts: {json: {made: '{city}', weight: {$int: [1, 9]}}}
      seen: {inet: {}}
      since: {timestamp: {from: 2025-01-01, to: 2025-02-01, rising: true}}
      gone: {after: {column: since, seconds: [1, 60]}, only_when: {column: size, is: [large]}}
  - table: shops
    rows: 20
    fixed: true
    columns:
      id: {uuid: {}}
      name: {text: '{city} {row}'}
  - table: staff
    rows: 60
    columns:
      shop_id: {ref: {table: shops, each: true}}
      person: {nth: 1}
      is_head: {turn: ['true', 'false']}
";

async fn shop(label: &str) -> (Db, Session) {
    let db = fresh_from(label, template("shop", &[SHOP.to_owned()]).await).await;
    let session = session_at(&db.url).await;
    (db, session)
}

pub(crate) async fn session_at(url: &str) -> Session {
    let target = Target::resolve(Some(url), &environment()).unwrap();
    Session::connect(&target, "seed").await.unwrap()
}

fn spec(text: &str) -> Spec {
    Spec::parse(text, "spec.yaml").unwrap()
}

pub(crate) async fn number(db: &Db, sql: &str) -> i64 {
    db.client()
        .await
        .query_one(sql, &[])
        .await
        .unwrap_or_else(|e| panic!("{sql}: {e:?}"))
        .get(0)
}

/// One digest of every row of every table.
pub(crate) async fn digest(db: &Db, tables: &[&str]) -> Vec<String> {
    let client = db.client().await;
    let mut digests = Vec::new();
    for table in tables {
        let sql = format!(
            "select coalesce(md5(string_agg(t::text, '|' order by t::text)), '') from {table} t"
        );
        digests.push(client.query_one(&sql, &[]).await.unwrap().get(0));
    }
    digests
}

const TABLES: &[&str] = &["shops", "goods", "sales", "staff"];

#[tokio::test]
async fn fills_every_type_in_the_order_of_foreign_keys() {
    let (db, session) = shop("fills").await;
    let mut seen = Vec::new();
    let summary = run(
        &session,
        &spec(SHOP_SPEC),
        Options::default(),
        &mut |table, done, total| {
            seen.push((table.to_string(), done, total));
        },
    )
    .await
    .unwrap();
    assert_eq!(summary.rows, 3_080);
    assert_eq!(
        seen.last().map(|(_, done, total)| done == total),
        Some(true)
    );
    assert_eq!(number(&db, "select count(*) from goods").await, 1_000);
    // Before 15 the server shows statistics up to half a second late.
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    for (wrong, sql) in [
        (
            "a copied column differs",
            "select count(*) from sales s join goods g on g.id = s.goods_id where g.shop_id <> s.shop_id",
        ),
        (
            "no null where half should be",
            "select (count(*) filter (where stock is null) not between 400 and 600)::int::int8 from goods",
        ),
        (
            "only_when is not kept",
            "select count(*) from goods where (gone is null) <> (size = 'small')",
        ),
        (
            "more than one head",
            "select count(*) from (select from staff where is_head group by shop_id having count(*) <> 2) s",
        ),
        (
            "rows do not rise",
            "select count(*) from (select since < lag(since) over (order by label) as back from (select since, right(label, 4) as label from goods) g) s where back",
        ),
        (
            "a price has other digits",
            "select (max(price) not between 120000 and 123456.78 or min(scale(price)) <> 2)::int::int8 from goods",
        ),
        (
            "json is wrong",
            "select count(*) from goods where (facts ->> 'weight')::int not between 1 and 9",
        ),
        (
            "an address is outside 10/8",
            "select count(*) from goods where not seen << '10.0.0.0/8'",
        ),
        (
            // Whether pages are all-visible depends on transactions of other tests, in other databases too.
            "not vacuumed",
            "select count(*) from pg_class where relname in ('shops', 'goods', 'sales', 'staff') and pg_stat_get_last_vacuum_time(oid) is null",
        ),
        (
            "not analysed",
            "select count(*) from pg_class where relname in ('shops', 'goods') and reltuples not in (20, 1000)",
        ),
    ] {
        assert_eq!(number(&db, sql).await, 0, "{wrong}");
    }
}

#[tokio::test]
async fn the_same_seed_gives_the_same_rows_and_another_gives_others() {
    let mut digests = Vec::new();
    let (_, more) = SHOP_SPEC.split_once("  - table: goods").unwrap();
    for text in [
        SHOP_SPEC.to_owned(),
        SHOP_SPEC.to_owned(),
        SHOP_SPEC.replace("seed: 7", "seed: 8"),
        format!("version: 1\nseed: 7\ntables:\n  - table: goods{more}"),
    ] {
        let (db, session) = shop("same").await;
        run(
            &session,
            &spec(&text),
            Options::default(),
            &mut |_, _, _| {},
        )
        .await
        .unwrap();
        digests.push(digest(&db, TABLES).await);
    }
    assert_eq!(digests[0], digests[1]);
    for table in 0..TABLES.len() {
        assert!(digests[0][table] != digests[2][table] || TABLES[table] == "staff");
    }
    assert_ne!(digests[0][2], digests[3][2], "sales are left out");
    for table in [0, 1, 3] {
        assert_eq!(
            digests[0][table], digests[3][table],
            "a table left out changes no other"
        );
    }
}

#[tokio::test]
async fn a_table_with_rows_is_refused_emptied_or_grown() {
    let (db, session) = shop("existing").await;
    let spec = spec(SHOP_SPEC);
    let options = |existing, scale| Options {
        existing,
        scale,
        ..Options::default()
    };
    let quiet = &mut |_: &dbtune::model::Name, _, _| {};
    run(&session, &spec, options(Existing::Refuse, 1.0), quiet)
        .await
        .unwrap();
    let first = digest(&db, TABLES).await;

    let error = run(&session, &spec, options(Existing::Refuse, 1.0), quiet)
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("public.sales holds 2000 rows already"),
        "{error}"
    );

    db.client()
        .await
        .batch_execute("delete from sales")
        .await
        .unwrap();
    let summary = run(&session, &spec, options(Existing::Append, 1.0), quiet)
        .await
        .unwrap();
    assert_eq!(summary.rows, 2_000, "only what was missing");
    assert_eq!(digest(&db, TABLES).await, first);

    let summary = run(&session, &spec, options(Existing::Append, 2.0), quiet)
        .await
        .unwrap();
    assert_eq!(summary.rows, 3_060, "the second half");

    run(&session, &spec, options(Existing::Truncate, 1.0), quiet)
        .await
        .unwrap();
    assert_eq!(digest(&db, TABLES).await, first);
}

#[tokio::test]
async fn what_does_not_fit_the_database_is_named_before_a_row_is_written() {
    let (db, session) = shop("misfit").await;
    for (from, to, message) in [
        (
            "table: sales",
            "table: sale",
            "public.sale, which the database does not have; is it `public.sales`?",
        ),
        (
            "{table: goods}",
            "{table: good}",
            "public.good, which its list of tables does not have; is it `public.goods`?",
        ),
        (
            "stock:",
            "stok:",
            "the column public.goods.stok, which does not exist; is it `stock`?",
        ),
        (
            "label: {text: '{word} {row:4}'}",
            "upper_label: {text: x}",
            "public.goods.upper_label: the server generates this column",
        ),
        (
            "      tags: {array: {of: word, count: [0, 3]}}\n",
            "",
            "public.goods.tags: is NOT NULL without a default",
        ),
        ("{word} {row:4}", "{wrd}", "`{wrd}` is neither a word list"),
        (
            "of: word",
            "of: wrd",
            "public.goods.tags: the word list `wrd`",
        ),
        (
            "{copy: {from: goods_id, column: shop_id}}",
            "{copy: {from: goods_id, column: shop}}",
            "public.goods.shop: is referred to, but has no generator",
        ),
        (
            "shop_id: {ref: {table: shops, skew: 100}}",
            "shop_id: {copy: {from: shop_id, column: id}}",
            "public.goods.shop_id: has to refer to a row",
        ),
        (
            "column: size, is",
            "column: gone, is",
            "public.goods.gone: its value depends on itself",
        ),
        (
            "stock: {int: [-5, 5]",
            "stock: {text: x",
            "column \"stock\" is int4, and the generator yields text",
        ),
        (
            "{small: 3,",
            "{tiny: 3,",
            "column \"size\" is size, and the generator yields a label it does not have (it has small, large)",
        ),
        (
            "price: {decimal: {from: 0.01, to: 123456.78",
            "price: {decimal: {from: -9, to: -1",
            "check violation on \"goods_price_check\" [SQLSTATE 23514]",
        ),
    ] {
        assert!(SHOP_SPEC.contains(from), "{from}");
        let text = SHOP_SPEC.replace(from, to);
        let error = match run(
            &session,
            &spec(&text),
            Options::default(),
            &mut |_, _, _| {},
        )
        .await
        {
            Ok(_) => panic!("{to} was taken"),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(message), "{to}: {error}");
        db.client()
            .await
            .batch_execute("truncate shops cascade")
            .await
            .unwrap();
    }
}

#[test]
fn broken_yaml_is_shown_with_its_place() {
    for (from, to, place, message) in [
        ("rows: 2000", "rows: many", "spec.yaml:6:11", "many"),
        ("rows: 2000", "rose: 2000", "spec.yaml:6:5", "rose"),
        (
            "{int: [-5, 5], ",
            "{",
            "spec.yaml:19:",
            "a column needs one of uuid, ref",
        ),
        (
            "{int: [-5, 5], ",
            "{int: [5, -5], ",
            "spec.yaml:19:",
            "FROM <= TO",
        ),
        (
            "{int: [-5, 5], ",
            "{int: [-5, 5], bool: 0.5, ",
            "spec.yaml:19:",
            "only one of",
        ),
        ("{table: goods}", "{table: goods", "spec.yaml:", ""),
        (
            "version: 1",
            "version: 2",
            "spec.yaml: version 2",
            "reads version 1",
        ),
    ] {
        assert!(SHOP_SPEC.contains(from), "{from}");
        let error = Spec::parse(&SHOP_SPEC.replace(from, to), "spec.yaml")
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with(place) && error.contains(message),
            "{to}: {error}"
        );
    }
}

#[test]
fn tables_in_a_circle_are_named() {
    let text = "
version: 1
tables:
  - {table: a, rows: 1, columns: {id: {uuid: {}}, b: {ref: {table: b}}}}
  - {table: b, rows: 1, columns: {id: {uuid: {}}, a: {ref: {table: a}}}}
  - {table: c, rows: 1, columns: {id: {uuid: {}}}}
";
    let error = Plan::compile(&spec(text), 1.0).unwrap_err();
    assert!(matches!(error, Error::Circle { .. }), "{error}");
    assert!(error.to_string().ends_with("public.a, public.b"), "{error}");
}
