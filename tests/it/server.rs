//! One server for the whole test run, one database a test.
//!
//! Nothing drops a static, and nothing needs to: the server's guardian ends it when this process ends.

use dbtune::db::throwaway::{Options, Throwaway};
use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio_postgres::{Client, NoTls};

/// A database of its own for one test.
pub(crate) struct Db {
    pub(crate) name: String,
    /// As the superuser.
    pub(crate) url: String,
}

impl Db {
    /// The same database as another role.
    pub(crate) fn url_as(&self, user: &str) -> String {
        server().url(&self.name, user)
    }

    /// A connection as the superuser.
    pub(crate) async fn client(&self) -> Client {
        connect(&self.url).await
    }
}

/// The environment of the test run, as the command line hands it to the library.
pub(crate) fn environment() -> std::collections::BTreeMap<String, String> {
    std::env::vars().collect()
}

pub(crate) fn server() -> &'static Throwaway {
    static SERVER: OnceLock<Throwaway> = OnceLock::new();
    SERVER.get_or_init(|| {
        // A thread of its own, because the caller may be inside a runtime.
        std::thread::spawn(|| {
            tokio::runtime::Runtime::new().unwrap().block_on(async {
                let mut options = Options::from_env(&environment()).unwrap();
                // All tests together send more statements than it holds by default.
                let (name, most) = ("pg_stat_statements.max", "50000");
                options.settings.insert(name.to_owned(), most.to_owned());
                Throwaway::start(options)
                    .await
                    .unwrap_or_else(|e| panic!("{e}"))
            })
        })
        .join()
        .unwrap()
    })
}

/// An empty database (with the server's extensions); `label` makes its name readable.
pub(crate) async fn fresh(label: &str) -> Db {
    fresh_from(label, "template1").await
}

/// A copy of a database made by [`template`].
pub(crate) async fn fresh_from(label: &str, template: &str) -> Db {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("t{}_{label}", NUMBER.fetch_add(1, Ordering::Relaxed));
    create(&name, template).await;
    Db {
        url: server().url(&name, server().superuser()),
        name,
    }
}

/// Builds the template `name` by running `scripts` in order, the first time only; returns its name.
pub(crate) async fn template<'a>(name: &'a str, scripts: &[String]) -> &'a str {
    static BUILT: tokio::sync::Mutex<BTreeSet<String>> =
        tokio::sync::Mutex::const_new(BTreeSet::new());
    let mut built = BUILT.lock().await;
    if built.insert(name.to_owned()) {
        create(name, "template1").await;
        let client = connect(&server().url(name, server().superuser())).await;
        for script in scripts {
            client
                .batch_execute(script)
                .await
                .unwrap_or_else(|e| panic!("{name}: {e:?} in\n{script}"));
        }
        close(client, name).await;
    }
    name
}

pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .unwrap_or_else(|e| panic!("{url}: {e:?}"));
    tokio::spawn(connection);
    client
}

async fn admin() -> Client {
    connect(&server().url("postgres", server().superuser())).await
}

async fn create(name: &str, template: &str) {
    let statement = format!("create database \"{name}\" template \"{template}\"");
    admin()
        .await
        .batch_execute(&statement)
        .await
        .unwrap_or_else(|e| panic!("{statement}: {e:?}"));
}

/// Ends `client` and waits until the server has noticed: a template may have no sessions.
pub(crate) async fn close(client: Client, database: &str) {
    drop(client);
    let admin = admin().await;
    loop {
        let row = admin
            .query_one(
                "select count(*) from pg_stat_activity where datname = $1",
                &[&database],
            )
            .await
            .unwrap();
        if row.get::<_, i64>(0) == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// Where the server's programs are; asked as its superuser.
pub(crate) async fn binaries(client: &Client) -> std::path::PathBuf {
    let row = client
        .query_one("select setting from pg_config() where name = 'BINDIR'", &[])
        .await
        .unwrap();
    std::path::PathBuf::from(row.get::<_, String>(0))
}
