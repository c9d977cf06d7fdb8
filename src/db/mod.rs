//! The only module that names a driver. Everything that waits on PostgreSQL goes through here.

mod activity;
mod catalog;
mod clone;
mod copy;
mod draw;
mod error;
mod explain;
mod lab;
mod ledger;
mod probe;
mod replication;
mod run;
mod session;
mod statements;
mod target;
pub mod throwaway;
mod tls;
mod value;
mod writer;

pub use activity::{Blocker, Build};
pub use catalog::read_catalog;
pub use clone::{Clone, clone_database, clone_name, maintenance, remove_leftovers};
pub use copy::{Cell, ColumnShape, Copying, Loader, Reference, TableShape};
pub use draw::{Defaults, resolve};
pub use error::{Error, Result};
pub use explain::{Explain, draw_of, explain};
pub use lab::Workbench;
pub use ledger::{Applied, AuditLine, OWN_SCHEMA, SQLX_TABLE, Step, state};
pub use probe::{IndexFacts, SizeFacts};
pub use replication::Slot;
pub use run::{Execution, Prepared};
pub use session::{Limits, Session};
pub use statements::read_statements;
pub use target::{Env, Target, TlsMode};
pub use writer::{Writer, checksum, migration_lock};
