use crate::seed::{digest, number, session_at};
use crate::server::{Db, fresh_from, template};
use dbtune::db::Session;
use dbtune::seed::{Options, Spec, run};
use std::path::Path;

pub(crate) fn repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The demo platform without rows and policies.
pub(crate) async fn clinic(label: &str) -> (Db, Session) {
    let db = fresh_from(label, clinic_schema().await).await;
    // As the owner of the tables, who is no superuser.
    let session = session_at(&db.url_as("clinic_owner")).await;
    (db, session)
}

/// The template of the demo platform without rows and policies.
pub(crate) async fn clinic_schema() -> &'static str {
    let mut files: Vec<_> = std::fs::read_dir(repository("migrations"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().ends_with(".up.sql"))
        .collect();
    files.sort();
    let read = |file: &Path| std::fs::read_to_string(file).unwrap();
    let mut scripts = vec![
        read(&repository("fixtures/bootstrap.sql")),
        "set role clinic_owner".to_owned(),
    ];
    scripts.extend(files.iter().map(|file| read(file)));
    template("clinic_schema", &scripts).await
}

pub(crate) fn clinic_spec() -> Spec {
    let file = repository("fixtures/clinic.yaml");
    Spec::parse(
        &std::fs::read_to_string(file).unwrap(),
        "fixtures/clinic.yaml",
    )
    .unwrap_or_else(|e| panic!("{e}"))
}

#[tokio::test]
async fn the_clinic_is_filled_and_skewed() {
    let (db, session) = clinic("clinic").await;
    let options = Options {
        scale: 0.05,
        ..Options::default()
    };
    run(&session, &clinic_spec(), options, &mut |_, _, _| {})
        .await
        .unwrap_or_else(|e| panic!("{e}"));
    for (wrong, sql) in [
        (
            "a table is empty",
            "select count(*) from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' and reltuples < 1 and relname not like 'audit_log_%'",
        ),
        (
            "skew is not 100",
            "select (max(n) / min(n) not between 90 and 110)::int::int8 from (select count(*) n from inventory_items group by location_id) s",
        ),
        (
            "not 200 clinics",
            "select count(distinct location_id) - 200 from inventory_items",
        ),
        (
            "a clinic without staff",
            "select count(*) from locations l where not exists (select from user_locations u where u.location_id = l.id)",
        ),
        (
            "home is not the primary location",
            "select count(*) from users u join user_locations l on l.user_id = u.id and l.is_primary where l.location_id <> u.home_location_id",
        ),
        (
            "not 3 locations each",
            "select count(*) from (select from user_locations group by user_id having count(*) <> 3) s",
        ),
        (
            "few admins",
            "select (count(*) not between 3 and 25)::int::int8 from user_roles where role = 'admin'",
        ),
        (
            "a transaction at another location than its item",
            "select count(*) from inventory_transactions t join inventory_items i on i.id = t.item_id where i.location_id <> t.location_id",
        ),
        (
            "a stranger moved stock",
            "select count(*) from inventory_transactions t where not exists (select from user_locations u where u.user_id = t.user_id and u.location_id = t.location_id)",
        ),
        (
            "a kiosk of another location",
            "select count(*) from checkin_sessions s join checkin_kiosks k on k.id = s.kiosk_id where k.location_id <> s.location_id",
        ),
        (
            "an empty month of the audit log",
            "select 12 - count(distinct tableoid) from audit_log",
        ),
    ] {
        assert_eq!(number(&db, sql).await, 0, "{wrong}");
    }
}

#[tokio::test]
async fn the_clinic_is_the_same_every_time() {
    let mut digests = Vec::new();
    for label in ["clinic_a", "clinic_b"] {
        let (db, session) = clinic(label).await;
        let options = Options {
            scale: 0.01,
            ..Options::default()
        };
        run(&session, &clinic_spec(), options, &mut |_, _, _| {})
            .await
            .unwrap();
        digests.push(
            digest(
                &db,
                &[
                    "users",
                    "user_locations",
                    "inventory_items",
                    "patients",
                    "audit_log",
                    "handouts",
                ],
            )
            .await,
        );
    }
    assert_eq!(digests[0], digests[1]);
}

/// `cargo test --release --test it full_scale -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, of use in a release build only"]
async fn full_scale() {
    let (_db, session) = clinic("full_scale").await;
    let summary = run(
        &session,
        &clinic_spec(),
        Options::default(),
        &mut |_, _, _| {},
    )
    .await
    .unwrap();
    for table in &summary.tables {
        println!(
            "{:>8} rows {:>10} bytes {:6.2} s  {}",
            table.rows, table.bytes, table.seconds, table.table
        );
    }
    println!(
        "{} rows, {} bytes, {:.1} s",
        summary.rows, summary.bytes, summary.seconds
    );
    assert!(summary.seconds < 30.0, "{:.1} s", summary.seconds);
}
