//! One file a rule. A rule is a value: metadata, documentation and a pure function from [`Facts`] to findings.

use crate::model::{Catalog, Finding, Gap, Severity, Statements};

mod analysed;
mod exposure;
mod facts;
mod fix;
mod meaning;
mod reach;
mod resolution;
mod running;
mod sensitive;
mod sink;
mod tested;
mod visits;

mod always_false_policy;
mod always_true_policy;
mod anonymous_write;
mod auth_users_exposed;
mod bucket_listing;
mod bypassrls_role;
mod measure;
mod traffic;

mod autovacuum_off;
mod bloated_index;
mod bloated_table;
mod cache_misses;
mod caching_candidate;
mod cast_on_policy_column;
mod checks_cross_over;
mod child_bypasses_parent_policies;
mod column_free_branch;
mod condition_not_leakproof;
mod connections_near_limit;
mod contradicting_settings;
mod copied_predicate;
mod correlated_subselect_policy;
mod dead_rows;
mod deadlocks;
mod default_privileges_to_public;
mod disk_page_cost;
mod dominant_statement;
mod duplicate_index;
mod duplicate_policy;
mod email_in_policy;
mod exists_without_caller;
mod exposed_security_definer;
mod exposed_table_without_rls;
mod extension_in_api_schema;
mod forced_checkpoints;
mod foreign_key_oracle;
mod foreign_key_to_auth_unique;
mod foreign_table_exposed;
mod function_on_policy_column;
mod function_out_of_reach;
mod graphql_exposed;
mod half_converted_binding;
mod identity_compared_with_literal;
mod idle_in_transaction;
mod idle_restrictive_policy;
mod immutable_session_function;
mod in_subselect_policy;
mod invalid_index;
mod io_timing_off;
mod leakproof_function;
mod lost_replication_slot;
mod materialized_view_exposed;
mod missing_policy_statistics;
mod multiple_permissive_policies;
mod mutable_search_path;
mod nested_policies;
mod never_analyzed;
mod no_primary_key;
mod no_write_policy;
mod non_hot_updates;
mod nullable_scope_column;
mod only_restrictive_policies;
mod outdated_extension;
mod over_indexed_table;
mod owner_bypasses_policies;
mod parallel_unsafe_policy_function;
mod parameter_sensitive_statement;
mod pattern_from_session;
mod per_row_column_call;
mod per_row_stable_call;
mod placeholder_policy_name;
mod planning_time;
mod policies_without_rls;
mod policy_for_bypassing_role;
mod policy_for_public;
mod policy_function_not_executable;
mod policy_reads_unguarded_table;
mod policy_recursion;
mod policy_table_not_readable;
mod policy_without_column;
mod policy_without_condition;
mod policy_without_pruning;
mod principal_column_unused;
mod realtime_without_rls;
mod redundant_index;
mod reg_type_column;
mod repeated_lookup;
mod rls_tax;
mod rls_without_policies;
mod role_keyed_policy;
mod role_without_timeouts;
mod security_definer_under_rls;
mod sensitive_column_granted;
mod sequential_scans;
mod setting_without_default;
mod several_rows_for_one_value;
mod slow_statement;
mod stale_statistics;
mod storage_policy_without_bucket;
mod sub_select_ignores_row;
mod temp_spill;
mod transaction_wraparound;
mod trigger_bypasses_policies;
mod true_branch;
mod true_without_login;
mod uncorrelated_brin;
mod unindexed_foreign_key;
mod unindexed_policy_column;
mod unique_across_tenants;
mod unknown_role_in_policy;
mod unqualified_setting;
mod unreachable_partial_index;
mod unused_index;
mod update_without_select;
mod user_editable_claim;
mod vacuum_held_back;
mod view_bypasses_rls;
mod view_calls_security_definer;
mod view_without_security_barrier;
mod void_column_grant;
mod volatile_policy_function;
mod write_check_drops_scope;

pub use facts::{Facts, PolicyFacts};
pub use sink::Sink;

