//! The only module that names a driver. Everything that waits on PostgreSQL goes through here.

mod error;

pub use error::{Error, Result};
