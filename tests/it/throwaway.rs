use crate::server::{connect, environment, fresh, server};
use dbtune::db::throwaway::{Options, Throwaway};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const HOLDER: &str = "DBTUNE_TEST_HOLD_SERVER_IN";

/// A folder that the server's user can enter, with no other test's servers in it.
fn parent() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(parent.path(), std::fs::Permissions::from_mode(0o1777)).unwrap();
    parent
}

fn options(parent: &Path) -> Options {
    let mut options = Options::from_env(&environment()).unwrap();
    options.parent = Some(parent.to_owned());
    options
        .settings
        .insert("shared_buffers".into(), "16MB".into());
    options
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect()
}

/// Processes whose arguments name `path`, the caller's aside.
fn processes(path: &Path) -> Vec<String> {
    let output = Command::new("ps")
        .args(["-eo", "pid=,args="])
        .output()
        .unwrap();
    let path = path.to_str().unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter(|line| line.contains(path))
        .map(str::to_owned)
        .collect()
}

async fn eventually_gone(folder: &Path) {
    let begun = Instant::now();
    while !entries(folder).is_empty() || !processes(folder).is_empty() {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "left: {:?} {:?}",
            entries(folder),
            processes(folder)
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn answers_with_its_extensions_and_settings() {
    let db = fresh("answers").await;
    let client = db.client().await;
    assert_eq!(
        client
            .query_one("select 1", &[])
            .await
            .unwrap()
            .get::<_, i32>(0),
        1
    );
    client
        .query("select count(*) from pg_stat_statements", &[])
        .await
        .unwrap();
    if server().gaps().iter().all(|gap| gap.what != "hypopg") {
        client.query("select * from hypopg()", &[]).await.unwrap();
    }
    for (setting, value) in [
        ("listen_addresses", ""),
        ("fsync", "off"),
        ("server_encoding", "UTF8"),
    ] {
        let row = client
            .query_one("select current_setting($1)", &[&setting])
            .await
            .unwrap();
        assert_eq!(row.get::<_, &str>(0), value, "{setting}");
    }
}

#[tokio::test]
async fn drop_leaves_neither_process_nor_file() {
    let parent = parent();
    let server = Throwaway::start(options(parent.path())).await.unwrap();
    let client = connect(&server.url("postgres", server.superuser())).await;
    let row = client
        .query_one("select current_setting('shared_buffers')", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, &str>(0), "16MB", "the caller's settings win");
    assert!(!processes(parent.path()).is_empty());
    drop(server);
    assert_eq!(entries(parent.path()), Vec::<PathBuf>::new());
    assert_eq!(processes(parent.path()), Vec::<String>::new());
}

#[tokio::test]
async fn an_abandoned_start_leaves_nothing() {
    let parent = parent();
    let start = Throwaway::start(options(parent.path()));
    assert!(
        tokio::time::timeout(Duration::from_millis(200), start)
            .await
            .is_err()
    );
    assert_eq!(entries(parent.path()), Vec::<PathBuf>::new());
    assert_eq!(processes(parent.path()), Vec::<String>::new());
}

#[tokio::test]
async fn stop_removes_and_keep_leaves() {
    let parent = parent();
    Throwaway::start(options(parent.path()))
        .await
        .unwrap()
        .stop()
        .await
        .unwrap();
    assert_eq!(entries(parent.path()), Vec::<PathBuf>::new());

    let server = Throwaway::start(options(parent.path())).await.unwrap();
    let url = server.url("postgres", server.superuser());
    let text = server.keep().unwrap();
    assert!(text.contains(&url), "{text}");
    connect(&url).await.batch_execute("select 1").await.unwrap();
    // A later run must not take a kept server for a leftover.
    Throwaway::start(options(parent.path()))
        .await
        .unwrap()
        .stop()
        .await
        .unwrap();
    connect(&url).await.batch_execute("select 1").await.unwrap();

    let removal = text
        .lines()
        .find_map(|l| l.trim().strip_prefix("remove"))
        .unwrap();
    let status = Command::new("sh")
        .args(["-c", removal])
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{removal}");
    eventually_gone(parent.path()).await;
}

#[tokio::test]
async fn a_server_that_cannot_start_shows_its_log() {
    let parent = parent();
    let mut options = options(parent.path());
    options
        .settings
        .insert("shared_buffers".into(), "plenty".into());
    let error = Throwaway::start(options).await.unwrap_err().to_string();
    assert!(
        error.contains("invalid value for parameter \"shared_buffers\""),
        "{error}"
    );
    assert_eq!(entries(parent.path()), Vec::<PathBuf>::new());
}

/// Runs [`holds_a_server`] in a process of its own until it is killed.
fn holder(parent: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "throwaway::holds_a_server",
            "--ignored",
            "--nocapture",
        ])
        .env(HOLDER, parent)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(
        lines.any(|line| line.unwrap().contains("holding")),
        "the server did not start"
    );
    child
}

#[test]
#[ignore = "a process for other tests to kill"]
fn holds_a_server() {
    let Some(parent) = std::env::var_os(HOLDER) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _server = runtime
        .block_on(Throwaway::start(options(Path::new(&parent))))
        .unwrap();
    println!("\nholding");
    let _ = std::io::stdin().read(&mut [0]);
}

#[tokio::test]
async fn a_killed_owner_leaves_nothing() {
    let parent = parent();
    let mut owner = holder(parent.path());
    assert!(!entries(parent.path()).is_empty());
    owner.kill().unwrap();
    owner.wait().unwrap();
    eventually_gone(parent.path()).await;
}

#[tokio::test]
async fn the_next_start_removes_a_leftover_and_no_server_in_use() {
    let parent = parent();
    let in_use = Throwaway::start(options(parent.path())).await.unwrap();
    let mut owner = holder(parent.path());
    let leftover = entries(parent.path())
        .into_iter()
        .find(|path| path != in_use.socket_dir())
        .unwrap();
    let guardian = std::fs::read_to_string(leftover.join("guardian")).unwrap();
    let killed = Command::new("kill")
        .args(["-KILL", guardian.trim()])
        .status()
        .unwrap();
    assert!(killed.success());
    owner.kill().unwrap();
    owner.wait().unwrap();
    assert!(
        !processes(&leftover).is_empty(),
        "nothing but the server itself is left"
    );

    let next = Throwaway::start(options(parent.path())).await.unwrap();
    assert!(!leftover.exists());
    assert_eq!(processes(&leftover), Vec::<String>::new());
    connect(&in_use.url("postgres", in_use.superuser()))
        .await
        .batch_execute("select 1")
        .await
        .unwrap();
    drop((in_use, next));
    assert_eq!(entries(parent.path()), Vec::<PathBuf>::new());
}
