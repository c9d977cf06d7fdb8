//! What other processes took: how long a backend and this thread stood ready to run and did not.
//!
//! Linux counts it for every thread, to the nanosecond. Only a server on the same machine can be looked at, through a
//! container's wall too.

use crate::db::Target;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

const PROCESSES: &str = "/proc";
/// Of the calling thread.
const OWN: &str = "/proc/thread-self/schedstat";

/// The clock of one connection: its backend and the thread that waits for it.
pub(super) struct Queue {
    backend: File,
    own: File,
}

/// Time on a processor's queue, and of the backend on a processor, since each began.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Reading {
    waited: u64,
    ran: u64,
}

impl Queue {
    /// `None` where the server is elsewhere or the system does not count.
    pub(super) fn of(target: &Target, backend_pid: u32) -> Option<Self> {
        if !is_here(&target.host) {
            return None;
        }
        let folder = Path::new(PROCESSES);
        let direct = folder.join(backend_pid.to_string());
        let found = if serves(&direct, backend_pid, &target.dbname) {
            direct
        } else {
            // In a container the server counts its processes anew.
            std::fs::read_dir(folder)
                .ok()?
                .filter_map(|entry| Some(entry.ok()?.path()))
                .find(|path| serves(path, backend_pid, &target.dbname))?
        };
        let queue = Self {
            backend: File::open(found.join("schedstat")).ok()?,
            own: File::open(OWN).ok()?,
        };
        queue.read().map(|_| queue)
    }

    pub(super) fn read(&self) -> Option<Reading> {
        let (ran, waited) = counters(&self.backend)?;
        let (_, own) = counters(&self.own)?;
        Some(Reading {
            waited: waited + own,
            ran,
        })
    }
}

impl Reading {
    /// How much of `elapsed`, which lies between two readings, others had.
    pub(super) fn taken(self, later: Self, elapsed: Duration) -> Duration {
        let waited = Duration::from_nanos(later.waited.saturating_sub(self.waited));
        let ran = Duration::from_nanos(later.ran.saturating_sub(self.ran));
        // Both may have stood in the queue at once, but the backend did run.
        waited.min(elapsed.saturating_sub(ran))
    }
}

fn is_here(host: &str) -> bool {
    host.starts_with('/') || matches!(host, "localhost" | "127.0.0.1" | "::1")
}

/// Whether a process is the backend of that number, in its own namespace, and works on the database.
fn serves(process: &Path, backend_pid: u32, dbname: &str) -> bool {
    let Ok(title) = std::fs::read(process.join("cmdline")) else {
        return false;
    };
    let title = String::from_utf8_lossy(&title);
    if !(title.starts_with("postgres: ") && title.contains(dbname)) {
        return false;
    }
    let Ok(status) = std::fs::read_to_string(process.join("status")) else {
        return false;
    };
    let numbers = status.lines().find_map(|l| l.strip_prefix("NSpid:"));
    let innermost = numbers.and_then(|n| n.split_whitespace().last());
    innermost.is_some_and(|n| n.parse() == Ok(backend_pid))
}

/// Nanoseconds on a processor and on its queue.
fn counters(file: &File) -> Option<(u64, u64)> {
    let mut buffer = [0; 96];
    let read = file.read_at(&mut buffer, 0).ok()?;
    let text = std::str::from_utf8(buffer.get(..read)?).ok()?;
    let mut numbers = text.split_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_had_is_no_more_than_was_not_worked() {
        let (before, after) = (
            Reading {
                waited: 100,
                ran: 50,
            },
            Reading {
                waited: 1100,
                ran: 450,
            },
        );
        let taken = |ns| before.taken(after, Duration::from_nanos(ns)).as_nanos();
        assert_eq!((taken(5000), taken(1200), taken(300)), (1000, 800, 0));
    }

    #[test]
    fn a_server_elsewhere_is_not_looked_for() {
        assert!(is_here("/tmp") && is_here("localhost"));
        assert!(!is_here("db.example.org"));
    }
}
