//! How hard `dbtune bench` presses: `--clients`, `--rate` and `--cold`.

use crate::model::Demand;
use anyhow::bail;

#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Load {
    /// Connections of each side that send at the same time [default: 1, with --rate 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub clients: Option<u16>,
    /// Send so many executions a second, by weight, whether or not the earlier ones have ended
    ///
    /// Latencies then count from the intended start, as users wait, and at most --clients executions run at once.
    #[arg(long, value_name = "PER_SECOND")]
    pub rate: Option<f64>,
    /// Empty the server's cache and connect anew before each execution; needs PostgreSQL 17 and a superuser
    ///
    /// The operating system's cache stays: times are those of a server that was started anew, not of a machine that was.
    #[arg(long, conflicts_with_all = ["clients", "rate"])]
    pub cold: bool,
}

/// Connections at a fixed rate where no number was given.
const CLIENTS_AT_A_RATE: usize = 10;

impl Load {
    pub(super) fn demand(self) -> anyhow::Result<Demand> {
        if self
            .rate
            .is_some_and(|rate| !(rate.is_finite() && rate > 0.0))
        {
            bail!("--rate takes a number over 0, in executions a second");
        }
        let usual = self.rate.map_or(1, |_| CLIENTS_AT_A_RATE);
        Ok(Demand {
            clients: self.clients.map_or(usual, usize::from),
            rate: self.rate,
            cold: self.cold,
        })
    }
}
