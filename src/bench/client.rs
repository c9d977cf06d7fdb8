//! One connection of a side, and one execution on it.

use super::bell::Bell;
use super::processor::Queue;
use crate::db::{Execution, Limits, Prepared, Result, Session, Target, Way, Wire, draw_of};
use crate::model::Query;
use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

/// A connection with the statements it has parsed.
pub(super) struct Client {
    session: Session,
    /// Polled by whoever waits for an answer: the latency has no task in it that must be woken first. `None` once it has
    /// ended.
    wire: RefCell<Option<Wire>>,
    /// Whether polling the wire again waits for the server.
    awaiting: Option<Arc<AtomicBool>>,
    bell: Arc<Bell>,
    queue: Option<Queue>,
    /// By query.
    prepared: Vec<Option<Prepared>>,
}

/// One execution that was timed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timed {
    /// Which execution of the query this is: the draw it takes, counted on and on.
    pub(super) number: usize,
    /// `None` where the statement timeout ended it.
    pub(super) done: Option<Done>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    pub(super) execution: Execution,
    /// When its last row was there.
    pub(super) ended: Instant,
    /// BEGIN, limits, claims and role.
    pub(super) setup: Duration,
    /// What other processes had of it.
    pub(super) taken: Duration,
}

impl Client {
    /// `alone` is whether nothing else of this run uses the machine at the same time: otherwise what the backend waits for
    /// is the load itself, and not somebody else's.
    pub(super) async fn connect(
        target: &Target,
        way: Way,
        queries: usize,
        alone: bool,
    ) -> Result<Self> {
        // One client may wait for its answers itself; of several, none may keep the others waiting.
        let directly = if alone {
            Session::connect_directly(target, "bench").await?
        } else {
            None
        };
        let (session, wire, awaiting) = if let Some((session, wire, awaiting)) = directly {
            (session, wire, Some(awaiting))
        } else {
            let (session, wire) = Session::connect_by_hand(target, "bench").await?;
            (session, wire, None)
        };
        let mut client = Self {
            session: session.in_the_way(way),
            wire: RefCell::new(Some(wire)),
            awaiting,
            bell: Arc::default(),
            queue: None,
            prepared: std::iter::repeat_with(|| None).take(queries).collect(),
        };
        if alone {
            client.queue = client.driven(queue(&client.session, target)).await?;
        }
        Ok(client)
    }

    /// Moves the bytes of the connection while `work` waits for them.
    async fn driven<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let waker = Waker::from(Arc::clone(&self.bell));
        poll_fn(|cx| {
            self.bell.answer(cx, || {
                let mut cx = Context::from_waker(&waker);
                // What has arrived, what it means, and at once what is to be sent next.
                self.poll_wire(&mut cx);
                let done = work.as_mut().poll(&mut cx);
                if done.is_pending() {
                    self.bell.hush();
                    self.poll_wire(&mut cx);
                }
                (done, self.is_awaiting())
            })
        })
        .await
    }

    fn is_awaiting(&self) -> bool {
        let awaiting = self.awaiting.as_ref();
        self.wire.borrow().is_some() && awaiting.is_some_and(|a| a.load(Ordering::Relaxed))
    }

    fn poll_wire(&self, cx: &mut Context<'_>) {
        let mut wire = self.wire.borrow_mut();
        let ended = wire
            .as_mut()
            .is_some_and(|w| w.as_mut().poll(cx).is_ready());
        if ended {
            *wire = None;
        }
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// The processors' counters, where they are read.
    pub(super) fn queue(&self) -> Option<&Queue> {
        self.queue.as_ref()
    }

    pub(super) fn has(&self, at: usize) -> bool {
        self.prepared.get(at).is_some_and(Option::is_some)
    }

    /// Parses a query inside a transaction of its persona.
    pub(super) async fn parse(&mut self, at: usize, query: &Query, limits: Limits) -> Result<()> {
        let (prepared, _) = self
            .within(query, limits, self.session.prepare_query(query))
            .await?;
        if let Some(slot) = self.prepared.get_mut(at) {
            *slot = Some(prepared);
        }
        Ok(())
    }

    /// One execution without a transaction around it, as the role of the connection.
    pub(super) async fn send(
        &self,
        at: usize,
        query: &Query,
        number: usize,
    ) -> Result<Option<Execution>> {
        let Some(Some(prepared)) = self.prepared.get(at) else {
            return Ok(None);
        };
        let values = draw_of(query, number);
        let sent = self.session.run_query(query, prepared, values, false);
        self.driven(sent).await.map(Some)
    }

    /// One execution in a transaction of its own; nothing where the query was never parsed.
    pub(super) async fn execute(
        &self,
        at: usize,
        query: &Query,
        number: usize,
        limits: Limits,
    ) -> Result<Option<Timed>> {
        let Some(Some(prepared)) = self.prepared.get(at) else {
            return Ok(None);
        };
        let first_time = number < query.draws.len();
        let run = async {
            let begun = self.queue.as_ref().and_then(Queue::read);
            let values = draw_of(query, number);
            let execution = self
                .session
                .run_query(query, prepared, values, first_time)
                .await?;
            let ended = Instant::now();
            let read = self.queue.as_ref().and_then(Queue::read);
            let taken = begun.zip(read).map(|(b, e)| b.taken(e, execution.elapsed));
            Ok((execution, ended, taken.unwrap_or_default()))
        };
        let done = match self.within(query, limits, run).await {
            Ok(((execution, ended, taken), setup)) => Some(Done {
                execution,
                ended,
                setup,
                taken,
            }),
            Err(error) if error.is(CUT_OFF) => None,
            Err(error) => return Err(error),
        };
        Ok(Some(Timed { number, done }))
    }

    /// `work` inside the query's own transaction, rolled back whatever happens; and what opening it took.
    pub(super) async fn within<T>(
        &self,
        query: &Query,
        limits: Limits,
        work: impl Future<Output = Result<T>>,
    ) -> Result<(T, Duration)> {
        let all = async {
            let start = Instant::now();
            self.session.begin_query(query, limits).await?;
            let setup = start.elapsed();
            let outcome = work.await;
            let ended = self.session.end().await;
            outcome.and_then(|value| ended.map(|()| (value, setup)))
        };
        self.driven(all).await
    }
}

async fn queue(session: &Session, target: &Target) -> Result<Option<Queue>> {
    let pid = session
        .texts(
            "ask a backend for its number",
            "select pg_backend_pid()::text",
        )
        .await?;
    let pid = pid.concat().parse().ok();
    Ok(pid.and_then(|pid| Queue::of(target, pid)))
}

/// SQLSTATE of a statement ended by `statement_timeout`.
pub(super) const CUT_OFF: &str = "57014";
