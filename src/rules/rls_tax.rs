use super::sink::{Found, count};
use super::{Category, Facts, PolicyFacts, Sink, rule};
use crate::model::{Command, Name, ObjectKind, Severity, Tax};
use crate::sql::inline;
use crate::sql::qual::Frequency;
use std::collections::{BTreeMap, BTreeSet};

rule! {
    /// ## What it finds
    /// A large table that the planner reckons to cost at least twice as much to read under its policies as without them.
    /// Asked by EXPLAIN of a full read, as each role that the policies apply to and that dbtune may become; nothing is
    /// run, no claims are set, and at most 100 plans are made, of the 50 largest tables.
    ///
    /// ## Why it matters
    /// It is what row-level security costs each statement that no index narrows: reports, counts, exports, joins.
    ///
    /// ## What to do
    /// Look at the findings on the policies it names, the functions and sub-selects that run for each row above all.
    /// ```sql,bad
    /// create table doc (id int primary key, tenant int not null);
    /// insert into doc select n, n % 10 from generate_series(1, 60000) n;
    /// create function may_see(t int) returns boolean language plpgsql stable
    ///   as $$ begin return t = current_setting('app.tenant', true)::int; end $$;
    /// grant select on doc to app;
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (may_see(tenant));
    /// analyze doc;
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, tenant int not null);
    /// insert into doc select n, n % 10 from generate_series(1, 60000) n;
    /// create index on doc (tenant);
    /// grant select on doc to app;
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (tenant = (select current_setting('app.tenant', true)::int));
    /// analyze doc;
    /// ```
    "rls-tax" {
        summary: "policies make reading a table cost a multiple",
        category: Category::Speed,
        check: check,
    }
}

/// In the planner's units: about what reading 10,000 pages costs.
const WORTH_A_WORD: f64 = 10_000.0;
const WORTH_A_WARNING: f64 = 100_000.0;
const WORTH_AN_ERROR: f64 = 10_000_000.0;

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let mut by_table: BTreeMap<&Name, Vec<&Tax>> = BTreeMap::new();
    for tax in &facts.catalog.taxes {
        by_table.entry(&tax.table).or_default().push(tax);
    }
    let mut found = false;
    for (name, taxes) in by_table {
        let worst = taxes.iter().max_by(|a, b| a.cost.total_cmp(&b.cost));
        let Some(worst) = worst else { continue };
        let extra = worst.cost - worst.cost_without;
        if extra >= WORTH_A_WORD && worst.cost >= 2.0 * worst.cost_without {
            report(facts, name, worst, &taxes, sink);
            found = true;
        }
    }
    if found {
        sink.gap(
            "the costs are reckoned without claims: how many rows a user sees, and what that costs, is the planner's guess",
            Some("dbtune propose, which plans each query of a workload as a persona with its claims".to_owned()),
        );
    }
}

fn report(facts: &Facts<'_>, name: &Name, worst: &Tax, taxes: &[&Tax], sink: &mut Sink<'_>) {
    let extra = worst.cost - worst.cost_without;
    let severity = if extra >= WORTH_AN_ERROR {
        Severity::Error
    } else if extra >= WORTH_A_WARNING {
        Severity::Warning
    } else {
        Severity::Note
    };
    let times = worst.cost / worst.cost_without.max(1.0);
    let reasons = reasons(facts, name, worst);
    let by = reasons
        .iter()
        .map(|(policy, why)| format!("{policy} ({})", why.join(", ")))
        .collect::<Vec<_>>();
    let blamed = if by.is_empty() {
        String::new()
    } else {
        format!(", by {}", by.join("; "))
    };
    let costs: BTreeMap<&str, f64> = taxes.iter().map(|t| (t.role.as_str(), t.cost)).collect();
    sink.report(
        Found::new(
            severity,
            ObjectKind::Table,
            name,
            None,
            format!(
                "reading it as {} costs {} by the planner's reckoning, {} without policies: {times:.1} times as much{blamed}",
                worst.role,
                count(worst.cost),
                count(worst.cost_without),
            ),
        )
        .evidence("cost", worst.cost)
        .evidence("cost_without", worst.cost_without)
        .evidence("ratio", times)
        .evidence("costs_by_role", serde_json::json!(costs))
        .evidence("policies", reasons.into_keys().collect::<Vec<_>>())
        .advice("Look at the findings on these policies; `dbtune propose` rewrites what it can prove."),
    );
}

/// The policies that run something for each row, with what that is.
fn reasons<'f>(facts: &'f Facts<'_>, name: &Name, tax: &Tax) -> BTreeMap<&'f str, Vec<String>> {
    let mut found = BTreeMap::new();
    let applying = facts.policies_of(name).iter().filter(|p| {
        p.policy.command.covers(Command::Select) && facts.catalog.applies_to(p.policy, &tax.role)
    });
    for policy in applying {
        let why = per_row(facts, policy, tax);
        if !why.is_empty() {
            found.insert(policy.policy.name.as_str(), why.into_iter().collect());
        }
    }
    found
}

fn per_row(facts: &Facts<'_>, policy: &PolicyFacts<'_>, tax: &Tax) -> BTreeSet<String> {
    let mut why = BTreeSet::new();
    let Some(qual) = &policy.using else {
        return why;
    };
    for table in qual.tables_read() {
        if tax.sub_plans.contains(table) {
            why.insert(format!("a sub-plan over {table}"));
        }
    }
    for call in qual.calls.iter().filter(|c| !c.schema.is_empty()) {
        let functions = facts.functions(call);
        let folded = functions
            .iter()
            .all(|f| inline::blockers(f, facts.catalog).is_empty());
        if qual.frequency(call) == Frequency::PerRow && !folded {
            why.insert(format!("{}.{}()", call.schema, call.name));
        }
    }
    why
}
