//! Which migrations ask for the visibility check, and to which database what it has shown applies.

use crate::commands::dbtune;
use crate::server::Db;
use crate::tenants;
use std::path::Path;

const PROOF: &str = "migrations/.dbtune-verified.json";
/// Another form of the same condition.
const EQUAL: &str =
    "alter policy mine on items using (tenant = any (array(select my_tenant())));\n";

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// A folder with these migrations, numbered from 1.
fn folder(migrations: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "benchmarks/w.yaml", tenants::WORKLOAD);
    for (at, sql) in migrations.iter().enumerate() {
        let name = |way: &str| format!("migrations/{}_m.{way}.sql", at + 1);
        write(folder.path(), &name("up"), sql);
        write(folder.path(), &name("down"), "select 1;\n");
    }
    folder
}

struct Ground {
    folder: tempfile::TempDir,
    url: String,
    db: Db,
}

impl Ground {
    async fn new(label: &str, migrations: &[&str]) -> Self {
        let (db, _) = tenants::database(label).await;
        Self {
            folder: folder(migrations),
            url: db.url_as("tenants_owner"),
            db,
        }
    }

    fn run(&self, arguments: &[&str]) -> (i32, String) {
        let (code, out, err) = dbtune(self.folder.path(), &self.url, arguments);
        (code, out + &err)
    }

    /// Runs a command that is to end with this code and say these words.
    fn expect(&self, arguments: &[&str], code: i32, words: &[&str]) {
        let (got, out) = self.run(arguments);
        assert_eq!(got, code, "{arguments:?}: {out}");
        // The table folds lines.
        let flat = out.split_whitespace().collect::<Vec<_>>().join(" ");
        for word in words {
            assert!(
                flat.contains(word),
                "{arguments:?} does not say {word}: {out}"
            );
        }
    }

    async fn sql(&self, sql: &str) {
        self.db.client().await.batch_execute(sql).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_changed_by_hand_asks_for_a_proof_that_is_about_this_database() {
    let ground = Ground::new("proof", &[EQUAL]).await;
    let unproven = ["1_m: not checked", "dbtune verify", "--unverified"];
    ground.expect(&["apply"], 2, &unproven);
    // What an older dbtune noted says nothing of definitions.
    write(
        ground.folder.path(),
        PROOF,
        "{\"verified\": {\"00\": \"2026-01-01\"}}",
    );
    ground.expect(&["apply"], 2, &unproven);

    ground.expect(&["verify"], 0, &["dbtune apply"]);
    let noted = std::fs::read_to_string(ground.folder.path().join(PROOF)).unwrap();
    let noted: serde_json::Value = serde_json::from_str(&noted).unwrap();
    let run = &noted["runs"][0];
    assert_eq!(noted["version"], 2);
    let policy = &run["objects"]["policy mine on public.items"];
    assert!(
        policy["before"].is_string() && policy["before"] != policy["after"],
        "{run}"
    );
    let function = &run["objects"]["function public.my_tenant()"];
    assert!(
        function["before"].is_string() && function["before"] == function["after"],
        "{run}"
    );
    assert!(run["server_version"].as_u64().unwrap() >= 130_000);
    assert!(
        run["identities"]
            .as_array()
            .unwrap()
            .iter()
            .any(|i| i == "seven (tenants_app)")
    );

    // Something that the policy reaches is another since.
    ground.sql("alter function my_tenant() strict").await;
    let moved = [
        "function public.my_tenant() is neither as it was checked nor",
        "dbtune verify",
    ];
    ground.expect(&["apply"], 2, &moved);
    ground
        .sql("alter function my_tenant() called on null input")
        .await;
    // What it does not reach is of no matter, and a policy that somebody changed by hand already is as it will be.
    ground
        .sql("create function other() returns int language sql as 'select 1'")
        .await;
    ground.sql(EQUAL).await;
    ground.expect(&["apply"], 0, &[]);
    ground.expect(&["apply"], 0, &["Nothing to apply"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_checked_together_is_applied_together() {
    let wide = "create policy wide on notes to tenants_app using (true);\n";
    let narrow = "drop policy wide on notes;\n";
    let ground = Ground::new("together", &[wide, narrow]).await;
    ground.expect(&["verify"], 0, &[]);
    ground.expect(
        &["apply", "--to", "1"],
        2,
        &["1_m: checked together with 2_m, which is left out"],
    );
    // A run that ended in between goes on: every definition is as before or as after.
    let grant = "alter policy mine on items using (tenant = (select my_tenant()) and true);\n";
    let ground = Ground::new("resumed", &[EQUAL, &grant.replace("items", "notes")]).await;
    ground.expect(&["verify"], 0, &[]);
    ground.expect(&["apply", "--unverified", "--to", "1"], 0, &[]);
    ground.expect(&["apply"], 0, &[]);
    // And a file that is another now was not checked.
    let ground = Ground::new("edited", &[EQUAL]).await;
    ground.expect(&["verify"], 0, &[]);
    write(
        ground.folder.path(),
        "migrations/1_m.up.sql",
        &format!("-- edited\n{EQUAL}"),
    );
    ground.expect(&["apply"], 2, &["1_m: not checked"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_concerns_new_tables_alone_asks_for_nothing() {
    let fresh = "create table fresh (id int, tenant int);
        alter table fresh enable row level security;
        create policy own on fresh to tenants_app using (tenant = my_tenant());
        grant select on fresh to tenants_app;
        create function fresh_count() returns bigint language sql security definer as 'select count(*) from fresh';
        create view fresh_ids as select id from fresh;\n";
    let plain = "create index on items (tenant); alter table notes add column extra text;\n";
    let ground = Ground::new("fresh", &[fresh, plain]).await;
    ground.expect(&["apply"], 0, &["Applied 2 migrations"]);
    for asks in [
        "grant select (title) on items to public;\n",
        "alter table notes disable row level security;\n",
        "create view all_items as select * from items;\n",
        "create or replace function my_tenant() returns int stable language sql as 'select 1';\n",
        "create function peek() returns bigint language sql security definer as 'select count(*) from items';\n",
        "do $$ begin execute 'revoke all on items from tenants_app'; end $$;\n",
    ] {
        write(ground.folder.path(), "migrations/3_m.up.sql", asks);
        write(
            ground.folder.path(),
            "migrations/3_m.down.sql",
            "select 1;\n",
        );
        ground.expect(&["apply"], 2, &["3_m: not checked"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_opens_rows_has_to_be_allowed_by_name() {
    let open = "create view open_items as select * from items; grant select on open_items to tenants_app;\n";
    let ground = Ground::new("open", &[open]).await;
    ground.expect(&["verify"], 1, &["view public.open_items added"]);
    ground.expect(&["apply"], 2, &["1_m: not checked"]);
    let settings = "allowed_access:\n- object: view public.open_items\n  reason: a list for all\n";
    write(ground.folder.path(), "dbtune.yaml", settings);
    ground.expect(
        &["verify"],
        0,
        &["view public.open_items added a list for all"],
    );
    // Allowed no longer: what was noted is taken back.
    let expired = settings.to_owned() + "  expires: 2020-01-01\n";
    write(ground.folder.path(), "dbtune.yaml", &expired);
    ground.expect(&["verify"], 1, &["it expired on 2020-01-01"]);
    ground.expect(&["apply"], 2, &["1_m: not checked"]);
    write(ground.folder.path(), "dbtune.yaml", settings);
    ground.expect(&["verify"], 0, &[]);
    ground.expect(&["apply"], 0, &[]);
}
