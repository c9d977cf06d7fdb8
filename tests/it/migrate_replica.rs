//! A replica of a server: refused as a place for changes, and waited for where it is behind.

use crate::migrate_ground::{Ground, ground_on, impatient, silent, wait_until};
use crate::server;
use dbtune::db::Target;
use dbtune::db::throwaway::{Options as ServerOptions, Throwaway};
use dbtune::migrate::{self, Options};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio_postgres::Client;

/// Ends with the test.
pub(crate) struct Replica {
    bin: PathBuf,
    owner: u32,
    data: PathBuf,
    pub(crate) socket: PathBuf,
    _dir: tempfile::TempDir,
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = as_owner(self.owner, &self.bin.join("pg_ctl"))
            .args(["stop", "-m", "immediate", "-D"])
            .arg(&self.data)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

/// A server refuses to run as root.
fn as_owner(uid: u32, program: &Path) -> Command {
    if !nix::unistd::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args([&format!("--reuid={uid}"), "--clear-groups"])
        .arg(program);
    command
}

/// Copies the data directory of a running server, through its own functions: not every package has `pg_basebackup`.
async fn back_up(client: &Client, to: &Path) {
    let (major, _) = server::server().version();
    let (start, stop) = if major >= 15 {
        (
            "select pg_backup_start('copy', true)",
            "select labelfile from pg_backup_stop(false)",
        )
    } else {
        (
            "select pg_start_backup('copy', true, false)",
            "select labelfile from pg_stop_backup(false, false)",
        )
    };
    client.query(start, &[]).await.unwrap();
    let from: String = client
        .query_one("select current_setting('data_directory')", &[])
        .await
        .unwrap()
        .get(0);
    // Files come and go while it copies, so its exit code says little; the standby's start says more.
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).output();
    assert!(to.join("global").exists(), "{copied:?}");
    std::fs::remove_file(to.join("postmaster.pid")).unwrap();
    let label: String = client.query_one(stop, &[]).await.unwrap().get(0);
    std::fs::write(to.join("backup_label"), label).unwrap();
}

