//! The only module that names a driver. Everything that waits on PostgreSQL goes through here.

mod error;
pub mod throwaway;

pub use error::{Error, Result};
