//! Wakes a task from outside only.

use futures_util::task::AtomicWaker;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake};

/// Who rings more often than this without being done lets others have a turn first, as tokio's budget wants it.
const MOST: usize = 8;

/// A waker for two futures that wake each other while one task polls both: what rings meanwhile is answered at once, and
/// the task does not stand in its executor's queue again, before others that have something to read.
#[derive(Debug, Default)]
pub(super) struct Bell {
    answering: AtomicBool,
    rang: AtomicBool,
    outside: AtomicWaker,
}

impl Bell {
    /// Polls until nothing rings any more, within reason. `poll` says what it found, and whether it is to be polled again in any case.
    pub(super) fn answer<T>(
        &self,
        cx: &Context<'_>,
        mut poll: impl FnMut() -> (Poll<T>, bool),
    ) -> Poll<T> {
        self.outside.register(cx.waker());
        self.answering.store(true, Ordering::SeqCst);
        let mut rings = 0;
        let found = loop {
            self.rang.store(false, Ordering::SeqCst);
            let (found, again) = poll();
            let rang = self.rang.load(Ordering::SeqCst) && rings < MOST;
            if found.is_ready() || !(again || rang) {
                break found;
            }
            rings += usize::from(rang);
        };
        self.answering.store(false, Ordering::SeqCst);
        // Too often, or from another thread after the last look.
        if found.is_pending() && self.rang.load(Ordering::SeqCst) {
            cx.waker().wake_by_ref();
        }
        found
    }

    /// What rang so far is answered by what `poll` polls next.
    pub(super) fn hush(&self) {
        self.rang.store(false, Ordering::SeqCst);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rang.store(true, Ordering::SeqCst);
        if !self.answering.load(Ordering::SeqCst) {
            self.outside.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::task::Waker;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn only_what_rings_from_outside_wakes_the_task() {
        let (count, bell) = (Arc::new(Count::default()), Arc::new(Bell::default()));
        let (task, inner) = (
            Waker::from(Arc::clone(&count)),
            Waker::from(Arc::clone(&bell)),
        );
        let cx = Context::from_waker(&task);
        let mut polls = 0;
        let found = bell.answer(&cx, || {
            polls += 1;
            if polls < 3 {
                inner.wake_by_ref();
            }
            (Poll::<()>::Pending, false)
        });
        assert!(found.is_pending());
        assert_eq!((polls, count.0.load(Ordering::SeqCst)), (3, 0));
        inner.wake_by_ref();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        let found = bell.answer(&cx, || {
            inner.wake_by_ref();
            (Poll::<()>::Pending, false)
        });
        assert!(found.is_pending());
        assert_eq!(count.0.load(Ordering::SeqCst), 2, "others get their turn");
        let found = bell.answer(&cx, || {
            inner.wake_by_ref();
            bell.hush();
            (Poll::<()>::Pending, false)
        });
        assert!(found.is_pending());
        assert_eq!(count.0.load(Ordering::SeqCst), 2);
    }
}
