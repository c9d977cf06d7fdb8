use super::sink::Found;
use super::{Category, Facts, PolicyFacts, Sink, rule};
use crate::model::{ObjectKind, Severity};
use crate::sql::predicate::normalised;
use std::collections::{BTreeMap, BTreeSet};

rule! {
    /// ## What it finds
    /// The same policy expression with a sub-select over other tables on five or more tables, the tables' own names
    /// aside.
    ///
    /// ## Why it matters
    /// What makes one of them slow makes all of them slow, and has to be mended in each: a policy that is forgotten stays
    /// slow, or lets rows through that the others do not.
    ///
    /// ## What to do
    /// Put the sub-select into one stable function that returns the permitted keys, and compare each table's column with
    /// `any (array(select f()))`. Then its speed and its correctness are decided in one place.
    /// ```sql,bad
    /// create table member (org int, user_id uuid);
    /// create table t1 (org int);
    /// create table t2 (org int);
    /// create table t3 (org int);
    /// create table t4 (org int);
    /// create table t5 (org int);
    /// do $$ declare t text; begin foreach t in array array['t1', 't2', 't3', 't4', 't5'] loop
    ///   execute format('alter table %1$I enable row level security; create policy own on %1$I for select to app
    ///     using (exists (select from member m where m.org = %1$I.org and m.user_id = (select auth.uid())))', t); end loop; end $$;
    /// ```
    /// ```sql,good
    /// create table member (org int, user_id uuid);
    /// create function my_orgs() returns setof int language sql stable security definer set search_path = ''
    ///   as $$ select m.org from public.member m where m.user_id = (select auth.uid()) $$;
    /// create table t1 (org int);
    /// create table t2 (org int);
    /// create table t3 (org int);
    /// create table t4 (org int);
    /// create table t5 (org int);
    /// do $$ declare t text; begin foreach t in array array['t1', 't2', 't3', 't4', 't5'] loop
    ///   execute format('alter table %1$I enable row level security; create policy own on %1$I for select to app
    ///     using (org = any (array(select my_orgs())))', t); end loop; end $$;
    /// ```
    "copied-predicate" {
        summary: "the same sub-select stands in the policies of many tables",
        category: Category::Speed,
        severity: Severity::Note,
        check: check,
    }
}

/// Fewer copies are not worth a function.
const MANY: usize = 5;
/// As many tables a finding lists.
const LISTED: usize = 20;

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let mut copies: BTreeMap<String, Vec<&PolicyFacts<'_>>> = BTreeMap::new();
    for policy in facts.policies.iter().filter(|p| p.table.rls_enabled) {
        let Some(qual) = &policy.using else { continue };
        // A partition's policies are those of its parent, copied by need.
        if policy.table.partition_of.is_some() || qual.tables_read().is_empty() {
            continue;
        }
        let text = policy.policy.using.as_deref().unwrap_or_default();
        if let Some(text) = normalised(text, &policy.name.name) {
            copies.entry(text).or_default().push(policy);
        }
    }
    for (text, policies) in copies {
        let tables: BTreeSet<String> = policies.iter().map(|p| p.name.to_string()).collect();
        let reads: BTreeSet<String> = policies
            .iter()
            .filter_map(|p| p.using.as_ref())
            .flat_map(|qual| qual.tables_read())
            .map(ToString::to_string)
            .collect();
        if let Some(first) = policies.first().filter(|_| tables.len() >= MANY) {
            report(first, &text, &tables, &reads, sink);
        }
    }
}

fn report(
    first: &PolicyFacts<'_>,
    text: &str,
    tables: &BTreeSet<String>,
    reads: &BTreeSet<String>,
    sink: &mut Sink<'_>,
) {
    let read = reads.iter().cloned().collect::<Vec<_>>().join(", ");
    sink.report(
        Found::new(
            Severity::Note,
            ObjectKind::Policy,
            first.name,
            Some(&first.policy.name),
            format!(
                "its sub-select over {read} stands in the policies of {} tables, word by word",
                tables.len()
            ),
        )
        .evidence("tables", tables.iter().take(LISTED).cloned().collect::<Vec<_>>())
        .evidence("copies", tables.len())
        .evidence("expression", text)
        .advice(
            "Put the sub-select into one stable function that returns the permitted keys, and compare each table's column \
             with any (array(select …)) of it.",
        ),
    );
}
