//! The wall around `pg_query`: everything that reads or writes SQL text.

pub mod access;
pub mod ddl;
pub mod body;
pub mod qual;
pub mod quote;
pub mod rewrite;
pub mod scope;
mod single;
pub mod tree;

pub use single::{Single, is_limited, single};
