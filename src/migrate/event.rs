//! What a run tells while it works, and how it is told to stop.

use super::plan::Direction;
use crate::db::{Blocker, Build};
use crate::model::Name;
use std::time::Duration;
use tokio::sync::watch;

/// Something that happened, for whoever watches.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// Another runner is at work in this database.
    WaitingForRunner(Option<&'a Blocker>),
    Begun {
        label: &'a str,
        direction: Direction,
        /// From 1.
        number: usize,
        total: usize,
    },
    Statement {
        sql: &'a str,
    },
    /// The statement waits for these sessions.
    Blocked(&'a [Blocker]),
    Building(&'a Build),
    /// It gave way to other sessions and will try again.
    Retry {
        reason: &'a str,
        after: Duration,
    },
    /// An unfinished index is being taken away.
    Cleaning(&'a Name),
    /// A session that stood in the way was ended.
    Ended(&'a Blocker),
    Done {
        label: &'a str,
        took: Duration,
    },
    Note(&'a str),
}

/// Tells a run to stop. It ends the server's work, cleans up and returns.
#[derive(Debug)]
pub struct Interrupter(watch::Sender<Option<u8>>);

/// The other end of an [`Interrupter`].
#[derive(Clone, Debug)]
pub struct Interrupt(watch::Receiver<Option<u8>>);

impl Interrupter {
    pub fn new() -> (Self, Interrupt) {
        let (sender, receiver) = watch::channel(None);
        (Self(sender), Interrupt(receiver))
    }

    /// `code` is the exit code that the signal stands for: 130 for SIGINT, 143 for SIGTERM.
    pub fn stop(&self, code: u8) {
        // Nobody listens any more where the run is over.
        let _ = self.0.send(Some(code));
    }
}

impl Interrupt {
    /// One that never comes.
    pub fn never() -> Self {
        Interrupter::new().1
    }

    pub fn code(&self) -> Option<u8> {
        *self.0.borrow()
    }

    /// Waits until told to stop.
    pub async fn wait(&mut self) {
        if self.0.wait_for(Option::is_some).await.is_err() {
            // The other end is gone: nobody will ever stop this.
            std::future::pending::<()>().await;
        }
    }
}
