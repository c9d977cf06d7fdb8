use super::FEW_ROWS;
use super::analysed::analyse;
use super::exposure::Exposure;
use super::meaning::Bodies;
use super::traffic::Traffic;
use super::visits::Visits;
use crate::model::{
    Catalog, Command, Function, Gap, Index, Name, Policy, Statements, Table, Volatility,
};
use crate::sql::inline;
use crate::sql::qual::{Call, Clause, ColumnUse, Form, Frequency, Qual, Scope};
use std::collections::{BTreeMap, BTreeSet};

/// What rules judge, with what several of them need worked out once.
pub struct Facts<'a> {
    pub catalog: &'a Catalog,
    pub statements: Option<&'a Statements>,
    pub slo_ms: f64,
    /// Every policy of every table, analysed; by table, then policy name.
    pub policies: Vec<PolicyFacts<'a>>,
    /// Expressions that were not understood.
    pub gaps: Vec<Gap>,
    pub(super) exposure: Exposure<'a>,
    functions: BTreeMap<(&'a str, &'a str), Vec<&'a Function>>,
    /// The same by name alone.
    named: BTreeMap<&'a str, Vec<&'a Function>>,
    /// Bodies of the functions that policies call, and of those that they call.
    pub(super) bodies: Bodies,
    /// Columns that a policy compares with something: an index that starts with one may serve the policy.
    compared: BTreeSet<(Name, String)>,
    /// Functions called volatile whose text the server puts in place of the call: how volatile that is.
    folded: BTreeMap<u32, Volatility>,
    /// Tables to those whose policies read them.
    read_by_policies: BTreeMap<Name, BTreeSet<&'a Name>>,
    pub(super) visits: Visits<'a>,
    /// Read from the statements when a rule asks for it first.
    traffic: std::sync::OnceLock<Option<Traffic<'a>>>,
}

pub struct PolicyFacts<'a> {
    pub name: &'a Name,
    pub table: &'a Table,
    pub policy: &'a Policy,
    pub using: Option<Qual>,
    pub check: Option<Qual>,
}

impl PolicyFacts<'_> {
    /// `USING` and `WITH CHECK`, as far as there and understood.
    pub(super) fn quals(&self) -> impl Iterator<Item = (&'static str, &Qual)> {
        let using = self.using.as_ref().map(|q| ("USING", q));
        let check = self.check.as_ref().map(|q| ("WITH CHECK", q));
        using.into_iter().chain(check)
    }

    /// Whether the policy filters the rows of a scan.
    pub(super) fn reads(&self) -> bool {
        self.policy.command != Command::Insert
    }
}

impl<'a> Facts<'a> {
    pub fn new(catalog: &'a Catalog, statements: Option<&'a Statements>, slo_ms: f64) -> Self {
        let (policies, gaps) = analyse(catalog);
        let mut functions: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let mut named: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for function in &catalog.functions {
            let key = (function.name.schema.as_str(), function.name.name.as_str());
            functions.entry(key).or_default().push(function);
            let name = function.name.name.as_str();
            named.entry(name).or_default().push(function);
        }
        let compared = policies
            .iter()
            .flat_map(PolicyFacts::quals)
            .flat_map(|(_, qual)| qual.tests())
            .filter_map(|(_, test)| test.form.index_column())
            .filter_map(|column| Some((column.table.clone()?, column.column.clone())))
            .collect();
        let mut read_by_policies: BTreeMap<Name, BTreeSet<&'a Name>> = BTreeMap::new();
        for policy in &policies {
            for read in policy.quals().flat_map(|(_, qual)| qual.tables_read()) {
                let by = read_by_policies.entry(read.clone()).or_default();
                by.insert(policy.name);
            }
        }
        let mut folded = BTreeMap::new();
        for call in policies
            .iter()
            .flat_map(PolicyFacts::quals)
            .flat_map(|(_, q)| &q.calls)
        {
            let named = functions.get(&(call.schema.as_str(), call.name.as_str()));
            for function in named.into_iter().flatten() {
                if function.volatility == Volatility::Volatile
                    && !folded.contains_key(&function.oid)
                {
                    let volatility = inline::folded_volatility(function, catalog);
                    folded.insert(function.oid, volatility.unwrap_or(Volatility::Volatile));
                }
            }
        }
        let bodies = Bodies::of(&policies, &functions);
        Self {
            catalog,
            statements,
            slo_ms,
            policies,
            gaps,
            exposure: Exposure::new(catalog),
            functions,
            named,
            bodies,
            compared,
            folded,
            read_by_policies,
            visits: Visits::new(catalog, statements),
            traffic: std::sync::OnceLock::new(),
        }
    }

