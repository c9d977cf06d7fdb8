//! Load by PostgreSQL's own pgbench, with the latency of each of its transactions.

use dbtune::db::throwaway::Throwaway;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Runs until it is stopped.
pub(crate) struct Pgbench {
    child: Child,
    dir: tempfile::TempDir,
}

/// What its clients waited, shortest first.
pub(crate) struct Latencies(Vec<Duration>);

impl Pgbench {
    /// `clients` connections that run the scripts at random, as fast as they can.
    pub(crate) async fn start(
        server: &Throwaway,
        (database, user): (&str, &str),
        clients: usize,
        scripts: &[&str],
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let admin = crate::server::connect(&server.url("postgres", server.superuser())).await;
        let mut command = Command::new(crate::server::binaries(&admin).await.join("pgbench"));
        command.args(["--no-vacuum", "--protocol=prepared", "--time=3600", "--log"]);
        command.arg(format!("--log-prefix={}", dir.path().join("log").display()));
        command.arg(format!("--client={clients}"));
        for (number, script) in scripts.iter().enumerate() {
            let file = dir.path().join(format!("{number}.sql"));
            std::fs::write(&file, script).unwrap();
            command.arg("--file").arg(file);
        }
        let child = command
            .arg("--host")
            .arg(server.socket_dir())
            .args([
                "--port",
                &server.port().to_string(),
                "--username",
                user,
                database,
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child, dir }
    }

    /// Ends it as its own time limit would, so that every transaction is in its log.
    pub(crate) fn stop(self) -> Latencies {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGALRM).unwrap();
        let output = self.child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "pgbench: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let mut all = Vec::new();
        for entry in std::fs::read_dir(self.dir.path()).unwrap() {
            let path = entry.unwrap().path();
            if path
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("log")
            {
                let text = std::fs::read_to_string(path).unwrap();
                all.extend(text.lines().map(|line| {
                    let field = line.split(' ').nth(2).unwrap();
                    Duration::from_micros(field.parse().unwrap())
                }));
            }
        }
        assert!(!all.is_empty(), "pgbench did nothing");
        all.sort();
        self.dir.close().unwrap();
        Latencies(all)
    }
}

impl Latencies {
    /// p99 and the longest.
    pub(crate) fn tail(&self) -> (Duration, Duration) {
        let p99 = self.0.get(self.0.len() * 99 / 100).copied().unwrap();
        (p99, self.0.last().copied().unwrap())
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}
