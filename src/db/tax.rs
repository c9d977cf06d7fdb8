//! What row-level security costs by the planner's reckoning: EXPLAIN of a full read, with and without policies.

use super::catalog::decode::{get, query};
use super::{Error, Limits, Result, Session};
use crate::model::{Catalog, Command, Gap, Name, Node, Plan, Table, TableKind, Tax};
use crate::sql::quote;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Only so many of the largest tables are looked at …
const TABLES: usize = 50;
/// … and so many pairs of a table and a role.
const PLANS: usize = 100;
/// Smaller tables cost little whatever their policies do.
const MIN_ROWS: f64 = 10_000.0;
/// Planning takes a millisecond; what takes longer than this is left alone …
const PLANNING: Duration = Duration::from_millis(500);
/// … and after so many of these the rest is, too.
const PATIENCE: usize = 3;

/// Plans a read of each large guarded table as the roles that its policies apply to, and puts what it costs into the
/// catalog. A bounded number of EXPLAINs, none of them executed; what could not be planned is among the gaps.
pub async fn read_taxes(session: &Session, catalog: &mut Catalog) -> Result<()> {
    let pairs = pairs(catalog);
    if pairs.is_empty() {
        return Ok(());
    }
    let limits = Limits {
        statement: PLANNING,
        lock: PLANNING,
    };
    session.begin_reading(limits).await?;
    let read = plan_all(session, catalog, &pairs).await;
    session.end().await?;
    let (taxes, failures) = read?;
    catalog.taxes = taxes;
    let gaps = failures.into_iter().map(|(why, tables)| Gap {
        what: format!("the cost of policies on {}", shown(&tables)),
        why,
        remedy: None,
    });
    catalog.gaps.extend(gaps);
    Ok(())
}

fn shown(tables: &BTreeSet<String>) -> String {
    let mut first: Vec<&str> = tables.iter().take(3).map(String::as_str).collect();
    let more = format!("{} more", tables.len().saturating_sub(3));
    if tables.len() > 3 {
        first.push(&more);
    }
    first.join(", ")
}

/// The largest tables with the roles that their policies for reading are met by.
fn pairs(catalog: &Catalog) -> Vec<(Name, String)> {
    let mut tables: Vec<(&Name, &Table)> = catalog
        .tables
        .iter()
        .filter(|(_, t)| t.rls_enabled && t.row_estimate() >= MIN_ROWS)
        .filter(|(_, t)| matches!(t.kind, TableKind::Ordinary | TableKind::Partitioned))
        .filter(|(_, t)| t.extension.is_none() && t.partition_of.is_none())
        .collect();
    tables.sort_by(|a, b| {
        let by_rows = b.1.row_estimate().total_cmp(&a.1.row_estimate());
        by_rows.then_with(|| a.0.cmp(b.0))
    });
    let pairs = tables.into_iter().take(TABLES).flat_map(|(name, table)| {
        let roles = roles(catalog, table);
        roles.into_iter().map(|role| (name.clone(), role))
    });
    pairs.take(PLANS).collect()
}

fn roles(catalog: &Catalog, table: &Table) -> BTreeSet<String> {
    let policies = table.policies.iter();
    let reading = policies.filter(|p| p.command.covers(Command::Select) && p.using.is_some());
    let mut roles: BTreeSet<String> = BTreeSet::new();
    for policy in reading {
        if policy.roles.iter().any(|r| r == "public") {
            roles.extend(table.grants.keys().cloned());
        } else {
            roles.extend(policy.roles.iter().cloned());
        }
    }
    roles.retain(|name| {
        let role = catalog.roles.get(name);
        let meets = table.rls_forced || *name != table.owner;
        meets && role.is_some_and(|r| r.settable && !r.superuser && !r.bypass_rls)
    });
    roles
}

/// Reasons, to the tables that could not be planned for them.
type Failures = BTreeMap<String, BTreeSet<String>>;

