//! `PgBouncer`: refused in transaction mode, welcome in session mode.

use crate::migrate_ground::ground;
use crate::server;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Ends with the test.
struct Pooler(Child);

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(dir: &Path, mode: &str, database: &str, user: &str) -> Pooler {
    let binary = [
        "/usr/sbin/pgbouncer",
        "/usr/bin/pgbouncer",
        "/opt/homebrew/bin/pgbouncer",
    ]
    .into_iter()
    .find(|p| Path::new(p).exists())
    .unwrap_or_else(|| panic!("pgbouncer is not installed: make deps"));
    let socket = server::server().socket_dir().display();
    let ini = dir.join("pgbouncer.ini");
    let folder = dir.display();
    std::fs::write(
        &ini,
        format!(
            "[databases]\n{database} = host={socket} port=5432 user={user}\n[pgbouncer]\nlisten_addr=\nlisten_port=6432\nunix_socket_dir={folder}\nauth_type=any\npool_mode={mode}\nlogfile={folder}/log\n"
        ),
    )
    .unwrap();
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o777)).unwrap();
    // It refuses to run as root.
    let mut command = if nix::unistd::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args([
            "--reuid=postgres",
            "--regid=postgres",
            "--clear-groups",
            binary,
        ]);
        command
    } else {
        Command::new(binary)
    };
    let child = command
        .arg("-q")
        .arg(&ini)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while !dir.join(".s.PGSQL.6432").exists() {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "pgbouncer did not start: {:?}",
            std::fs::read_to_string(dir.join("log"))
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    Pooler(child)
}

#[tokio::test]
async fn transaction_pooling_is_refused_and_session_pooling_is_not() {
    let ground = ground("pooled").await;
    ground.usual();
    for (mode, code) in [("transaction", 2), ("session", 0)] {
        let dir = tempfile::tempdir().unwrap();
        let _pooler = start(dir.path(), mode, &ground.db.name, &ground.user);
        let output = Command::new(env!("CARGO_BIN_EXE_dbtune"))
            .args(["apply", "--unverified"])
            .arg("--migrations")
            .arg(ground.dir.path())
            .arg("--db")
            .arg(format!(
                "host={} port=6432 user={} dbname={}",
                dir.path().display(),
                ground.user,
                ground.db.name
            ))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{mode}: {text}");
        assert_eq!(
            text.contains("pooler in transaction mode"),
            code == 2,
            "{mode}: {text}"
        );
    }
    assert_eq!(ground.versions().await.len(), 3);
}
