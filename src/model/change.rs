use super::{IndexKey, Name};
use serde::{Deserialize, Serialize};

/// The closed set of things dbtune may do to a schema. Each holds enough to undo itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum Change {
    CreateIndex(IndexSpec),
    DropIndex(IndexSpec),
    /// `ALTER POLICY`: both forms of both clauses, `None` where the policy has no such clause.
    ReplacePolicy {
        table: Name,
        policy: String,
        before: PolicyText,
        after: PolicyText,
    },
    /// A function that was not there before; `create` and `drop` are complete statements.
    CreateFunction {
        name: Name,
        /// The SELECT inside, for whoever asks what it reads.
        body: String,
        create: Vec<String>,
        drop: String,
    },
    DropFunction {
        name: Name,
        body: String,
        create: Vec<String>,
        drop: String,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PolicyText {
    pub using: Option<String>,
    pub check: Option<String>,
}

/// A btree index to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct IndexSpec {
    pub table: Name,
    /// Without schema: an index lives in its table's.
    pub name: String,
    pub method: String,
    pub unique: bool,
    pub keys: Vec<IndexKey>,
    pub include: Vec<String>,
    pub predicate: Option<String>,
}

impl IndexSpec {
    /// Its name with the schema, which is the table's.
    pub fn qualified(&self) -> Name {
        Name::new(&self.table.schema, &self.name)
    }
}

impl Change {
    #[must_use]
    pub fn inverse(&self) -> Self {
        match self.clone() {
            Self::CreateIndex(index) => Self::DropIndex(index),
            Self::DropIndex(index) => Self::CreateIndex(index),
            Self::ReplacePolicy {
                table,
                policy,
                before,
                after,
            } => Self::ReplacePolicy {
                table,
                policy,
                before: after,
                after: before,
            },
            Self::CreateFunction {
                name,
                body,
                create,
                drop,
            } => Self::DropFunction {
                name,
                body,
                create,
                drop,
            },
            Self::DropFunction {
                name,
                body,
                create,
                drop,
            } => Self::CreateFunction {
                name,
                body,
                create,
                drop,
            },
        }
    }
}

/// One piece of advice: changes that belong together and the reason for them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// Short, for a file name: `inventory_items_location_id_idx`.
    pub slug: String,
    /// In the order they are to be made.
    pub changes: Vec<Change>,
    /// Ids of the rules whose findings it mends; empty where the workload alone asked for it.
    pub rules: Vec<String>,
    pub reason: String,
    /// What the planner says (what-if), by query.
    pub estimates: Vec<Estimate>,
    /// Estimated size of the new indexes.
    pub bytes: Option<u64>,
    /// How the gain was found: `hypopg`, `clone`, or `none` with the reason among the gaps.
    pub basis: Basis,
    /// Whether its index works inside functions or for a foreign key, where no plan shows it.
    #[serde(default)]
    pub unseen: bool,
    #[serde(default)]
    pub tried: Tried,
}

/// What a proposal was tried with; where nothing could be run, what it is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// Of the workload, as `query@persona`.
    pub queries: Vec<String>,
    /// Made up for tables that the workload does not read, or not in this way: what they do, as `by key@persona`.
    pub lookups: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Planned with a hypothetical index, as the persona.
    HypoPg,
    /// Made for real on a clone and executed there, as the persona.
    Clone,
    /// Not tried: known to be equivalent and usually a gain.
    Rule,
}

/// One query before and after a proposal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// `query@persona`.
    pub query: String,
    /// Planner cost.
    pub cost_before: f64,
    pub cost_after: f64,
    /// Median of a few executions in milliseconds, where there was a clone to run on.
    pub ms_before: Option<f64>,
    pub ms_after: Option<f64>,
}