async fn plan_all(
    session: &Session,
    catalog: &Catalog,
    pairs: &[(Name, String)],
) -> Result<(Vec<Tax>, Failures)> {
    let prepare = "set local search_path = ''; set local max_parallel_workers_per_gather = 0";
    session.execute("set up planning", prepare).await?;
    let mut taxes = Vec::new();
    let mut failures = Failures::new();
    let mut slow = 0;
    let mut without: BTreeMap<&Name, f64> = BTreeMap::new();
    for (name, role) in pairs {
        let Some(table) = catalog.table(name) else {
            continue;
        };
        if slow >= PATIENCE {
            let why = "planning took too long".to_owned();
            failures.entry(why).or_default().insert(name.to_string());
            continue;
        }
        let cost_without = match without.get(name) {
            Some(known) => *known,
            None => {
                let cost = cost_without(session, catalog, name, table).await?;
                without.insert(name, cost);
                cost
            }
        };
        match explain(session, name, Some(role)).await? {
            Ok(plan) => taxes.push(Tax {
                table: name.clone(),
                role: role.clone(),
                cost: plan.total_cost,
                cost_without,
                sub_plans: sub_plans(&plan),
            }),
            // The role may not read the table: nothing is charged.
            Err(error) if error.is("42501") => {}
            Err(error) => {
                slow += usize::from(error.is("57014") || error.is("55P03"));
                let why = format!(
                    "without claims, {role}'s read cannot be planned: {}",
                    reason(&error)
                );
                failures.entry(why).or_default().insert(name.to_string());
            }
        }
    }
    Ok((taxes, failures))
}

/// What a policy's function says in an error may hold what it read; what the server says of names does not.
fn reason(error: &Error) -> String {
    let code = error.sqlstate.as_deref().unwrap_or("unknown");
    if code.starts_with("42") {
        error.message.clone()
    } else {
        format!("SQLSTATE {code}")
    }
}

/// As the connecting role where policies do not apply to it, else by the planner's formula for a sequential scan.
async fn cost_without(
    session: &Session,
    catalog: &Catalog,
    name: &Name,
    table: &Table,
) -> Result<f64> {
    let user = &catalog.server.user;
    let role = catalog.roles.get(user);
    let exempt = catalog.server.user_is_superuser
        || role.is_some_and(|r| r.bypass_rls)
        || *user == table.owner && !table.rls_forced;
    if exempt && let Ok(plan) = explain(session, name, None).await? {
        return Ok(plan.total_cost);
    }
    let page = catalog.server.settings.get("seq_page_cost");
    let page: f64 = page.and_then(|p| p.parse().ok()).unwrap_or(1.0);
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let pages = table.pages as f64;
    Ok(pages * page + table.row_estimate() * 0.01)
}

/// The plan, or why the server makes none; the transaction goes on either way.
async fn explain(
    session: &Session,
    name: &Name,
    role: Option<&str>,
) -> Result<std::result::Result<Plan, Error>> {
    let doing = "plan a full read";
    let become_role = role.map_or_else(String::new, |role| {
        format!("; set local role {}", quote::ident(role))
    });
    session
        .execute(doing, &format!("savepoint dbtune_tax{become_role}"))
        .await?;
    let sql = format!(
        "explain (format json, verbose) select * from {}",
        quote::name(name)
    );
    let planned = match query(session, doing, &sql).await {
        Ok(rows) => match rows.first().map(|row| get_json(row)) {
            Some(Ok(json)) => Plan::from_json(&json).map_err(|m| Error::new(doing, m)),
            Some(Err(error)) => Err(error),
            None => Err(Error::new(doing, "the server returned no plan")),
        },
        Err(error) => Err(error),
    };
    session
        .execute(doing, "rollback to savepoint dbtune_tax")
        .await?;
    Ok(planned)
}

fn get_json(row: &tokio_postgres::Row) -> Result<serde_json::Value> {
    get(row, "QUERY PLAN")
}

/// Relations read below sub-plans; those read once, for an init-plan, cost nothing per row.
fn sub_plans(plan: &Plan) -> Vec<Name> {
    fn visit(node: &Node, inside: bool, found: &mut BTreeSet<Name>) {
        let inside = inside || node.relationship.as_deref() == Some("SubPlan");
        if inside {
            found.extend(node.relation.clone());
        }
        for child in &node.children {
            visit(child, inside, found);
        }
    }
    let mut found = BTreeSet::new();
    visit(&plan.root, false, &mut found);
    found.into_iter().collect()
}
