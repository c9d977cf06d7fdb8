//! What the migration tests stand on: a database with a busy table, a folder of migrations, the binary.

use crate::server::{self, Db};
use dbtune::db::Target;
use dbtune::db::throwaway::Throwaway;
use dbtune::migrate::{self, Back, Event, Folder, Options, Outcome, Stop};
use sqlx::ConnectOptions;
use std::collections::BTreeMap;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use tokio_postgres::Client;

pub(crate) struct Ground {
    server: &'static Throwaway,
    pub(crate) db: Db,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) user: String,
}

/// A table of its own with some rows, owned by a role that is no superuser.
pub(crate) async fn ground(label: &str) -> Ground {
    prepared(server::server(), server::fresh(label).await).await
}

/// The same on a server of the test's own.
pub(crate) async fn ground_on(server: &'static Throwaway, label: &str) -> Ground {
    let admin = server::connect(&server.url("postgres", server.superuser())).await;
    admin
        .batch_execute(&format!("create database {label}"))
        .await
        .unwrap();
    let db = Db {
        name: label.to_owned(),
        url: server.url(label, server.superuser()),
    };
    prepared(server, db).await
}

async fn prepared(server: &'static Throwaway, db: Db) -> Ground {
    let user = format!("{}_owner", db.name);
    db.client()
        .await
        .batch_execute(&format!(
            "create role \"{user}\" login;
             grant create on database \"{}\" to \"{user}\";
             grant create on schema public to \"{user}\";
             set role \"{user}\";
             create table items (id bigint generated always as identity primary key, tenant int not null, name text);
             insert into items (tenant, name) select i % 50, 'n' || i from generate_series(1, 2000) i;
             alter table items enable row level security;
             create policy own on items using (tenant = current_setting('app.tenant', true)::int);",
            db.name
        ))
        .await
        .unwrap();
    Ground {
        server,
        db,
        dir: tempfile::tempdir().unwrap(),
        user,
    }
}

pub(crate) const INDEX_UP: &str =
    "-- no-transaction\ncreate index concurrently items_tenant_idx on items (tenant);\n";
pub(crate) const INDEX_DOWN: &str =
    "-- no-transaction\ndrop index concurrently if exists items_tenant_idx;\n";

