//! Roles that may not see everything are told what, and which GRANT would show it.

use crate::audit_ground;
use crate::audit_run::{Ran, dbtune};
use crate::server::{self, Db};

const SCRIPT: &str = "
create table doc (id int primary key, owner_id uuid not null);
insert into doc select n, md5((n % 2000)::text)::uuid from generate_series(1, 20000) n;
alter table doc enable row level security;
grant select on doc to app;
create policy own on doc for select to app using (owner_id = auth.uid());
do $$ begin create role audit_plain login; exception when duplicate_object then null; end $$;
do $$ begin create role audit_monitor login; exception when duplicate_object then null; end $$;
grant pg_monitor to audit_monitor;
analyze;
";

fn audit(db: &Db, role: &str) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let url = db.url_as(role);
    let ran = dbtune(folder.path(), &["audit", "--format", "json", "--db", &url]);
    assert_eq!(ran.code, 0, "{role}: {}{}", ran.out, ran.err);
    ran
}

/// The remedies that are GRANTs.
fn grants(ran: &Ran) -> Vec<String> {
    let json = ran.json();
    let gaps = json["gaps"].as_array().unwrap();
    let remedies = gaps.iter().filter_map(|gap| gap["remedy"].as_str());
    remedies
        .filter(|r| r.starts_with("grant "))
        .map(str::to_owned)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_grants_that_are_named_are_those_that_help() {
    let db = audit_ground::database("roles", SCRIPT).await;
    let client = db.client().await;
    client
        .query("select count(*) from doc where id > 7", &[])
        .await
        .unwrap();
    for role in ["audit_monitor", "audit_plain"] {
        let before = audit(&db, role);
        let rules = before.counted().join("\n");
        assert!(rules.contains("per-row-stable-call"), "{role}: {rules}");
        let named = grants(&before);
        // Before 14 no role may read all data, and nothing but being the owner helps.
        let grantable = role == "audit_plain" || server::server().version().0 >= 14;
        assert!(!named.is_empty() || !grantable, "{role}: {}", before.gaps());
        assert_eq!(
            before.gaps().contains("its own statements"),
            role == "audit_plain",
            "{role}: {}",
            before.gaps()
        );
        for grant in &named {
            assert!(grant.contains(role), "{grant}");
            client
                .batch_execute(grant)
                .await
                .unwrap_or_else(|e| panic!("{grant}: {e:?}"));
        }
        let after = audit(&db, role);
        assert_eq!(
            grants(&after),
            Vec::<String>::new(),
            "{role}: {}",
            after.gaps()
        );
        let snapshot = dbtune(
            tempfile::tempdir().unwrap().path(),
            &["snapshot", "-o", "s.json", "--db", &db.url_as(role)],
        );
        assert_eq!(snapshot.code, 0, "{role}: {}", snapshot.err);
    }
    client
        .batch_execute("drop owned by audit_plain, audit_monitor")
        .await
        .unwrap();
}
