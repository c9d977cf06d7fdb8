//! One integration binary, on a real throwaway PostgreSQL.

mod server;
mod throwaway;