impl Ground {
    pub(crate) fn put(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join(name), text).unwrap();
    }

    /// A policy rewrite, an index, and a table.
    pub(crate) fn usual(&self) {
        self.put("20250101000000_own_policy.up.sql", "-- why\nalter policy own on items using (tenant = (select current_setting('app.tenant', true)::int));\ncreate function tenants() returns int[] stable language sql as $$ select array[1, 2]; $$;\n");
        self.put("20250101000000_own_policy.down.sql", "drop function tenants();\nalter policy own on items using (tenant = current_setting('app.tenant', true)::int);\n");
        self.put("20250101000001_items_tenant_idx.up.sql", INDEX_UP);
        self.put("20250101000001_items_tenant_idx.down.sql", INDEX_DOWN);
        self.put("20250101000002_notes.up.sql", "create table notes (id int primary key, item bigint references items);\ncreate index notes_item_idx on notes (item);\n");
        self.put("20250101000002_notes.down.sql", "drop table notes;\n");
    }

    pub(crate) fn url(&self) -> String {
        self.server.url(&self.db.name, &self.user)
    }

    pub(crate) fn target(&self) -> Target {
        Target::resolve(Some(&self.url()), &BTreeMap::new()).unwrap()
    }

    pub(crate) fn folder(&self) -> Folder {
        Folder::read(self.dir.path()).unwrap_or_else(|p| panic!("{p:?}"))
    }

    pub(crate) async fn apply(&self) -> Result<Outcome, Stop> {
        self.apply_with(&Options::default()).await
    }

    pub(crate) async fn apply_with(&self, options: &Options) -> Result<Outcome, Stop> {
        migrate::apply(&self.target(), &self.folder(), options, &mut silent).await
    }

    pub(crate) async fn rollback(&self, back: Back) -> Result<Outcome, Stop> {
        let options = Options::default();
        migrate::rollback(&self.target(), &self.folder(), back, &options, &mut silent).await
    }

    pub(crate) async fn owner(&self) -> Client {
        server::connect(&self.url()).await
    }

    /// A connection of sqlx's own.
    pub(crate) async fn sqlx(&self) -> sqlx::PgConnection {
        let target = self.target();
        sqlx::postgres::PgConnectOptions::new_without_pgpass()
            .host(&target.host)
            .port(target.port)
            .username(&target.user)
            .database(&target.dbname)
            .connect()
            .await
            .unwrap()
    }

    /// Runs the binary against this ground.
    pub(crate) fn dbtune(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dbtune"));
        command
            .args(args)
            .args(["--db", &self.url()])
            .current_dir(self.dir.path().parent().unwrap())
            .stdin(Stdio::null());
        // These stories are about the runner; `migrate_proof` is about what is asked for before it.
        if args.first() == Some(&"apply") {
            command.arg("--unverified");
        }
        if args.first() != Some(&"--help") {
            command.arg("--migrations").arg(self.dir.path());
        }
        command
    }

    /// Versions in sqlx's table.
    pub(crate) async fn versions(&self) -> Vec<i64> {
        let rows = self
            .owner()
            .await
            .query(
                "select version from _sqlx_migrations where success order by 1",
                &[],
            )
            .await
            .unwrap();
        rows.iter().map(|r| r.get(0)).collect()
    }

    /// Nothing invalid, nothing half done.
    pub(crate) async fn assert_tidy(&self, when: &str) {
        let client = self.owner().await;
        let invalid: Vec<String> = client
            .query(
                "select indexrelid::regclass::text from pg_index where not indisvalid",
                &[],
            )
            .await
            .unwrap()
            .iter()
            .map(|r| r.get(0))
            .collect();
        assert!(invalid.is_empty(), "{when}: invalid {invalid:?}");
        let half = client
            .query(
                "select version, state from dbtune.steps where state <> 'applied'",
                &[],
            )
            .await
            .unwrap();
        assert!(half.is_empty(), "{when}: {half:?}");
    }
}

pub(crate) fn silent(_: Event<'_>) {}

pub(crate) fn impatient() -> Options {
    Options {
        lock_timeout: Duration::from_millis(200),
        build_timeout: Duration::from_millis(500),
        retry_for: Duration::from_secs(1),
        ..Options::default()
    }
}

/// Everything a schema holds, dbtune's and sqlx's own tables aside.
pub(crate) async fn schema_dump(client: &Client) -> String {
    let rows = client
        .query(
            "select 'index ' || pg_get_indexdef(i.indexrelid) || ' valid ' || i.indisvalid as line
               from pg_index i join pg_class c on c.oid = i.indexrelid
               where c.relnamespace::regnamespace::text not in ('pg_catalog', 'pg_toast', 'dbtune')
                 and i.indrelid::regclass::text <> '_sqlx_migrations'
             union all select 'policy ' || polrelid::regclass || ' ' || polname || ' ' || polcmd::text || polpermissive || polroles::text
               || coalesce(pg_get_expr(polqual, polrelid), '') || coalesce(pg_get_expr(polwithcheck, polrelid), '') from pg_policy
             union all select 'function ' || pg_get_functiondef(p.oid) from pg_proc p
               where p.pronamespace = 'public'::regnamespace and p.prokind = 'f'
                 and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
             union all select 'column ' || attrelid::regclass || ' ' || attname || ' ' || format_type(atttypid, atttypmod) || attnotnull
               from pg_attribute a join pg_class c on c.oid = a.attrelid
               where c.relnamespace = 'public'::regnamespace and attnum > 0 and not attisdropped
                 and c.relkind in ('r', 'p') and c.relname <> '_sqlx_migrations'
             order by 1",
            &[],
        )
        .await
        .unwrap();
    let lines: Vec<String> = rows.iter().map(|r| r.get(0)).collect();
    lines.join("\n")
}

pub(crate) async fn wait_until(client: &Client, question: &str) {
    let begun = Instant::now();
    while !client
        .query_one(question, &[])
        .await
        .unwrap()
        .get::<_, bool>(0)
    {
        assert!(begun.elapsed() < Duration::from_secs(20), "{question}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