    /// The tables whose policies read `table` in a sub-select.
    pub(super) fn read_by_policies_of(&self, table: &Name) -> impl Iterator<Item = &'a Name> {
        let by = self.read_by_policies.get(table);
        by.into_iter()
            .flatten()
            .copied()
            .filter(move |t| *t != table)
    }

    /// What statements do to which tables; `None` where no statements are known.
    pub(super) fn traffic(&self) -> Option<&Traffic<'a>> {
        self.traffic
            .get_or_init(|| Some(Traffic::new(self.catalog, self.statements?, &self.visits)))
            .as_ref()
    }

    /// Whether a policy compares the column, of this table, with something.
    pub(super) fn compares(&self, table: &Name, column: &str) -> bool {
        self.compared.contains(&(table.clone(), column.to_owned()))
    }

    /// The policies of one table.
    pub(super) fn policies_of(&self, name: &Name) -> &[PolicyFacts<'a>] {
        let start = self.policies.partition_point(|p| p.name < name);
        let end = self.policies.partition_point(|p| p.name <= name);
        self.policies.get(start..end).unwrap_or_default()
    }

    /// The functions that `call` may mean: those of that name with room for as many arguments.
    pub(super) fn functions(&self, call: &Call) -> Vec<&'a Function> {
        self.functions_named(&call.schema, &call.name, call.arguments)
    }

    /// [`Facts::functions`] by name and number of arguments.
    pub(super) fn functions_named(
        &self,
        schema: &str,
        name: &str,
        arguments: usize,
    ) -> Vec<&'a Function> {
        let schema = if schema.is_empty() {
            "pg_catalog"
        } else {
            schema
        };
        let named = self.functions.get(&(schema, name));
        let named = named.map_or(&[][..], Vec::as_slice);
        let exact: Vec<_> = named
            .iter()
            .filter(|f| f.argument_types.len() == arguments)
            .copied()
            .collect();
        if exact.is_empty() {
            named.to_vec()
        } else {
            exact
        }
    }

    /// The functions of that name in one schema; `pg_catalog` where it is empty.
    pub(super) fn functions_in(&self, schema: &str, name: &str) -> Vec<&'a Function> {
        let schema = if schema.is_empty() {
            "pg_catalog"
        } else {
            schema
        };
        let named = self.functions.get(&(schema, name));
        named.cloned().unwrap_or_default()
    }

    /// The functions of that name in any schema.
    pub(super) fn functions_anywhere(&self, name: &str) -> Vec<&'a Function> {
        self.named.get(name).cloned().unwrap_or_default()
    }

    /// Whether `role` may call the function.
    pub(super) fn may_execute(&self, function: &Function, role: &str) -> bool {
        function
            .executors
            .iter()
            .any(|granted| granted == "public" || self.acts_as(role, granted))
            || self.acts_as(role, &function.owner)
    }

    /// Roles that meet the policy: those it names, or all with a grant on the table.
    pub(super) fn roles_of<'f>(&'f self, policy: &'f PolicyFacts<'_>) -> Vec<&'f str> {
        let grants = &policy.table.grants;
        let everybody = policy.policy.roles.iter().any(|r| r == "public");
        let candidates: BTreeSet<&str> = if everybody {
            grants.keys().map(String::as_str).collect()
        } else {
            policy.policy.roles.iter().map(String::as_str).collect()
        };
        candidates
            .into_iter()
            .filter(|role| *role != "public" && self.meets_policies(role, policy.table))
            .filter(|role| {
                grants
                    .keys()
                    .any(|granted| granted == "public" || self.acts_as(role, granted))
            })
            .collect()
    }

    /// `None` where the function is not known. What is folded into the query is as volatile as its body.
    pub(super) fn volatility(&self, call: &Call) -> Option<Volatility> {
        let told = |f: &Function| self.folded.get(&f.oid).copied().unwrap_or(f.volatility);
        let known = self.functions(call).into_iter().map(told).max();
        known.or_else(|| {
            let builtin = || self.catalog.builtins.get(&call.name).copied();
            call.schema
                .is_empty()
                .then(|| builtin().unwrap_or(Volatility::Immutable))
        })
    }

    /// Whether `role` has the privileges of `granted`: is it, or inherits from it.
    pub(super) fn acts_as(&self, role: &str, granted: &str) -> bool {
        role == granted
            || self.catalog.roles.get(role).is_some_and(|r| {
                r.superuser || r.inherit && r.member_of.iter().any(|m| m == granted)
            })
    }

    /// Whether row-level security, where it is on, applies to `role`.
    pub(super) fn meets_policies(&self, role: &str, table: &Table) -> bool {
        let bypasses = self
            .catalog
            .roles
            .get(role)
            .is_some_and(|r| r.superuser || r.bypass_rls);
        !bypasses && (table.rls_forced || !self.acts_as(role, &table.owner))
    }

    /// The table, where it holds enough rows for speed to matter.
    pub(super) fn large(&self, name: &Name) -> Option<&'a Table> {
        self.catalog
            .table(name)
            .filter(|table| table.row_estimate() >= FEW_ROWS)
    }

    /// Whether an index can find the rows that satisfy the conjunction in the scope's tables.
    pub(super) fn indexable(&self, scope: &Scope, clauses: &[Clause]) -> bool {
        clauses.iter().any(|clause| match clause {
            Clause::Test(test) => test
                .form
                .index_column()
                .is_some_and(|column| self.index_leads(column, scope)),
            Clause::AnyOf(branches) => branches.iter().all(|b| self.indexable(scope, b)),
        })
    }

    /// Whether a usable index has the column as its first key.
    pub(super) fn index_leads(&self, column: &ColumnUse, scope: &Scope) -> bool {
        let Some(table) = column.table.as_ref().and_then(|t| self.catalog.table(t)) else {
            return false;
        };
        table
            .indexes
            .iter()
            .any(|index| leads(index, &column.column) && self.implied(index, column, scope))
    }

    /// Whether a partial index can be used: its predicate is over columns that the conditions speak of as well.
    fn implied(&self, index: &Index, column: &ColumnUse, scope: &Scope) -> bool {
        let (Some(predicate), Some(table)) = (&index.predicate, &column.table) else {
            return true;
        };
        Qual::of_policy(predicate, table, self.catalog).is_ok_and(|wanted| {
            let used = columns(&scope.filter);
            let mut wanted = wanted.tests().into_iter().flat_map(|(_, t)| &t.columns);
            wanted.all(|c| used.contains(&c.column.as_str()))
        })
    }

    /// Whether a usable index starts with an expression over the column.
    pub(super) fn expression_indexed(&self, name: &Name, column: &str) -> bool {
        let indexes = self.catalog.table(name).map_or(&[][..], |t| &t.indexes);
        indexes.iter().filter(|i| i.valid).any(|index| {
            let first = index.keys.first().and_then(|k| k.expression.as_ref());
            first.is_some_and(|text| {
                Qual::of_policy(text, name, self.catalog).is_ok_and(|e| {
                    let tests = e.tests();
                    let mut columns = tests.iter().flat_map(|(_, t)| &t.columns);
                    columns.any(|c| c.column == column)
                })
            })
        })
    }

    /// How many distinct values the statistics promise; `None` where there are none.
    pub(super) fn distinct(&self, column: &ColumnUse) -> Option<f64> {
        let table = self.catalog.table(column.table.as_ref()?)?;
        let stats = table.column(&column.column)?.stats.as_ref()?;
        Some(if stats.n_distinct < 0.0 {
            -stats.n_distinct * table.row_estimate()
        } else {
            stats.n_distinct
        })
    }

    /// Whether an index on the column would leave out most of the table; assumed without statistics.
    pub(super) fn selective(&self, form: &Form, column: &ColumnUse) -> bool {
        // The planner counts on ten values in an array that it cannot see.
        let values = match form {
            Form::AnyOfArray { .. } => 10.0,
            _ => 1.0,
        };
        // Without a value at all, all rows being NULL, nothing is found, which an index tells at once.
        self.distinct(column)
            .is_none_or(|n| n < 1.0 || n >= 10.0 * values)
    }

    /// Rows for which `call` runs: of the policy's table, or of a sub-select's where that is read once.
    pub(super) fn rows_per_statement(
        &self,
        facts: &PolicyFacts<'_>,
        qual: &Qual,
        call: &Call,
    ) -> f64 {
        match qual.frequency(call) {
            Frequency::Once => 1.0,
            Frequency::PerRow => facts.table.row_estimate(),
            Frequency::PerInnerRow(number) => {
                let Some(scope) = qual.scope(number) else {
                    return 1.0;
                };
                let inner = scope
                    .relations
                    .iter()
                    .filter_map(|r| self.catalog.table(r.table.as_ref()?))
                    .map(Table::row_estimate)
                    .fold(1.0, f64::max);
                let inner = if self.indexable(scope, &scope.filter) {
                    1.0
                } else {
                    inner
                };
                let again = if scope.correlated {
                    facts.table.row_estimate()
                } else {
                    1.0
                };
                inner.max(again)
            }
        }
    }
}

/// A usable index whose first key is the plain column.
pub(super) fn leads(index: &Index, column: &str) -> bool {
    let first = index.keys.first().and_then(|k| k.column.as_deref());
    index.valid
        && index.ready
        && matches!(
            index.method.as_str(),
            "btree" | "hash" | "gist" | "brin" | "spgist"
        )
        && first == Some(column)
}

fn columns(clauses: &[Clause]) -> Vec<&str> {
    clauses
        .iter()
        .flat_map(|clause| match clause {
            Clause::Test(test) => test.columns.iter().map(|c| c.column.as_str()).collect(),
            Clause::AnyOf(branches) => branches.iter().flat_map(|b| columns(b)).collect::<Vec<_>>(),
        })
        .collect()
}