/// Every rule, in the order the documentation lists them.
pub static ALL: &[&Rule] = &[
    &unindexed_policy_column::RULE,
    &per_row_stable_call::RULE,
    &per_row_column_call::RULE,
    &correlated_subselect_policy::RULE,
    &in_subselect_policy::RULE,
    &cast_on_policy_column::RULE,
    &function_on_policy_column::RULE,
    &column_free_branch::RULE,
    &condition_not_leakproof::RULE,
    &nested_policies::RULE,
    &rls_tax::RULE,
    &policy_without_pruning::RULE,
    &copied_predicate::RULE,
    &volatile_policy_function::RULE,
    &multiple_permissive_policies::RULE,
    &policy_for_public::RULE,
    &parallel_unsafe_policy_function::RULE,
    &policies_without_rls::RULE,
    &rls_without_policies::RULE,
    &policy_recursion::RULE,
    &policy_function_not_executable::RULE,
    &function_out_of_reach::RULE,
    &policy_table_not_readable::RULE,
    &view_bypasses_rls::RULE,
    &mutable_search_path::RULE,
    &security_definer_under_rls::RULE,
    &exposed_table_without_rls::RULE,
    &child_bypasses_parent_policies::RULE,
    &foreign_table_exposed::RULE,
    &materialized_view_exposed::RULE,
    &auth_users_exposed::RULE,
    &exposed_security_definer::RULE,
    &sensitive_column_granted::RULE,
    &void_column_grant::RULE,
    &default_privileges_to_public::RULE,
    &owner_bypasses_policies::RULE,
    &bypassrls_role::RULE,
    &trigger_bypasses_policies::RULE,
    &leakproof_function::RULE,
    &view_calls_security_definer::RULE,
    &view_without_security_barrier::RULE,
    &principal_column_unused::RULE,
    &unique_across_tenants::RULE,
    &foreign_key_oracle::RULE,
    &realtime_without_rls::RULE,
    &bucket_listing::RULE,
    &graphql_exposed::RULE,
    &extension_in_api_schema::RULE,
    &outdated_extension::RULE,
    &foreign_key_to_auth_unique::RULE,
    &reg_type_column::RULE,
    &always_true_policy::RULE,
    &true_branch::RULE,
    &idle_restrictive_policy::RULE,
    &always_false_policy::RULE,
    &only_restrictive_policies::RULE,
    &role_keyed_policy::RULE,
    &setting_without_default::RULE,
    &unqualified_setting::RULE,
    &identity_compared_with_literal::RULE,
    &pattern_from_session::RULE,
    &nullable_scope_column::RULE,
    &user_editable_claim::RULE,
    &email_in_policy::RULE,
    &exists_without_caller::RULE,
    &sub_select_ignores_row::RULE,
    &unknown_role_in_policy::RULE,
    &true_without_login::RULE,
    &write_check_drops_scope::RULE,
    &checks_cross_over::RULE,
    &several_rows_for_one_value::RULE,
    &immutable_session_function::RULE,
    &storage_policy_without_bucket::RULE,
    &half_converted_binding::RULE,
    &policy_without_condition::RULE,
    &policy_without_column::RULE,
    &update_without_select::RULE,
    &anonymous_write::RULE,
    &no_write_policy::RULE,
    &policy_for_bypassing_role::RULE,
    &policy_reads_unguarded_table::RULE,
    &placeholder_policy_name::RULE,
    &duplicate_policy::RULE,
    &unindexed_foreign_key::RULE,
    &invalid_index::RULE,
    &duplicate_index::RULE,
    &redundant_index::RULE,
    &unused_index::RULE,
    &no_primary_key::RULE,
    &bloated_table::RULE,
    &bloated_index::RULE,
    &over_indexed_table::RULE,
    &non_hot_updates::RULE,
    &uncorrelated_brin::RULE,
    &unreachable_partial_index::RULE,
    &never_analyzed::RULE,
    &missing_policy_statistics::RULE,
    &slow_statement::RULE,
    &autovacuum_off::RULE,
    &stale_statistics::RULE,
    &dead_rows::RULE,
    &vacuum_held_back::RULE,
    &lost_replication_slot::RULE,
    &transaction_wraparound::RULE,
    &idle_in_transaction::RULE,
    &connections_near_limit::RULE,
    &role_without_timeouts::RULE,
    &dominant_statement::RULE,
    &temp_spill::RULE,
    &planning_time::RULE,
    &parameter_sensitive_statement::RULE,
    &repeated_lookup::RULE,
    &sequential_scans::RULE,
    &cache_misses::RULE,
    &caching_candidate::RULE,
    &deadlocks::RULE,
    &forced_checkpoints::RULE,
    &contradicting_settings::RULE,
    &disk_page_cost::RULE,
    &io_timing_off::RULE,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Category {
    /// What makes row-level security slow.
    Speed,
    /// What makes it unsafe or broken.
    Safety,
    Index,
    Workload,
}

pub struct Rule {
    /// Names the problem, in words joined by hyphens; the same in file, configuration, JSON and documentation.
    pub id: &'static str,
    pub summary: &'static str,
    pub category: Category,
    /// How it usually is on a database in use; a finding's own severity follows what it costs there.
    pub severity: Severity,
    /// The first major version of PostgreSQL that it can happen on.
    pub since: u32,
    /// Rules of other linters that say the same, as `tool: name`.
    pub also: &'static [&'static str],
    /// Markdown: what it finds, why it matters, what to do, with bad and good SQL.
    pub docs: &'static str,
    check: fn(&Facts<'_>, &mut Sink<'_>),
}

