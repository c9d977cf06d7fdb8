//! The only module that names a driver. Everything that waits on PostgreSQL goes through here.

mod activity;
mod catalog;
mod clone;
mod column_values;
mod conninfo;
mod copy;
mod describe;
mod direct;
mod draw;
mod error;
mod evict;
mod explain;
mod lab;
mod ledger;
mod origins;
mod partitions;
mod probe;
mod record;
mod replica;
mod replication;
mod run;
mod session;
mod statements;
mod target;
mod tax;
pub mod throwaway;
mod tls;
mod value;
mod way;
mod writer;

pub use activity::{Blocker, Build};
pub use catalog::read_catalog;
pub use clone::{
    Clone, clone_database, clone_name, maintenance, remove_clones, remove_leftovers,
};
pub use column_values::read_column_values;
pub use copy::{Cell, ColumnShape, Copying, Loader, Reference, TableShape};
pub use draw::{Defaults, resolve};
pub use error::{Error, Result};
pub use evict::find_eviction;
pub use explain::{Explain, draw_of, explain, explain_generic};
pub use lab::Workbench;
pub use ledger::{Applied, OWN_SCHEMA, SQLX_TABLE, Step, state};
pub use origins::{Made, Recorder};
pub use partitions::Unreached;
pub use probe::{IndexFacts, IndexFamily, SizeFacts};
pub use record::AuditLine;
pub use replica::{merge_replica, standbys};
pub use replication::Slot;
pub use run::{Execution, Prepared};
pub use session::{Limits, Session, Wire};
pub use statements::read_statements;
pub use target::{Env, Target, TlsMode};
pub use tax::read_taxes;
pub use way::{Plans, Protocol, Way};
pub use writer::{Writer, checksum, migration_lock};
