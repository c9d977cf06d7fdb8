use super::{
    Activity, Buckets, Checkpoints, Domain, Gap, Holder, Load, Name, Sequence, Sessions, Tax,
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What the server knows about one database, read in one read-only transaction. Holds no row value, unless
/// those of column statistics were asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Catalog {
    pub server: Server,
    pub roles: BTreeMap<String, Role>,
    pub tables: BTreeMap<Name, Table>,
    /// Functions of user schemas and every function that a policy calls; overloads stand side by side.
    pub functions: Vec<Function>,
    /// What policies cost the largest tables, as far as dbtune may plan as their roles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taxes: Vec<Tax>,
    /// What may stand before parentheses beside functions: aggregates, window functions, procedures and types of
    /// user schemas.
    #[serde(default)]
    pub callables: BTreeSet<Name>,
    /// Functions of `pg_catalog` by name, aggregates too; the worst of its overloads.
    #[serde(default)]
    pub builtins: BTreeMap<String, Volatility>,
    /// Functions of `pg_catalog` whose overloads are all leakproof.
    #[serde(default)]
    pub leakproof_builtins: BTreeSet<String>,
    #[serde(default)]
    pub schemas: BTreeMap<String, Schema>,
    /// What `ALTER DEFAULT PRIVILEGES` grants on objects made from now on.
    #[serde(default)]
    pub default_privileges: Vec<DefaultPrivilege>,
    /// Tables that each publication sends, by its name, those of `FOR ALL TABLES` and of whole schemas too.
    #[serde(default)]
    pub publications: BTreeMap<String, Vec<Name>>,
    /// Types that an operator `=` or `<>` outside of `pg_catalog` takes, as `format_type` prints them: which operator
    /// their comparison means depends on the search path. `None` where it was not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equality_elsewhere: Option<BTreeSet<String>>,
    /// Domains by type, as `format_type` prints it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub domains: BTreeMap<String, Domain>,
    /// `None` where there are none, or they could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buckets: Option<Buckets>,
    /// What could not be read.
    pub gaps: Vec<Gap>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// `server_version_num`: 150018 is 15.18.
    pub version_num: u32,
    pub database: String,
    /// The role dbtune is connected as.
    pub user: String,
    pub user_is_superuser: bool,
    pub in_recovery: bool,
    pub started_at: Option<DateTime<Utc>>,
    /// Since when the cumulative statistics of this database count (`pg_stat_database.stats_reset`).
    pub stats_since: Option<DateTime<Utc>>,
    /// The server's clock when the catalog was read.
    pub read_at: Option<DateTime<Utc>>,
    pub database_bytes: u64,
    /// Schemas in the search path of the connecting role, in order.
    pub search_path: Vec<String>,
    /// A few settings that rules and the planner depend on, as `SHOW` prints them.
    pub settings: BTreeMap<String, String>,
    pub extensions: BTreeMap<String, Extension>,
    /// `ALTER DATABASE … SET` of this database, as `name=value`.
    #[serde(default)]
    pub config: Vec<String>,
    #[serde(default)]
    pub load: Load,
    #[serde(default)]
    pub checkpoints: Checkpoints,
    #[serde(default)]
    pub sessions: Sessions,
    /// Prepared transactions and replication slots.
    #[serde(default)]
    pub holders: Vec<Holder>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Extension {
    pub version: String,
    pub schema: String,
    /// The version that the server's files would install; `None` where they do not know the installed one.
    #[serde(default)]
    pub available: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    pub owner: String,
    /// Roles (or `public`) that hold USAGE.
    pub usage: Vec<String>,
    /// Roles (or `public`) that hold CREATE.
    pub create: Vec<String>,
}

/// One grantee of one `ALTER DEFAULT PRIVILEGES`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultPrivilege {
    /// The role whose new objects it is about.
    pub owner: String,
    /// `None` for objects in any schema.
    pub schema: Option<String>,
    /// `pg_default_acl.defaclobjtype`: r relation, S sequence, f function, T type, n schema.
    pub kind: char,
    /// A role, or `public`.
    pub grantee: String,
    pub privileges: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Role {
    pub superuser: bool,
    pub bypass_rls: bool,
    pub login: bool,
    pub inherit: bool,
    /// Roles this one is a member of, directly or through others.
    pub member_of: Vec<String>,
    /// Roles this one may `SET ROLE` to, directly or through others: from 16 on membership alone does not allow it.
    #[serde(default)]
    pub becomes: Vec<String>,
    /// Whether the connecting role may `SET ROLE` to this one.
    pub settable: bool,
    pub connection_limit: i32,
    /// `ALTER ROLE … SET`, as `name=value`.
    pub config: Vec<String>,
    /// `ALTER ROLE … IN DATABASE … SET` of this database, as `name=value`.
    #[serde(default)]
    pub database_config: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableKind {
    #[default]
    Ordinary,
    Partitioned,
    View,
    MaterializedView,
    Foreign,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    pub oid: u32,
    pub kind: TableKind,
    pub owner: String,
    pub rls_enabled: bool,
    pub rls_forced: bool,
    /// `pg_class.reltuples`; `None` where the table was never analysed. Partitioned tables sum their leaves.
    pub rows: Option<f64>,
    pub pages: i64,
    /// Heap and TOAST without indexes.
    pub bytes: u64,
    pub columns: Vec<Column>,
    pub policies: Vec<Policy>,
    pub indexes: Vec<Index>,
    pub foreign_keys: Vec<ForeignKey>,
    /// `ON DELETE`/`ON UPDATE` aside, every other constraint as `pg_get_constraintdef` prints it, by name.
    pub constraints: BTreeMap<String, String>,
    pub activity: Activity,
    /// Role (or `public`) to the privileges granted on the table, upper case; `SELECT (columns)` and the like where
    /// they are granted on some columns.
    pub grants: BTreeMap<String, Vec<String>>,
    /// The partitioned table this one is a partition of.
    pub partition_of: Option<Name>,
    /// `pg_get_partkeydef`, for partitioned tables.
    pub partition_key: Option<String>,
    /// Extension that owns the table, if one does.
    pub extension: Option<String>,
    /// View options such as `security_invoker=true`.
    pub options: Vec<String>,
    /// Whether the connecting role may see the column statistics: where not, missing ones mean nothing.
    pub statistics_readable: bool,
    /// Whether other tables inherit from it, partitions aside: its keys say nothing of their rows.
    #[serde(default)]
    pub inherited: bool,
    /// Whether a publication carries its updates or deletes to subscribers.
    #[serde(default)]
    pub published: bool,
    /// `REPLICA IDENTITY FULL`: the whole old row stands for the key that is missing.
    #[serde(default)]
    pub replica_identity_full: bool,
    /// Relations that a view or materialised view reads, directly.
    pub reads: Vec<Name>,
    /// Functions that a view or materialised view calls, those of `pg_catalog` left out.
    #[serde(default)]
    pub calls: Vec<Name>,
    /// `pg_get_viewdef`, for views and materialised views that no extension owns.
    #[serde(default)]
    pub definition: Option<String>,
    /// Tables this one inherits from, partitioned ones aside.
    #[serde(default)]
    pub parents: Vec<Name>,
    #[serde(default)]
    pub triggers: Vec<Trigger>,
    /// Whether a rule rewrites what is written to it; `None` where it was not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ruled: Option<bool>,
}

/// A trigger made by hand; those behind constraints are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    pub name: String,
    pub function: Name,
    pub enabled: bool,
    /// Upper case, e.g. `INSERT`.
    pub events: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    /// As `format_type` prints it, e.g. `numeric(10,2)` or `auth.level`.
    pub type_name: String,
    /// `pg_type.typtype`: b base, e enum, d domain, c composite, r range, m multirange.
    pub type_kind: char,
    /// `pg_type.typcategory`, e.g. `A` for arrays.
    pub type_category: char,
    pub not_null: bool,
    pub default: Option<String>,
    pub generated: bool,
    pub identity: bool,
    /// The sequence that its default draws from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<Sequence>,
    /// Whether the default btree `=` of the type is leakproof; `None` where the type has none.
    pub equality_leakproof: Option<bool>,
    /// Whether the default btree `<` of the type is leakproof; `None` where the type has none.
    pub ordering_leakproof: Option<bool>,
    pub stats: Option<ColumnStats>,
    /// `None` where it was not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collation: Option<Collation>,
    /// Row values: `None` unless they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<ColumnValues>,
    /// Role (or `public`) to the privileges granted on this column alone, upper case.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub grants: BTreeMap<String, Vec<String>>,
}

/// How the text of a column is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Collation {
    /// The type has none.
    Inapplicable,
    /// That of the database, which is always deterministic.
    Default,
    /// Another under which texts are equal where their bytes are.
    Deterministic,
    /// Texts of different bytes may be equal.
    Nondeterministic,
}

