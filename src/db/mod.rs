//! The only module that names a driver. Everything that waits on PostgreSQL goes through here.

mod copy;
mod error;
mod session;
mod target;
pub mod throwaway;
mod tls;

pub use copy::{Cell, ColumnShape, Copying, Loader, Reference, TableShape};
pub use error::{Error, Result};
pub use session::{Limits, Session};
pub use target::{Env, Target, TlsMode};
