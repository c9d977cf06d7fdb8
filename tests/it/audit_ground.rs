//! Databases to audit: roles and an `auth` schema as API servers have them.

use crate::server::{self, Db};
use dbtune::db::{Session, Target, read_catalog, read_statements, read_taxes};
use dbtune::model::{Catalog, Finding, Gap, Statements};
use dbtune::rules::{self, Scope};

const BASE: &str = "
do $$ declare r text; begin
  foreach r in array array['app', 'anon'] loop
    begin
      execute format('create role %I nologin', r);
    exception when duplicate_object or unique_violation then null;
    end;
  end loop;
end $$;
do $$ begin create role site_owner login; exception when duplicate_object or unique_violation then null; end $$;
do $$ begin create role back_office login bypassrls; exception when duplicate_object or unique_violation then null; end $$;
create schema auth;
create function auth.jwt() returns jsonb language sql stable
  as $$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb $$;
create function auth.uid() returns uuid language sql stable
  as $$ select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid $$;
grant usage on schema auth to app, anon;
";

// Before 15 a session sends its statistics when a statement ends half a second or more after the last time.
const FLUSH: &str = "
do $$ begin
  perform pg_stat_force_next_flush();
exception when undefined_function then
  perform pg_sleep(0.6);
end $$";

/// A database of its own with [`BASE`] and then `script` in it, statement by statement.
pub(crate) async fn database(label: &str, script: &str) -> Db {
    let template = server::template("audit_base", &[BASE.to_owned()]).await;
    let db = server::fresh_from(label, template).await;
    let client = db.client().await;
    for statement in script.split(";\n").filter(|s| !s.trim().is_empty()) {
        let done = client.batch_execute(statement).await;
        // Only a concurrent build may fail: that is how an invalid index comes about.
        assert!(
            done.is_ok() || statement.contains("concurrently"),
            "{label}: {statement}: {done:?}"
        );
    }
    // Twice: before 15, readers are content with what was written half a second ago.
    for _ in 0..2 {
        client.batch_execute(FLUSH).await.unwrap();
    }
    db
}

pub(crate) async fn read(url: &str) -> (Catalog, Option<Statements>) {
    if server::server().version().0 < 15 {
        // A process of its own gathers the statistics there, and writes them out twice a second.
        tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    }
    let target = Target::resolve(Some(url), &server::environment()).unwrap();
    let session = Session::connect(&target, "test").await.unwrap();
    let mut catalog = read_catalog(&session)
        .await
        .unwrap_or_else(|e| panic!("{e}"));
    let statements = read_statements(&session, &mut catalog)
        .await
        .unwrap_or_else(|e| panic!("{e}"));
    read_taxes(&session, &mut catalog)
        .await
        .unwrap_or_else(|e| panic!("{e}"));
    (catalog, statements)
}

pub(crate) async fn audit(url: &str) -> (Vec<Finding>, Vec<Gap>) {
    let (mut catalog, statements) = read(url).await;
    // As if the statistics had counted for a month.
    catalog.server.stats_since = catalog
        .server
        .read_at
        .map(|now| now - chrono::TimeDelta::days(30));
    let (findings, gaps) = rules::audit(&catalog, statements.as_ref(), &Scope::default());
    (findings, [catalog.gaps, gaps].concat())
}

/// `rule object`, for comparing.
pub(crate) fn labels(findings: &[Finding]) -> Vec<String> {
    let mut labels: Vec<_> = findings
        .iter()
        .map(|f| format!("{} {}", f.rule, f.object))
        .collect();
    labels.sort();
    labels
}