/// Copies the server and starts the copy as its standby.
pub(crate) async fn replica_of(ground: &Ground, primary: &Throwaway) -> Replica {
    let client = ground.db.client().await;
    let bin = server::binaries(&client).await;
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let owner = std::fs::metadata(primary.socket_dir()).unwrap();
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(dir.path(), Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    let data = dir.path().join("data");
    back_up(&client, &data).await;
    let follow = format!(
        "primary_conninfo = 'host={} port={} user={}'\n",
        primary.socket_dir().display(),
        primary.port(),
        primary.superuser()
    );
    let mut settings = OpenOptions::new()
        .append(true)
        .open(data.join("postgresql.auto.conf"))
        .unwrap();
    settings.write_all(follow.as_bytes()).unwrap();
    std::fs::write(data.join("standby.signal"), "").unwrap();
    for ours in ["standby.signal", "backup_label"] {
        std::os::unix::fs::chown(data.join(ours), Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    let started = as_owner(owner.uid(), &bin.join("pg_ctl"))
        .args(["start", "-w", "-D"])
        .arg(&data)
        .arg("-l")
        .arg(dir.path().join("log"))
        .arg("-o")
        .arg(format!("-k {}", dir.path().display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
    assert!(started.success(), "{log}");
    Replica {
        bin,
        owner: owner.uid(),
        data,
        socket: dir.path().to_owned(),
        _dir: dir,
    }
}

#[tokio::test]
async fn a_replica_is_refused_and_waited_for() {
    let options = ServerOptions {
        settings: BTreeMap::from([
            ("wal_level".to_owned(), "replica".to_owned()),
            ("max_wal_senders".to_owned(), "4".to_owned()),
        ]),
        ..ServerOptions::from_env(&server::environment()).unwrap()
    };
    let primary = Throwaway::start(options)
        .await
        .unwrap_or_else(|e| panic!("{e}"));
    let primary: &'static Throwaway = Box::leak(Box::new(primary));
    let ground = ground_on(primary, "followed").await;
    ground.usual();
    let replica = replica_of(&ground, primary).await;

    let url = format!(
        "postgres:///followed?host={}&port={}&user={}",
        replica.socket.display(),
        primary.port(),
        ground.user
    );
    let target = Target::resolve(Some(&url), &BTreeMap::new()).unwrap();
    let stop = migrate::apply(&target, &ground.folder(), &Options::default(), &mut silent)
        .await
        .unwrap_err();
    assert!(stop.to_string().contains("is a replica"), "{stop}");
    assert!(stop.to_string().contains("primary"), "{stop}");
    assert!(!stop.changed());

    let admin = ground.db.client().await;
    // Who may not see the replicas cannot wait for them.
    admin
        .batch_execute(&format!("grant pg_monitor to \"{}\"", ground.user))
        .await
        .unwrap();
    let (standby, connection) = tokio_postgres::Config::new()
        .host_path(&replica.socket)
        .port(primary.port())
        .user(primary.superuser())
        .dbname("postgres")
        .connect(tokio_postgres::NoTls)
        .await
        .unwrap_or_else(|e| panic!("{e:?}"));
    tokio::spawn(connection);
    lag_stops_the_run(&ground, &admin, &standby).await;
    lag_ends_a_build(&ground, &admin, &standby).await;
}

/// Writes until a replica that replays nothing is behind by half a second.
async fn fall_behind(admin: &Client) {
    let begun = Instant::now();
    loop {
        admin
            .batch_execute(
                "create table if not exists moving (a int); insert into moving values (1)",
            )
            .await
            .unwrap();
        let behind: bool = admin
            .query_one(
                "select coalesce(max(replay_lag) > '500 ms', false) from pg_stat_replication",
                &[],
            )
            .await
            .unwrap()
            .get(0);
        if behind {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "never behind");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// While the replica replays nothing, a run with a limit waits; it goes on when the replica does.
async fn lag_stops_the_run(ground: &Ground, admin: &Client, standby: &Client) {
    standby
        .batch_execute("select pg_wal_replay_pause()")
        .await
        .unwrap();
    fall_behind(admin).await;
    let options = Options {
        max_replica_lag: Some(Duration::from_millis(200)),
        ..impatient()
    };
    let stop = ground.apply_with(&options).await.unwrap_err();
    assert!(stop.to_string().contains("behind"), "{stop}");
    assert!(!stop.changed(), "{stop}");

    standby
        .batch_execute("select pg_wal_replay_resume()")
        .await
        .unwrap();
    let patient = Options {
        retry_for: Duration::from_secs(30),
        max_replica_lag: Some(Duration::from_secs(5)),
        ..options
    };
    let outcome = ground
        .apply_with(&patient)
        .await
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(outcome.done.len(), 3);
}

/// A replica that falls behind while an index is built ends the build, where that is asked for.
async fn lag_ends_a_build(ground: &Ground, admin: &Client, standby: &Client) {
    let client = ground.owner().await;
    client
        .batch_execute(
            "create function slow(bigint) returns bigint immutable language plpgsql
             as 'begin perform pg_sleep(0.005); return $1; end'",
        )
        .await
        .unwrap();
    ground.put(
        "20250101000009_slow.up.sql",
        "-- no-transaction\ncreate index concurrently items_slow_idx on items (slow(id));\n",
    );
    ground.put(
        "20250101000009_slow.down.sql",
        "-- no-transaction\ndrop index concurrently if exists items_slow_idx;\n",
    );
    let options = Options {
        max_replica_lag: Some(Duration::from_millis(400)),
        stop_on_lag: true,
        ..Options::default()
    };
    let run = tokio::spawn({
        let (target, folder) = (ground.target(), ground.folder());
        let options = options.clone();
        async move { migrate::apply(&target, &folder, &options, &mut silent).await }
    });
    wait_until(
        &client,
        "select exists (select from pg_index where not indisvalid)",
    )
    .await;
    standby
        .batch_execute("select pg_wal_replay_pause()")
        .await
        .unwrap();
    fall_behind(admin).await;
    let stop = run.await.unwrap().unwrap_err();
    assert!(
        stop.to_string().contains("because a replica fell"),
        "{stop}"
    );
    assert!(!stop.changed(), "{stop}");
    ground.assert_tidy("after a build was ended").await;
    standby
        .batch_execute("select pg_wal_replay_resume()")
        .await
        .unwrap();
}
