//! Personas and parameters drawn from the data, plans as a persona, clones.

use crate::tenants;
use dbtune::config::parse_workload;
use dbtune::db::{
    Defaults, Explain, Limits, Session, clone_database, explain, maintenance, remove_leftovers,
    resolve,
};

#[tokio::test]
async fn draws_are_the_same_each_time_and_come_from_what_the_persona_sees() {
    let (db, target) = tenants::database("draw").await;
    let workload = tenants::workload(&target).await;
    assert_eq!(workload, tenants::workload(&target).await);
    let ids: Vec<_> = workload.queries.iter().map(|q| q.id.as_str()).collect();
    assert_eq!(ids, ["count@seven", "find@seven", "rename@seven"]);
    let claims = &workload.personas[0].settings["request.jwt.claims"];
    assert!(
        claims.contains("\"tenant\":7"),
        "a number stays a number: {claims}"
    );
    let find = &workload.queries[1];
    assert_eq!(find.draws.len(), 20);
    assert_eq!(workload.queries[0].draws, [Vec::<Option<String>>::new()]);
    for draw in &find.draws {
        let id: i32 = draw[0].as_ref().unwrap().parse().unwrap();
        assert_eq!(id % 100, 7, "drawn as the persona");
    }
    assert!(
        !format!("{workload:?}").contains("someone"),
        "claims stay hidden"
    );
    drop(db);
}

#[tokio::test]
async fn what_cannot_be_drawn_is_named_without_its_values() {
    let (_db, target) = tenants::database("undrawn").await;
    let session = Session::connect(&target, "test").await.unwrap();
    for (from, to, words) in [
        ("offset 6", "offset 60000", vec!["persona seven", "no row"]),
        (
            "${tenant}",
            "${tenancy}",
            vec!["persona seven", "tenancy", "tenant"],
        ),
        (
            "role: tenants_app",
            "role: tenants_nobody",
            vec!["tenants_nobody", "22023"],
        ),
        (
            "sql: 'select id from items'",
            "sql: 'select id from items where id < 0'",
            vec!["$1", "find@seven", "no row"],
        ),
        (
            "sql: 'select id from items'",
            "sql: 'select id, level from items'",
            vec!["$1", "2 columns"],
        ),
        (
            "sql: 'select id from items'",
            "sql: 'select secret from items'",
            vec!["find@seven", "42703"],
        ),
        (
            "from items order by id",
            "from itemz order by id",
            vec!["persona seven", "42P01"],
        ),
    ] {
        assert!(tenants::WORKLOAD.contains(from), "{from}");
        let text = tenants::WORKLOAD.replace(from, to);
        let file = parse_workload("w.yaml", &text).unwrap();
        let error = resolve(&session, &file, Defaults::default())
            .await
            .unwrap_err();
        for word in words {
            assert!(error.to_string().contains(word), "{to}: {error}");
        }
    }
    // The session is usable after each of them.
    session.execute("test", "select 1").await.unwrap();
}

#[tokio::test]
async fn plans_hold_the_policy_and_the_parameters() {
    let (_db, target) = tenants::database("explain").await;
    let workload = tenants::workload(&target).await;
    let session = Session::connect(&target, "test").await.unwrap();
    let [count, find, rename] = &workload.queries[..] else {
        panic!()
    };

    session.begin_query(count, Limits::default()).await.unwrap();
    let plan = explain(&session, count, 0, Explain::Analyze).await.unwrap();
    session.end().await.unwrap();
    let scan = plan.nodes().find(|n| n.kind == "Seq Scan").unwrap();
    assert!(
        scan.conditions.filter.as_ref().unwrap().contains("tenant"),
        "the policy's filter"
    );
    assert!(plan.shape().contains("InitPlan"), "{}", plan.shape());
    assert!(plan.buffers().unwrap() > 50 && plan.rows_removed() == Some(19_800.0));

    session.begin_query(find, Limits::default()).await.unwrap();
    let plan = explain(&session, find, 3, Explain::Plan).await.unwrap();
    session.end().await.unwrap();
    assert_eq!(
        plan.indexes_used().into_iter().collect::<Vec<_>>(),
        ["items_pkey"]
    );
    assert_eq!(plan.buffers(), None);
    let index = plan
        .nodes()
        .find_map(|n| n.conditions.index.clone())
        .unwrap();
    let drawn = find.draws[3][0].as_ref().unwrap();
    assert!(index.contains(drawn), "a custom plan: {index}");

    session
        .begin_query(rename, Limits::default())
        .await
        .unwrap();
    let plan = explain(&session, rename, 0, Explain::Analyze)
        .await
        .unwrap();
    session.end().await.unwrap();
    assert!(
        plan.shape()
            .starts_with("ModifyTable Update on public.items"),
        "{}",
        plan.shape()
    );
    let row = session
        .client()
        .query_one("select count(*) from items where title = 'renamed'", &[]);
    assert_eq!(row.await.unwrap().get::<_, i64>(0), 0, "rolled back");
}

