//! The wall around `pg_query`: everything that reads or writes SQL text.

pub mod quote;