/// The oldest major version of PostgreSQL that dbtune works with.
const OLDEST: u32 = 13;

impl Category {
    pub fn label(self) -> &'static str {
        match self {
            Self::Speed => "speed",
            Self::Safety => "safety",
            Self::Index => "index",
            Self::Workload => "workload",
        }
    }
}

impl Rule {
    /// Category, usual severity and the names other linters know it by, in one line.
    pub fn facts(&self) -> String {
        let since = if self.since > OLDEST {
            format!(" · since PostgreSQL {}", self.since)
        } else {
            String::new()
        };
        let also = if self.also.is_empty() {
            String::new()
        } else {
            format!(" · also known as {}", self.also.join(", "))
        };
        format!(
            "{} · usually {}{since}{also}",
            self.category.label(),
            self.severity.label()
        )
    }
}

/// What a rule is where its declaration says nothing.
const USUAL: Rule = Rule {
    id: "",
    summary: "",
    category: Category::Safety,
    severity: Severity::Warning,
    since: OLDEST,
    also: &[],
    docs: "",
    check: |_, _| {},
};

/// What an audit looks for.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Empty for all.
    pub schemas: Vec<String>,
    /// Rule ids; empty for all.
    pub only: Vec<String>,
    pub skip: Vec<String>,
    /// Target of a statement's 95th percentile, in milliseconds.
    pub slo_ms: f64,
}

impl Default for Scope {
    fn default() -> Self {
        Self {
            schemas: Vec::new(),
            only: Vec::new(),
            skip: Vec::new(),
            slo_ms: 100.0,
        }
    }
}

pub fn find(id: &str) -> Option<&'static Rule> {
    ALL.iter().copied().find(|rule| rule.id == id)
}

/// Runs the rules. What a rule could not judge is among the gaps.
pub fn audit(
    catalog: &Catalog,
    statements: Option<&Statements>,
    scope: &Scope,
) -> (Vec<Finding>, Vec<Gap>) {
    let facts = Facts::new(catalog, statements, scope.slo_ms);
    let wanted: Vec<&'static Rule> = ALL
        .iter()
        .copied()
        .filter(|rule| {
            let named = |ids: &[String]| ids.iter().any(|id| id == rule.id);
            (scope.only.is_empty() || named(&scope.only)) && !named(&scope.skip)
        })
        .collect();
    let (mut findings, more) = running::run(&facts, &wanted);
    let mut gaps = facts.gaps.clone();
    gaps.extend(more);
    drop_second_advice(&mut findings);
    // Statements and the database itself belong to no schema.
    findings.retain(|f| {
        scope.schemas.is_empty()
            || f.object.name.schema.is_empty()
            || scope.schemas.contains(&f.object.name.schema)
    });
    (findings, gaps)
}

/// One index may serve a policy and a foreign key: then the policy's finding, which weighs more, is enough.
fn drop_second_advice(findings: &mut Vec<Finding>) {
    let made: std::collections::BTreeSet<String> = findings
        .iter()
        .filter(|f| f.rule == unindexed_policy_column::RULE.id)
        .filter_map(|f| f.fix.clone())
        .collect();
    findings.retain(|f| {
        f.rule != unindexed_foreign_key::RULE.id
            || f.fix.as_ref().is_none_or(|fix| !made.contains(fix))
    });
}

/// Below this many rows nothing is worth a word about speed.
pub(crate) const FEW_ROWS: f64 = 1_000.0;

/// How much a row-by-row cost weighs on a table of `rows` rows.
fn by_rows(rows: f64) -> Severity {
    if rows >= 100_000.0 {
        Severity::Error
    } else if rows >= 10_000.0 {
        Severity::Warning
    } else {
        Severity::Note
    }
}

/// Declares `RULE`, taking its documentation from the doc comment above it.
macro_rules! rule {
    ($(#[doc = $doc:expr])+ $id:literal { $($field:ident: $value:expr,)* }) => {
        $(#[doc = $doc])+
        pub(super) static RULE: crate::rules::Rule = crate::rules::Rule {
            id: $id,
            docs: concat!($($doc, "\n",)+),
            $($field: $value,)*
            ..crate::rules::USUAL
        };
    };
}
use rule;
