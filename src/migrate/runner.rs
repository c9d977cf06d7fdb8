//! The two connections of a run: one works, the other watches, cancels and looks things up.

use super::event::Event;
use super::outcome::Options;
use crate::db::{self, Error, Result, Session, Target, Writer, migration_lock};
use std::future::Future;
use std::time::{Duration, Instant};

pub(super) type Progress<'a> = &'a mut (dyn FnMut(Event<'_>) + Send);

pub(super) struct Runner<'a> {
    pub(super) writer: Writer,
    pub(super) watch: Session,
    pub(super) options: &'a Options,
    pub(super) progress: Progress<'a>,
    pub(super) notes: Vec<String>,
}

/// How often the watching connection looks.
const TICK: Duration = Duration::from_millis(250);

impl<'a> Runner<'a> {
    /// Connects twice; refuses a replica, and a pooler that gives each transaction another server session.
    pub(super) async fn open(
        target: &Target,
        purpose: &str,
        options: &'a Options,
        progress: Progress<'a>,
    ) -> Result<Self> {
        let mut writer = Writer::connect(target, purpose).await?;
        let watch = Session::connect(target, &format!("{purpose} (watching)")).await?;
        refuse_pooler(&mut writer, &watch).await?;
        if watch.in_recovery().await? {
            return Err(Error::new(
                format!("change {target}"),
                "the server is a replica, which takes no changes",
            )
            .advise("Give the primary's address in --db."));
        }
        writer.settle(options.lock_timeout).await?;
        Ok(Self {
            writer,
            watch,
            options,
            progress,
            notes: Vec::new(),
        })
    }

    pub(super) fn tell(&mut self, event: Event<'_>) {
        (self.progress)(event);
    }

    pub(super) fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        (self.progress)(Event::Note(&text));
        self.notes.push(text);
    }

    pub(super) fn interrupted(&self) -> bool {
        self.options.interrupt.code().is_some()
    }

    /// Takes sqlx's migration lock by asking again and again; never waits for it inside the server.
    pub(super) async fn lock(&mut self) -> Result<()> {
        let id = migration_lock(self.writer.database());
        let begun = Instant::now();
        let mut told = false;
        while !self.writer.try_lock().await? {
            let holder = self.watch.lock_holder(id).await.unwrap_or_default();
            if !told {
                self.tell(Event::WaitingForRunner(holder.as_ref()));
                told = true;
            }
            if self.interrupted() || begun.elapsed() > self.options.wait_for_runner {
                let who = holder.map_or_else(|| "another session".to_owned(), |h| h.to_string());
                return Err(Error::new(
                    "take the migration lock",
                    format!("{who} is migrating this database"),
                )
                .advise("Let it end, or look at it in pg_stat_activity."));
            }
            self.sleep(jittered(Duration::from_millis(150))).await;
        }
        Ok(())
    }

    /// Sleeps, unless told to stop meanwhile.
    pub(super) async fn sleep(&mut self, time: Duration) {
        let mut interrupt = self.options.interrupt.clone();
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = interrupt.wait() => {}
        }
    }

    /// Runs one statement while watching who is in its way; cancelled on the server when told to stop.
    pub(super) async fn execute(&mut self, doing: &str, sql: &str) -> Result<()> {
        let interrupt = self.options.interrupt.clone();
        self.watched(doing, sql, interrupt).await
    }

    /// The same for what must be done even when told to stop.
    pub(super) async fn execute_regardless(&mut self, doing: &str, sql: &str) -> Result<()> {
        self.watched(doing, sql, super::event::Interrupt::never())
            .await
    }

    async fn watched(
        &mut self,
        doing: &str,
        sql: &str,
        mut interrupt: super::event::Interrupt,
    ) -> Result<()> {
        let pid = self.writer.pid();
        let Self {
            writer,
            watch,
            options,
            progress,
            ..
        } = self;
        let work = writer.execute(doing, sql);
        tokio::pin!(work);
        let mut watcher = Watcher {
            watch,
            pid,
            options,
            told: None,
            behind: None,
        };
        loop {
            tokio::select! {
                biased;
                done = &mut work => return watcher.explained(done),
                () = interrupt.wait() => {
                    // Asked again until it ends: the first may come before the statement has reached the server.
                    let asked = watch.cancel_backend(pid);
                    if let Some(done) = race(&mut work, asked).await {
                        return done;
                    }
                    if let Some(done) = race(&mut work, tokio::time::sleep(TICK)).await {
                        return done;
                    }
                }
                () = tokio::time::sleep(TICK) => {
                    let done = {
                        let looked = watcher.look(progress);
                        tokio::pin!(looked);
                        let done = race(&mut work, &mut looked).await;
                        if done.is_some() {
                            // Whom it ended is told even where that let the statement finish at once.
                            let _ = tokio::time::timeout(TICK, looked).await;
                        }
                        done
                    };
                    if let Some(done) = done {
                        return watcher.explained(done);
                    }
                }
            }
        }
    }
}

