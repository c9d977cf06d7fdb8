//! Policies behind policies, followed through functions.

use crate::audit_ground::{audit, database};
use dbtune::model::Finding;

const BASE: &str = "
create table member (user_id uuid, org int);
create table project (id int primary key, org int);
insert into project select n, n % 100 from generate_series(1, 20000) n;
create table task (id int primary key, project_id int);
insert into task select n, n from generate_series(1, 20000) n;
alter table member enable row level security;
alter table project enable row level security;
alter table task enable row level security;
do $$ begin create role project_reader nologin; exception when duplicate_object then null; end $$;
grant usage on schema auth to project_reader;
grant select on member, project, task to app, project_reader;
create policy own on member for select to app, project_reader using (user_id = (select auth.uid()));
create policy mine on project for select to app, project_reader
  using (exists (select from member m where m.org = project.org and m.user_id = (select auth.uid())));
";

async fn nested(label: &str, function: &str, policy: &str) -> Vec<Finding> {
    let policy = format!("create policy mine on task for select to app using ({policy});\nanalyze;\n");
    let db = database(label, &format!("{BASE}{function};\n{policy}")).await;
    let (findings, _) = audit(&db.url).await;
    let mut findings: Vec<_> = findings
        .into_iter()
        .filter(|f| f.rule == "nested-policies")
        .collect();
    findings.retain(|f| f.object.name.name == "task");
    findings
}

#[tokio::test]
async fn a_function_brings_the_policies_of_what_it_reads() {
    let sql = "create function my_projects() returns setof int language sql stable set search_path = ''
  as $$ select p.id from public.project p $$";
    let plpgsql = "create function my_projects() returns setof int language plpgsql stable set search_path = ''
  as $$ begin return query select p.id from public.project p; end $$";
    for (label, function) in [("nested_sql", sql), ("nested_plpgsql", plpgsql)] {
        let found = nested(label, function, "project_id = any (array(select my_projects()))").await;
        let [finding] = found.as_slice() else {
            panic!("{label}: {found:#?}")
        };
        assert_eq!(finding.evidence["functions"][0], "public.my_projects");
        assert_eq!(finding.evidence["tables"][0], "public.project");
        assert_eq!(finding.evidence["rows"], 20_000.0);
    }
}

#[tokio::test]
async fn a_definer_ends_the_chain_only_where_policies_do_not_apply_to_him() {
    let function = |owner: &str| {
        format!(
            "create function my_projects() returns setof int language sql stable security definer set search_path = ''
  as $$ select p.id from public.project p $$;\nalter function my_projects() owner to {owner}"
        )
    };
    let policy = "project_id = any (array(select my_projects()))";
    let found = nested("nested_held", &function("project_reader"), policy).await;
    assert_eq!(found.len(), 1, "{found:#?}");
    let found = nested("nested_free", &function("postgres"), policy).await;
    assert!(found.is_empty(), "{found:#?}");
}

#[tokio::test]
async fn a_lookup_by_an_index_counts_once_a_call() {
    let function = "create function sees(wanted int) returns boolean language sql stable set search_path = ''
  as $$ select exists (select from public.project p where p.id = wanted) $$";
    // Once for each row of the outer table …
    let found = nested("nested_per_row", function, "sees(project_id)").await;
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0].evidence["rows"], 20_000.0);
    // … and once for the whole statement.
    let found = nested("nested_once", function, "(select sees(1))").await;
    assert!(found.is_empty(), "{found:#?}");
}
