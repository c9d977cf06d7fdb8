use super::account::Account;
use crate::db::{Error, Result};
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

// $1 the directory, $2 the folder of binaries. A closed pipe ends `read`, however its other end was closed.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
root=$1 bin=$2
echo $$ > "$root/guardian"
build() {
    "$bin/initdb" -D "$root/data" -U postgres -E UTF8 --locale="$1" --auth-local=trust --auth-host=reject --no-sync
}
up() {
    build C.UTF-8 || { rm -rf "$root/data"; build C; } || return 1
    cat "$root/settings.conf" >> "$root/data/postgresql.conf" || return 1
    "$bin/pg_ctl" start -D "$root/data" -l "$root/server.log" -w -t 60 -s
}
up >> "$root/start.log" 2>&1 || : > "$root/failed"
word=
read -r word
[ "$word" = keep ] && exit 0
"$bin/pg_ctl" stop -D "$root/data" -m immediate -w -t 30 -s
rm -rf "$root"
"#;

/// The process that outlives its owner by just as long as it takes to clear up.
#[derive(Debug)]
pub(super) struct Guardian {
    child: Child,
}

impl Guardian {
    /// Starts building the server in `root`; a file `failed` appears there if that does not work out.
    pub(super) fn spawn(
        root: &Path,
        binaries: &Path,
        account: Option<&Account>,
        env: &BTreeMap<String, String>,
    ) -> Result<Self> {
        let mut command = Command::new("/bin/sh");
        // The caller's PGDATA, PGPORT or LC_ALL must not reach the server.
        command
            .args(["-c", SCRIPT, "dbtune-guardian"])
            .arg(root)
            .arg(binaries)
            .env_clear()
            .env(
                "PATH",
                env.get("PATH").map_or("/usr/bin:/bin", String::as_str),
            )
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        if let Some(account) = account {
            // The standard library drops root's supplementary groups along with the user.
            command.uid(account.uid).gid(account.gid);
        }
        let child = command
            .spawn()
            .map_err(|e| Error::new("start a throwaway server with /bin/sh", e.to_string()))?;
        Ok(Self { child })
    }

    /// Closes the pipe: the server stops and its directory is removed.
    pub(super) fn release(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Lets the server run on for good.
    pub(super) fn dismiss(&mut self) -> Result<()> {
        if let Some(mut pipe) = self.child.stdin.take() {
            pipe.write_all(b"keep\n")
                .map_err(|e| Error::new("leave the server running", e.to_string()))?;
        }
        self.wait();
        Ok(())
    }

    pub(super) fn ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Blocks until the guardian has ended; call [`Guardian::release`] first.
    pub(super) fn wait(&mut self) {
        // It can only fail where the process has been waited for already.
        let _ = self.child.wait();
    }
}
