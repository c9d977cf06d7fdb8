//! Who sees and writes which rows, before and after a change.

use crate::pair::Pair;
use crate::tenants;
use dbtune::db::{Session, Target};
use dbtune::model::{Outcome, Persona};
use dbtune::verify::{Clause, Findings, Options, Verdict, report, verify};
use std::time::Duration;

fn persona(name: &str, role: &str, tenant: &str) -> Persona {
    let claims = format!("{{\"tenant\": {tenant}}}");
    Persona {
        name: name.to_owned(),
        role: role.to_owned(),
        settings: [("request.jwt.claims".to_owned(), claims)].into(),
    }
}

async fn check_in(source: &Target, change: &str, time: Duration) -> Findings {
    let pair = Pair::open(source).await.unwrap();
    let session = Session::connect(pair.after(), "test").await.unwrap();
    session.execute("change", change).await.unwrap();
    let personas = [
        persona("seven", "tenants_app", "7"),
        persona("nobody", "tenants_app", "null"),
    ];
    let options = Options {
        time,
        ..Options::default()
    };
    let note = &mut |_, _, _: &str| {};
    let (found, _) = verify(pair.before(), pair.after(), None, &personas, &options, note)
        .await
        .unwrap();
    drop(session);
    pair.close().await.unwrap();
    found
}

async fn check(source: &Target, change: &str) -> Findings {
    check_in(source, change, Duration::from_mins(2)).await
}

/// `identity · table · clause` of every difference, of the two that were asked for.
fn differences(found: &Findings) -> Vec<String> {
    let asked = |who: &str| ["seven", "nobody"].contains(&who);
    let cells = found
        .cells
        .iter()
        .filter(|c| c.differs() && asked(&c.identity));
    cells
        .map(|c| format!("{} {} {}", c.identity, c.table.name, c.clause.words()))
        .collect()
}

#[tokio::test]
async fn an_index_alone_is_out_of_reach_of_all_access() {
    let (_db, target) = tenants::database("index").await;
    let found = check(&target, "create index on items (tenant)").await;
    assert_eq!(found.outcome(), Outcome::Pass, "{found:?}");
    assert!(found.tables.is_empty() && found.untouched >= 2, "{found:?}");
}

#[tokio::test]
async fn an_equivalent_policy_is_shown_to_be_one() {
    let (_db, target) = tenants::database("equal").await;
    let change = "alter policy mine on items using (tenant = any (array(select my_tenant())))";
    let found = check(&target, change).await;
    assert_eq!(differences(&found), Vec::<String>::new());
    assert_eq!(found.outcome(), Outcome::Pass, "{:?}", report(&found));
    let seven = |clause| {
        found
            .cells
            .iter()
            .find(|c| c.identity == "seven" && c.table.name == "items" && c.clause == clause)
            .unwrap()
    };
    assert_eq!(seven(Clause::Select).after, Some(200));
    assert_eq!(seven(Clause::Delete).before, Some(200));
    assert!(found.controls >= 5 && found.missed.is_empty(), "{found:?}");
}

#[tokio::test]
async fn one_row_more_for_one_persona_is_found() {
    let (_db, target) = tenants::database("more").await;
    let change = "alter policy mine on notes using (tenant = (select my_tenant()) or id = 1)";
    let found = check(&target, change).await;
    let all = differences(&found);
    assert!(all.contains(&"seven notes select".to_owned()), "{all:?}");
    assert!(all.contains(&"nobody notes select".to_owned()), "{all:?}");
    assert!(all.iter().all(|d| d.contains("notes")), "{all:?}");
    assert_eq!(found.outcome(), Outcome::Fail);
}

#[tokio::test]
async fn a_swap_of_rows_and_a_weaker_check_are_found() {
    let (_db, target) = tenants::database("swap").await;
    let swap = "alter policy mine on items using (tenant = (select my_tenant()) + 1)";
    let found = check(&target, swap).await;
    assert!(
        differences(&found).contains(&"seven items select".to_owned()),
        "as many rows, other ones"
    );
    let cell = found.cells.iter().find(|c| c.identity == "seven").unwrap();
    let Verdict::Differs(difference) = &cell.verdict else {
        panic!("{cell:?}");
    };
    assert_eq!((difference.wider, difference.narrower), (200, 200));

    let weak = "alter policy mine on items with check (true)";
    let found = check(&target, weak).await;
    let all = differences(&found);
    assert!(all.contains(&"seven items insert".to_owned()), "{all:?}");
    // An UPDATE that reads no column may now leave what its own role cannot see.
    assert!(all.contains(&"seven items update to".to_owned()), "{all:?}");
    assert!(!all.contains(&"seven items select".to_owned()), "{all:?}");

    let off = "alter table notes disable row level security";
    let found = check(&target, off).await;
    assert!(differences(&found).contains(&"nobody notes select".to_owned()));
    assert_eq!(found.outcome(), Outcome::Fail);
}

#[tokio::test]
async fn what_there_is_no_time_for_is_not_shown() {
    let (_db, target) = tenants::database("sampled").await;
    let slow = "alter policy mine on items using (tenant = (select my_tenant()) and pg_sleep(0.2)::text = '')";
    let found = check_in(&target, slow, Duration::from_secs(3)).await;
    assert!(found.cells.iter().any(dbtune::verify::Cell::not_shown));
    assert_ne!(found.outcome(), Outcome::Pass);
}

#[tokio::test]
async fn a_policy_that_rolls_dice_is_not_shown() {
    let (_db, target) = tenants::database("dice").await;
    let change =
        "alter policy mine on items using (tenant = (select my_tenant()) and random() < 0.5)";
    let found = check(&target, change).await;
    assert_ne!(found.outcome(), Outcome::Pass);
    let text = format!("{:?}", report(&found));
    assert!(text.contains("not deterministic"), "{text}");
}
