//! The wall around `pg_query`: everything that reads or writes SQL text.

pub mod ddl;
pub mod lock;
pub mod quote;
pub mod script;
