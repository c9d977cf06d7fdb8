//! Who sees and writes which rows, before and after a change.

use crate::pair::Pair;
use crate::tenants;
use dbtune::db::{Session, Target};
use dbtune::model::{Outcome, Persona, Report};
use dbtune::verify::{Access, Options, Visibility, report, verify};
use std::time::Duration;

fn persona(name: &str, role: &str, tenant: &str) -> Persona {
    let claims = format!("{{\"tenant\": {tenant}}}");
    Persona {
        name: name.to_owned(),
        role: role.to_owned(),
        settings: [("request.jwt.claims".to_owned(), claims)].into(),
    }
}

async fn check(source: &Target, change: &str, timeout: Duration) -> (Visibility, Report) {
    let pair = Pair::open(source).await.unwrap();
    let session = Session::connect(pair.after(), "test").await.unwrap();
    session.execute("change", change).await.unwrap();
    let personas = [
        persona("seven", "tenants_app", "7"),
        persona("nobody", "tenants_app", "null"),
    ];
    let options = Options {
        timeout,
        writes: true,
    };
    let found = verify(
        pair.before(),
        pair.after(),
        &personas,
        options,
        &mut |_, _, _| {},
    )
    .await
    .unwrap();
    let sql = "select count(*) = 20000 and not exists (select from pg_trigger where tgenabled <> 'O') from items";
    let row = session.client().query_one(sql, &[]).await.unwrap();
    assert!(row.get::<_, bool>(0), "nothing is kept of what was tried");
    drop(session);
    pair.close().await.unwrap();
    let report = report(&found);
    (found, report)
}

/// `persona · table · access` of every difference.
fn differences(found: &Visibility) -> Vec<String> {
    found
        .seen
        .iter()
        .filter(|s| !s.equal())
        .map(|s| format!("{} {} {:?}", s.persona, s.table.name, s.access))
        .collect()
}

#[tokio::test]
async fn an_index_and_an_equivalent_policy_change_nothing() {
    let (_db, target) = tenants::database("equal").await;
    let change = "create index on items (tenant); alter policy mine on items using (tenant = any (array(select my_tenant())))";
    let (found, report) = check(&target, change, Duration::from_secs(20)).await;
    assert_eq!(differences(&found), Vec::<String>::new());
    assert_eq!(report.outcome, Outcome::Pass, "{report:?}");
    assert_eq!(found.seen.len(), 2 * 2 * 5);
    let read = found
        .seen
        .iter()
        .find(|s| s.persona == "seven" && s.table.name == "items")
        .unwrap();
    assert!(
        !read.sampled && format!("{:?}", read.before).contains("count: 200"),
        "{read:?}"
    );
    for access in [Access::Insert, Access::Update, Access::Delete] {
        let tried = found
            .seen
            .iter()
            .find(|s| s.persona == "seven" && s.access == access)
            .unwrap();
        let text = format!("{:?}", tried.before);
        assert!(
            text.contains("count: ") && !text.contains("count: 0"),
            "own rows pass: {tried:?}"
        );
        let refused = if access == Access::Delete {
            "rows 0"
        } else {
            "42501"
        };
        assert!(
            text.contains(refused) || text.contains("rows 0"),
            "others' do not: {tried:?}"
        );
    }
    assert!(found.gaps.is_empty(), "{:?}", found.gaps);
}

#[tokio::test]
async fn one_row_more_for_one_persona_is_found() {
    let (_db, target) = tenants::database("more").await;
    let change = "alter policy mine on notes using (tenant = (select my_tenant()) or id = 1)";
    let (found, report) = check(&target, change, Duration::from_secs(20)).await;
    let all = differences(&found);
    assert!(all.contains(&"seven notes Read".to_owned()), "{all:?}");
    assert!(all.contains(&"nobody notes Read".to_owned()), "{all:?}");
    assert!(all.iter().all(|d| d.contains("notes")), "{all:?}");
    assert_eq!(report.outcome, Outcome::Fail);
}

#[tokio::test]
async fn a_swap_of_rows_and_a_weaker_check_are_found() {
    let (_db, target) = tenants::database("swap").await;
    let swap = "alter policy mine on items using (tenant = (select my_tenant()) + 1)";
    let (found, _) = check(&target, swap, Duration::from_secs(20)).await;
    assert!(
        differences(&found).contains(&"seven items Read".to_owned()),
        "as many rows, other ones"
    );

    let weak = "alter policy mine on items with check (true)";
    let (found, _) = check(&target, weak, Duration::from_secs(20)).await;
    let all = differences(&found);
    assert!(all.contains(&"seven items Insert".to_owned()), "{all:?}");
    // The rows that UPDATE makes must be visible as well, so a weaker check alone changes nothing there.
    assert!(!all.contains(&"seven items Read".to_owned()), "{all:?}");

    let off = "alter table notes disable row level security";
    let (found, report) = check(&target, off, Duration::from_secs(20)).await;
    assert!(differences(&found).contains(&"nobody notes Read".to_owned()));
    assert_eq!(report.outcome, Outcome::Fail);
}

#[tokio::test]
async fn what_would_take_too_long_is_sampled_and_said() {
    let (_db, target) = tenants::database("sampled").await;
    let slow = "alter policy mine on items using (tenant = (select my_tenant()) and pg_sleep(0.02)::text = '')";
    let (found, report) = check(&target, slow, Duration::from_secs(2)).await;
    assert!(
        found
            .gaps
            .iter()
            .any(|g| g.what.contains("items") && g.why.contains("seven")),
        "{:?}",
        found.gaps
    );
    assert_eq!(report.outcome, Outcome::Pass);
    assert!(report.summary.contains("by sample"), "{}", report.summary);

    let hopeless = slow.replace("0.02", "1");
    let (found, report) = check(&target, &hopeless, Duration::from_millis(300)).await;
    assert!(found.seen.iter().any(dbtune::verify::Seen::unknown));
    assert_eq!(report.outcome, Outcome::Inconclusive);
}

#[tokio::test]
async fn a_persona_beyond_all_policies_proves_nothing() {
    let (_db, target) = tenants::database("beyond").await;
    let owner = [persona("owner", "tenants_owner", "7")];
    let options = Options {
        timeout: Duration::from_secs(5),
        writes: false,
    };
    let found = verify(&target, &target, &owner, options, &mut |_, _, _| {})
        .await
        .unwrap();
    assert!(
        found
            .gaps
            .iter()
            .any(|g| g.why.contains("subject to no policy")),
        "{:?}",
        found.gaps
    );
    assert_eq!(report(&found).outcome, Outcome::Inconclusive);
}
