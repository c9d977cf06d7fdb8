use super::account::Account;
use crate::db::{Error, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const PREFIX: &str = "dbtune-pg-";
/// The shortest limit of the systems dbtune runs on, for the whole path of a socket.
const SOCKET_LIMIT: usize = 103;
const SOCKET: &str = ".s.PGSQL.5432";
const RANDOM: usize = 8;

/// The private directory of one server: data, socket, logs. Removed when dropped.
#[derive(Debug)]
pub(super) struct Place {
    root: PathBuf,
    account: Option<Account>,
    abandoned: bool,
    /// Locked for as long as the owner lives: how others tell a leftover from a server in use.
    _lock: File,
}

impl Place {
    pub(super) fn create(parent: &Path, account: Option<&Account>) -> Result<Self> {
        let failed = |e: std::io::Error| {
            Error::new(
                format!("make a directory in {}", parent.display()),
                e.to_string(),
            )
        };
        let fresh = tempfile::Builder::new()
            .prefix(".dbtune-new-")
            .rand_bytes(RANDOM)
            .tempdir_in(parent)
            .map_err(failed)?;
        let lock = File::create(fresh.path().join("lock")).map_err(failed)?;
        lock.try_lock().map_err(|e| failed(e.into()))?;
        if let Some(account) = account {
            chown(fresh.path(), Some(account.uid), Some(account.gid)).map_err(failed)?;
        }
        // Takes its final name only with the lock held, so that no other run can think it a leftover.
        let name = fresh
            .path()
            .to_string_lossy()
            .replace(".dbtune-new-", PREFIX);
        let root = PathBuf::from(name);
        fs::rename(fresh.path(), &root).map_err(failed)?;
        let _ = fresh.keep();
        Ok(Self {
            root,
            account: account.cloned(),
            abandoned: false,
            _lock: lock,
        })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Writes a file that the server's user can read whatever the umask.
    pub(super) fn write(&self, file: &str, text: &str) -> Result<()> {
        let path = self.root.join(file);
        fs::write(&path, text)
            .and_then(|()| match &self.account {
                Some(account) => chown(&path, Some(account.uid), Some(account.gid)),
                None => Ok(()),
            })
            .map_err(|e| Error::new(format!("write {}", path.display()), e.to_string()))
    }

    /// The last lines of what `initdb`, `pg_ctl` and the server wrote.
    pub(super) fn log_tail(&self) -> String {
        let text = ["start.log", "server.log"]
            .iter()
            .filter_map(|file| fs::read_to_string(self.root.join(file)).ok())
            .collect::<String>();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines.iter().skip(lines.len().saturating_sub(12));
        tail.map(|line| format!("    {line}"))
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// Leaves the directory where it is.
    pub(super) fn abandon(&mut self) {
        self.abandoned = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.abandoned {
            clear(&self.root);
        }
    }
}

/// The directory that servers are made in.
pub(super) fn parent(
    wanted: Option<&Path>,
    env: &BTreeMap<String, String>,
    account: Option<&Account>,
) -> Result<PathBuf> {
    if let Some(wanted) = wanted {
        return usable(wanted, account).map_err(|why| {
            Error::new(
                format!("make a throwaway server in {}", wanted.display()),
                why,
            )
        });
    }
    let candidates = env.get("TMPDIR").map(String::as_str).into_iter();
    candidates
        .chain(["/tmp", "/var/tmp"])
        .find_map(|folder| usable(Path::new(folder), account).ok())
        .ok_or_else(|| {
            Error::new(
                "make a throwaway server",
                "none of TMPDIR, /tmp and /var/tmp can be used",
            )
        })
}

fn usable(folder: &Path, account: Option<&Account>) -> Result<PathBuf, String> {
    let folder = folder.canonicalize().map_err(|e| e.to_string())?;
    if folder.join(PREFIX).as_os_str().len() + RANDOM + 1 + SOCKET.len() > SOCKET_LIMIT {
        return Err("the path is too long for a Unix socket".to_owned());
    }
    if let Some(account) = account {
        for part in folder.ancestors() {
            let mode = fs::metadata(part).map_err(|e| e.to_string())?.mode();
            if mode & 0o001 == 0 {
                return Err(format!(
                    "the user {} cannot enter {}",
                    account.name,
                    part.display()
                ));
            }
        }
    }
    Ok(folder)
}

/// Removes servers whose owners are gone. What cannot be removed is left for the next run.
pub(super) fn sweep(parent: &Path, account: Option<&Account>) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    let owner = account.map_or(geteuid().as_raw(), |a| a.uid);
    for entry in entries.flatten() {
        let root = entry.path();
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && entry
                .metadata()
                .is_ok_and(|m| m.is_dir() && m.uid() == owner);
        if ours && !root.join("kept").exists() && unowned(&root) {
            clear(&root);
        }
    }
}

fn unowned(root: &Path) -> bool {
    match File::open(root.join("lock")) {
        Ok(lock) => lock.try_lock().is_ok(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

/// Ends what still runs in `root` and removes it.
fn clear(root: &Path) {
    if let Some(server) = running_server(root) {
        let begun = Instant::now();
        let mut signal = Signal::SIGQUIT;
        while kill(server, signal).is_ok() && begun.elapsed() < Duration::from_secs(10) {
            if begun.elapsed() > Duration::from_secs(5) {
                signal = Signal::SIGKILL;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    // A guardian may be removing the same files: a second try takes what the first one stumbled over.
    if fs::remove_dir_all(root).is_err() && root.exists() {
        let _ = fs::remove_dir_all(root);
    }
}

/// The postmaster of `root`, made sure of by its arguments: after a crash its number may be another process's.
fn running_server(root: &Path) -> Option<Pid> {
    let data = root.join("data");
    let file = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let pid: i32 = file.lines().next()?.trim().parse().ok()?;
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).or_else(|_| {
        std::process::Command::new("ps")
            .args(["-o", "args=", "-p", &pid.to_string()])
            .output()
            .map(|output| output.stdout)
    });
    String::from_utf8_lossy(&arguments.ok()?)
        .contains(data.to_str()?)
        .then(|| Pid::from_raw(pid))
}