/// Values of a column that `pg_stats` holds; read only where they are asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ColumnValues {
    /// `most_common_vals`, as an array literal.
    pub most_common: Option<String>,
    /// `most_common_freqs`: the share of the rows that each of those has.
    pub frequencies: Vec<f32>,
    /// `histogram_bounds`, as an array literal.
    pub histogram: Option<String>,
}

/// What `pg_stats` says of a column, without any value of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ColumnStats {
    /// As in `pg_stats`: negative is a share of the rows.
    pub n_distinct: f64,
    pub null_fraction: f64,
    pub average_width: i32,
    pub correlation: Option<f64>,
    /// Frequency of the most common value, 0 where there is no list.
    pub top_frequency: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Command {
    #[default]
    All,
    Select,
    Insert,
    Update,
    Delete,
}

impl Command {
    pub fn keyword(self) -> &'static str {
        match self {
            Self::All => "ALL",
            Self::Select => "SELECT",
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }

    /// Whether a policy for `self` is used by a statement of kind `other`.
    pub fn covers(self, other: Self) -> bool {
        self == Self::All || self == other
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    pub name: String,
    pub permissive: bool,
    /// `public` for every role.
    pub roles: Vec<String>,
    pub command: Command,
    /// `USING`, as `pg_get_expr` prints it with an empty search path: every name is qualified.
    pub using: Option<String>,
    /// `WITH CHECK`, in the same form.
    pub check: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Index {
    pub name: Name,
    pub oid: u32,
    pub method: String,
    pub unique: bool,
    pub primary: bool,
    pub valid: bool,
    pub ready: bool,
    pub live: bool,
    /// Not valid, while another session holds the lock under which indexes are built concurrently.
    pub building: bool,
    /// The constraint the index belongs to.
    pub constraint: Option<String>,
    pub exclusion: bool,
    pub replica_identity: bool,
    pub clustered: bool,
    pub keys: Vec<IndexKey>,
    pub include: Vec<String>,
    /// Partial index predicate, as `pg_get_expr` prints it.
    pub predicate: Option<String>,
    /// `pg_get_indexdef`.
    pub definition: String,
    pub bytes: u64,
    pub scans: i64,
    /// Since 16.
    pub last_scan: Option<DateTime<Utc>>,
    /// The parent's index, for the index of a partition.
    pub partition_of: Option<Name>,
    /// `NULLS NOT DISTINCT`, since 15.
    pub nulls_not_distinct: bool,
    /// For each key the operators of its class that are not leakproof, so that a condition with one is no index
    /// condition under row-level security; empty where all are leakproof.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaks: Vec<Vec<String>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct IndexKey {
    pub column: Option<String>,
    /// Set where the key is an expression.
    pub expression: Option<String>,
    /// Qualified operator class; `None` for the type's default.
    pub opclass: Option<String>,
    /// Qualified collation; `None` for the column's own.
    pub collation: Option<String>,
    pub descending: bool,
    pub nulls_first: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignKey {
    pub name: String,
    pub columns: Vec<String>,
    pub references: Name,
    pub referenced_columns: Vec<String>,
    /// `pg_constraint.confdeltype`: a no action, r restrict, c cascade, n set null, d set default.
    pub on_delete: char,
    pub on_update: char,
    /// Whether it holds for every row at every moment: validated, checked at once, its triggers switched on.
    #[serde(default)]
    pub enforced: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Volatility {
    Immutable,
    Stable,
    #[default]
    Volatile,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parallel {
    Safe,
    Restricted,
    #[default]
    Unsafe,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Function {
    pub name: Name,
    pub oid: u32,
    /// `pg_get_function_identity_arguments`.
    pub arguments: String,
    /// `format_type` of each input argument.
    pub argument_types: Vec<String>,
    /// Names of the input arguments, empty strings where unnamed.
    pub argument_names: Vec<String>,
    /// `format_type` of the result.
    pub returns: String,
    pub returns_set: bool,
    pub language: String,
    pub volatility: Volatility,
    pub parallel: Parallel,
    pub leakproof: bool,
    pub strict: bool,
    pub security_definer: bool,
    pub owner: String,
    /// `SET` clauses, as `name=value`.
    pub config: Vec<String>,
    /// `prosrc`, or `pg_get_function_sqlbody` for a `BEGIN ATOMIC` body; empty for C and internal functions.
    pub body: String,
    /// Roles granted EXECUTE, `public` among them where everybody may.
    pub executors: Vec<String>,
    pub extension: Option<String>,
    /// `None` where it was not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared: Option<Declared>,
}

/// What a function's declaration says of its arguments and result beyond their types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declared {
    /// How many arguments have a default.
    pub defaults: u16,
    pub variadic: bool,
    /// OUT, INOUT or TABLE arguments.
    pub outputs: bool,
    /// An argument or the result is of a pseudo-type such as `anyelement`.
    pub polymorphic: bool,
}

impl Catalog {
    pub fn table(&self, name: &Name) -> Option<&Table> {
        self.tables.get(name)
    }

    /// Resolves a possibly unqualified relation name by the search path.
    pub fn resolve(&self, schema: &str, name: &str) -> Option<(&Name, &Table)> {
        if !schema.is_empty() {
            return self.tables.get_key_value(&Name::new(schema, name));
        }
        self.server
            .search_path
            .iter()
            .map(String::as_str)
            .chain(["public"])
            .find_map(|schema| self.tables.get_key_value(&Name::new(schema, name)))
    }

    /// Functions called `name`, by the search path where `schema` is empty.
    pub fn functions_named<'a>(
        &'a self,
        schema: &'a str,
        name: &'a str,
    ) -> impl Iterator<Item = &'a Function> {
        self.functions
            .iter()
            .filter(move |f| f.name.name == name && (schema.is_empty() || f.name.schema == schema))
    }

    /// Whether `policy` applies to a session whose current role is `role`.
    pub fn applies_to(&self, policy: &Policy, role: &str) -> bool {
        policy.roles.iter().any(|granted| {
            granted == "public"
                || granted == role
                || self
                    .roles
                    .get(role)
                    .is_some_and(|r| r.inherit && r.member_of.contains(granted))
        })
    }
}

impl Table {
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }

    pub fn policy(&self, name: &str) -> Option<&Policy> {
        self.policies.iter().find(|p| p.name == name)
    }

    /// Rows for judging size: the estimate of `ANALYZE`, or of the live row counter before it.
    pub fn row_estimate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        self.rows.unwrap_or(self.activity.live.max(0) as f64)
    }
}
