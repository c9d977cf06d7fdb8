//! The only module that names a driver. Everything that waits on PostgreSQL goes through here.

mod activity;
mod error;
mod ledger;
mod probe;
mod replication;
mod session;
mod target;
pub mod throwaway;
mod tls;
mod writer;

pub use activity::{Blocker, Build};
pub use error::{Error, Result};
pub use ledger::{Applied, AuditLine, OWN_SCHEMA, SQLX_TABLE, Step, state};
pub use probe::{IndexFacts, SizeFacts};
pub use replication::Slot;
pub use session::{Limits, Session};
pub use target::{Env, Target, TlsMode};
pub use writer::{Writer, checksum, migration_lock};
