//! The only module that names a driver. Everything that waits on PostgreSQL goes through here.

mod error;
mod session;
mod target;
pub mod throwaway;
mod tls;

pub use error::{Error, Result};
pub use session::{Limits, Session};
pub use target::{Env, Target, TlsMode};
