//! Whether `dbtune verify` can be fooled: generated changes of access, the truth about each established by statements, and what
//! the program says of it.
//!
//! A change that differs must end with exit code 1 or 3, never 0; one that is equal by construction with 0 or 3, never 1. The truth
//! shares no code with `verify`: see [`truth`].
//!
//! Long, so asked for: `make bench-verify`. `DBTUNE_VERIFY_CHANGES` asks for less, in words between commas: a number is how many changes
//! are made of each schema; `clinic`, `clinic_tuned` and `crm` are schemas; of any other words a change must hold one in its kind or its
//! SQL (`roles`, `alter policy locations_read`). `DBTUNE_VERIFY_AT_ONCE` (2) is how many are judged side by side; `DBTUNE_VERIFY_PROGRAM` is
//! another dbtune; `DBTUNE_VERIFY_KEEP` is a folder for the truth, which is taken from there the next time, and for what the program
//! printed. Empty that folder when schemas, identities or statements change.

mod access;
mod catalog;
mod change;
mod clinic;
mod crm;
mod expression;
mod functions;
mod ground;
mod imagined;
mod judge;
mod policies;
mod probes;
mod show;
mod times;
mod truth;

use crate::server;
use change::{Change, choose, of_each_kind};
use ground::Ground;
use judge::{Options, judge};
use show::Counts;

/// So many of each schema that the mutations that can be made are more than 400 of the clinic and 150 of the other.
const OF_CLINIC: usize = 480;
const OF_TUNED: usize = 140;
const OF_CRM: usize = 260;

/// A number that looks like chance and depends on `text` alone.
fn mixed(text: &str) -> u64 {
    // FNV-1a, with its last bits spread.
    let sum = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (sum ^ (sum >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ (sum >> 32)
}

/// Every change that the generator knows for `ground`.
async fn changes(ground: &Ground) -> Vec<Change> {
    let (catalog, scheme) = (&ground.catalog, ground.scheme);
    let db = ground.copy().await;
    let client = db.client().await;
    let version: i32 = client
        .query_one("select current_setting('server_version_num')::int", &[])
        .await
        .unwrap()
        .get(0);
    let views: Vec<(String, String, String)> = client
        .query(
            "select c.oid::regclass::text, coalesce(' with (' || array_to_string(c.reloptions, ', ') || ')', ''), pg_get_viewdef(c.oid)
             from pg_class c where c.relkind = 'v' and c.relnamespace::regnamespace::text not in ('pg_catalog', 'information_schema')
               and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e') order by 1",
            &[],
        )
        .await
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect();
    server::close(client, &db.name).await;
    server::remove(&db).await;
    let mut all = policies::mutations(catalog, scheme);
    all.extend(functions::mutations(catalog, scheme));
    all.extend(access::mutations(catalog, scheme, version >= 150_000));
    all.extend(access::definitions(&views, scheme));
    all.extend(policies::equivalents(catalog, scheme));
    all.extend(functions::equivalents(catalog));
    all.extend(access::equivalents(catalog, scheme.roles[0]));
    if scheme.name == "clinic" {
        all.extend(tuned());
    }
    if scheme.name == "crm" {
        all.extend(crm::memberships());
    }
    all
}

/// Each tuned policy of the clinic in place of its naive one.
fn tuned() -> Vec<Change> {
    let files = clinic::policies("tuned").into_iter();
    let statements = files.flat_map(|(_, sql)| {
        sql.split_inclusive(";\n")
            .map(str::to_owned)
            .collect::<Vec<_>>()
    });
    let code = |sql: String| {
        sql.lines()
            .filter(|l| !l.starts_with("--"))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let about = |sql: &str| {
        sql.split(" on ")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next())
            .map(str::to_owned)
    };
    statements
        .map(code)
        .filter_map(|sql| Some(Change::new("equal: tuned by hand", &about(&sql)?, sql)))
        .collect()
}

#[tokio::test]
#[ignore = "an hour: make bench-verify"]
async fn no_wrong_change_is_proven_and_no_right_one_accused() {
    let options = Options::from(&server::environment());
    let mut counts = Counts::default();
    let schemas = [
        ("clinic", OF_CLINIC),
        ("clinic_tuned", OF_TUNED),
        ("crm", OF_CRM),
    ];
    let names = schemas.map(|(name, _)| name);
    for (name, most) in schemas {
        if !options.wants(name, &names) {
            continue;
        }
        let ground = match name {
            "crm" => crm::ground().await,
            _ => clinic::ground(name == "clinic_tuned").await,
        };
        let all = changes(&ground).await;
        println!("{name}: {} changes are known", all.len());
        let all = options.choose(&names, all);
        let chosen = choose(all, options.most.unwrap_or(most));
        for found in judge(&ground, chosen, &options).await {
            counts.add(name, &found);
        }
    }
    println!("{}", counts.table());
    println!("{}", counts.lists());
    assert!(
        counts.bad() == 0,
        "{} of {} changes are not judged as they are",
        counts.bad(),
        counts.all()
    );
    assert!(counts.all() > 0, "nothing was asked for");
}

/// A few of the second schema, one of every other kind.
#[tokio::test]
async fn a_few_changes_of_every_sort_are_judged_rightly() {
    const FEW: usize = 25;
    let ground = crm::ground().await;
    let mut all = changes(&ground).await;
    // What changes the roles of the server would disturb other tests.
    all.retain(|c| c.undo.is_none());
    let mut firsts: Vec<Change> = Vec::new();
    for change in of_each_kind(all, usize::MAX) {
        if !firsts.iter().any(|f| f.kind == change.kind) {
            firsts.push(change);
        }
    }
    firsts.sort_by_key(|c| mixed(c.kind));
    firsts.truncate(FEW);
    let mut counts = Counts::default();
    for found in judge(&ground, firsts, &Options::default()).await {
        counts.add("crm", &found);
    }
    assert!(counts.bad() == 0, "{}\n{}", counts.table(), counts.lists());
    assert!(
        counts.differing() >= 10,
        "too few of these show anything:\n{}",
        counts.table()
    );
}