/// The outcome of `work` if it ends before `other`.
async fn race<T>(work: &mut (impl Future<Output = T> + Unpin), other: impl Future) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        _ = other => None,
    }
}

/// What was told last, so that nothing is said twice.
#[derive(PartialEq, Eq)]
enum Seen {
    Blocked(Vec<i32>),
    Building(db::Build),
}

/// Looks at one statement from the other connection while it runs.
struct Watcher<'a> {
    watch: &'a Session,
    /// The server process that runs the statement.
    pid: i32,
    options: &'a Options,
    told: Option<Seen>,
    /// How far a replica fell behind during the build, where that was over the limit.
    behind: Option<Duration>,
}

impl Watcher<'_> {
    /// Tells what the statement waits for or how far it is. A watcher that cannot see stops nothing.
    async fn look(&mut self, progress: &mut (dyn FnMut(Event<'_>) + Send)) {
        let blockers = self.watch.blockers_of(self.pid).await.unwrap_or_default();
        if !blockers.is_empty() {
            let now = Seen::Blocked(blockers.iter().map(|b| b.pid).collect());
            if self.told.as_ref() != Some(&now) {
                progress(Event::Blocked(&blockers));
                self.told = Some(now);
            }
            if self.options.now && self.options.kill_blockers {
                self.end_idle(&blockers, progress).await;
            }
            return;
        }
        if let Ok(Some(build)) = self.watch.build_of(self.pid).await {
            let now = Seen::Building(build.clone());
            if self.told.as_ref() != Some(&now) {
                progress(Event::Building(&build));
                self.told = Some(now);
            }
            self.mind_replicas(progress).await;
        }
    }

    async fn end_idle(
        &self,
        blockers: &[db::Blocker],
        progress: &mut (dyn FnMut(Event<'_>) + Send),
    ) {
        for blocker in blockers.iter().filter(|b| b.is_idle_in_transaction()) {
            match self.watch.end_backend(blocker.pid).await {
                Ok(()) => progress(Event::Ended(blocker)),
                Err(error) => progress(Event::Note(&error.to_string())),
            }
        }
    }

    /// A build cannot be held up, so a replica that falls behind is told, or the build is ended.
    async fn mind_replicas(&mut self, progress: &mut (dyn FnMut(Event<'_>) + Send)) {
        let Some(limit) = self.options.max_replica_lag else {
            return;
        };
        let Ok(Some(lag)) = self.watch.replica_lag().await else {
            return;
        };
        if lag <= limit {
            return;
        }
        if self.behind.replace(lag).is_none() {
            let words = if self.options.stop_on_lag {
                "the build is ended"
            } else {
                "the build goes on"
            };
            progress(Event::Note(&format!(
                "a replica is {} s behind; {words}",
                lag.as_secs()
            )));
        }
        if self.options.stop_on_lag {
            // Where it does not get through, the next look asks again.
            let _ = self.watch.cancel_backend(self.pid).await;
        }
    }

    /// A statement that was ended for a replica's sake says so.
    fn explained(&self, done: Result<()>) -> Result<()> {
        match (done, self.behind) {
            (Err(mut error), Some(lag)) if self.options.stop_on_lag && error.is("57014") => {
                error.message = format!(
                    "it was ended because a replica fell {} s behind",
                    lag.as_secs()
                );
                Err(error.advise("Run it at a quieter hour, or raise --max-replica-lag."))
            }
            (done, _) => done,
        }
    }
}

/// A pooler in transaction mode gives an idle client's server session to the next transaction: seen by asking for
/// the session's process from both sides.
async fn refuse_pooler(writer: &mut Writer, watch: &Session) -> Result<()> {
    for _ in 0..3 {
        let before = writer.current_pid().await?;
        let other = watch.transaction_pid().await?;
        let after = writer.current_pid().await?;
        watch.end().await?;
        if other == before || after != before {
            return Err(Error::new(
                "migrate through this address",
                "it is a pooler in transaction mode, which keeps no session: locks, settings and concurrent index builds would be torn apart",
            )
            .advise("Give the server's own address (for Supabase port 5432 instead of 6543), or a pool in session mode, in --db."));
        }
    }
    Ok(())
}

/// Half to one and a half times as long, so that runners do not stay in step.
pub(super) fn jittered(time: Duration) -> Duration {
    time.mul_f64(rand::random_range(0.5..1.5))
}

/// How long to wait before the given attempt, from 1.
pub(super) fn back_off(attempt: u32, longest: Duration) -> Duration {
    let doubled = Duration::from_millis(100).saturating_mul(2u32.saturating_pow(attempt.min(16)));
    jittered(doubled.min(longest))
}

/// Worth another try: a lock not granted in time, a deadlock, a serialisation failure.
pub(super) fn gives_way(error: &Error) -> bool {
    ["55P03", "40P01", "40001"].iter().any(|s| error.is(s))
}

/// Whether the session is gone, so that nothing more can be done through it.
pub(super) fn is_lost(error: &Error) -> bool {
    match error.sqlstate.as_deref() {
        None => true,
        Some(state) => state.starts_with("08") || state.starts_with("57P"),
    }
}
