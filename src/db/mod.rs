//! The only module that names a driver. Everything that waits on PostgreSQL goes through here.

mod catalog;
mod error;
mod session;
mod statements;
mod target;
mod tls;

pub use catalog::read_catalog;
pub use error::{Error, Result};
pub use session::{Limits, Session};
pub use statements::read_statements;
pub use target::{Env, Target, TlsMode};
