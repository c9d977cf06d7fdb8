//! The wall around `pg_query`: everything that reads or writes SQL text.

pub mod access;
pub mod body;
mod bound;
pub mod columns;
pub mod concerns;
pub mod constants;
pub mod ddl;
pub mod expr;
pub mod fingerprint;
pub mod fold;
pub mod inline;
pub mod lines;
pub mod lock;
pub mod partition;
pub mod placeholders;
pub mod places;
pub mod predicate;
pub mod qual;
pub mod quote;
pub mod rewrite;
pub mod said;
pub mod scope;
pub mod script;
pub mod server_wide;
pub mod setting;
mod single;
pub mod ties;
pub mod touches;
pub mod tree;
pub mod variables;
pub mod words;

pub use bound::bound;
pub use single::{Single, is_limited, single};