#[tokio::test]
async fn executions_count_and_digest_rows_whatever_their_order() {
    let (_db, target) = tenants::database("execute").await;
    let mut workload = tenants::workload(&target).await;
    let session = Session::connect(&target, "test").await.unwrap();
    let mut digests = Vec::new();
    for order in ["id", "id desc", "price"] {
        let query = &mut workload.queries[0];
        query.sql = format!("select * from items order by {order}");
        session.begin_query(query, Limits::default()).await.unwrap();
        let prepared = session.prepare_query(query).await.unwrap();
        let done = session
            .run_query(query, &prepared, &[], true)
            .await
            .unwrap();
        session.end().await.unwrap();
        assert_eq!(done.rows, 200);
        digests.push(done.digest.unwrap());
    }
    assert!(digests.windows(2).all(|w| w[0] == w[1]), "{digests:?}");
    let query = &mut workload.queries[0];
    query.sql = "select *, pg_sleep(1) from items".to_owned();
    let limits = Limits {
        statement: std::time::Duration::from_millis(50),
        ..Limits::default()
    };
    session.begin_query(query, limits).await.unwrap();
    let prepared = session.prepare_query(query).await.unwrap();
    let error = session
        .run_query(query, &prepared, &[], false)
        .await
        .unwrap_err();
    assert!(error.is("57014"), "{error}");
    session.end().await.unwrap();
}

#[tokio::test]
async fn a_clone_is_a_copy_with_its_settings_and_goes_away() {
    let (db, target) = tenants::database("cloned").await;
    let client = db.client().await;
    let sql = format!(
        "alter database \"{0}\" set search_path = public, \"$user\"; alter database \"{0}\" set work_mem = '7MB'",
        db.name
    );
    client.batch_execute(&sql).await.unwrap();
    let maintenance = maintenance(&target).await.unwrap();

    let error = clone_database(&maintenance, &db.name, "dbtune_clone_busy")
        .await
        .err()
        .unwrap();
    let text = error.to_string();
    assert!(
        text.contains("pid ") && text.contains("user postgres"),
        "{text}"
    );
    drop(client);

    let clone = clone_database(&maintenance, &db.name, "dbtune_clone_1_1")
        .await
        .unwrap();
    let session = Session::connect(&clone.target, "test").await.unwrap();
    let sql =
        "select count(*), current_setting('work_mem'), current_setting('search_path') from items";
    let row = session.client().query_one(sql, &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 20_000);
    assert_eq!((row.get(1), row.get(2)), ("7MB", "public, \"$user\""));
    assert!(
        remove_leftovers(&maintenance).await.unwrap().is_empty(),
        "in use"
    );
    clone.drop(&maintenance).await.unwrap();

    let sql = format!("create database dbtune_clone_2_1 template \"{}\"", db.name);
    maintenance.execute("test", &sql).await.unwrap();
    let removed = remove_leftovers(&maintenance).await.unwrap();
    assert!(
        removed.contains(&"dbtune_clone_2_1".to_owned()),
        "{removed:?}"
    );
}

#[tokio::test]
async fn who_may_not_clone_is_told_what_to_grant() {
    let (db, _) = tenants::database("uncloned").await;
    let client = db.client().await;
    let make = "do $$ begin create role tenants_reader login; exception when duplicate_object then null; end $$";
    client.batch_execute(make).await.unwrap();
    drop(client);
    let target = dbtune::db::Target::resolve(
        Some(&db.url_as("tenants_reader")),
        &std::collections::BTreeMap::default(),
    )
    .unwrap();
    let session = maintenance(&target).await.unwrap();
    let error = clone_database(&session, &db.name, "dbtune_clone_no")
        .await
        .err()
        .unwrap();
    assert!(
        error
            .to_string()
            .contains("alter role tenants_reader createdb"),
        "{error}"
    );
    let error = clone_database(&session, "nowhere", "dbtune_clone_no")
        .await
        .err()
        .unwrap();
    assert!(error.to_string().contains("no such database"), "{error}");
}
