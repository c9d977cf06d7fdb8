//! One change of a small database, and what `dbtune verify` says of it.

use crate::server::{self, Db, fresh_from, template};
use std::process::{Command, Stdio};

/// Roles and a database of an owner who is no superuser.
const ROLES: &str = "
do $$
begin
  if not exists (select from pg_roles where rolname = 'case_owner') then
    create role case_owner login createdb;
  end if;
  if not exists (select from pg_roles where rolname = 'case_app') then
    create role case_app nologin;
  end if;
end
$$;
grant case_app to case_owner;
alter schema public owner to case_owner;
grant usage on schema public to case_app;
create schema extensions;
grant usage on schema extensions to public;
create extension citext schema extensions;
set role case_owner;
create function me() returns int language sql stable as $$ select nullif(current_setting('app.me', true), '')::int $$;
";

/// Two users, by a setting.
pub(crate) const TWO: &str = r#"
version: 1
personas:
  first: { role: case_app, settings: { app.me: "1" } }
  second: { role: case_app, settings: { app.me: "2" } }
queries:
  - { name: nothing, personas: [first], sql: "select 1" }
"#;

/// A database before the change.
pub(crate) struct Case {
    pub(crate) db: Db,
    pub(crate) workload: String,
    pub(crate) user: &'static str,
}

/// Builds the database that `setup` (run by its owner) makes, once for each `name`.
pub(crate) async fn case(name: &str, setup: &str, workload: &str) -> Case {
    let name = format!("case_{name}");
    let scripts = [
        ROLES.to_owned(),
        setup.to_owned(),
        "reset role; analyze".to_owned(),
    ];
    let db = fresh_from(&name, template(&name, &scripts).await).await;
    let client = db.client().await;
    let owned = format!("alter database \"{}\" owner to case_owner", db.name);
    client.batch_execute(&owned).await.unwrap();
    server::close(client, &db.name).await;
    Case {
        db,
        workload: workload.to_owned(),
        user: "case_owner",
    }
}

impl Case {
    /// More of the database, as its owner.
    pub(crate) async fn and(self, sql: &str) -> Self {
        let client = server::connect(&self.db.url_as("case_owner")).await;
        client
            .batch_execute(sql)
            .await
            .unwrap_or_else(|e| panic!("{e:?}: {sql}"));
        server::close(client, &self.db.name).await;
        self
    }

    /// The exit code for `change`, and all that was printed.
    pub(crate) fn verify(&self, change: &str) -> (Option<i32>, String) {
        let folder = tempfile::tempdir().unwrap();
        let migrations = folder.path().join("migrations");
        std::fs::create_dir(&migrations).unwrap();
        std::fs::write(
            migrations.join("20990101000000_change.up.sql"),
            format!("{change}\n"),
        )
        .unwrap();
        std::fs::write(
            migrations.join("20990101000000_change.down.sql"),
            "select 1;\n",
        )
        .unwrap();
        let workload = folder.path().join("workload.yaml");
        std::fs::write(&workload, &self.workload).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_dbtune"))
            .args([
                "verify",
                "--format",
                "json",
                "-q",
                "--db",
                &self.db.url_as(self.user),
            ])
            .arg("--workload")
            .arg(&workload)
            .arg("--migrations")
            .arg(&migrations)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stderr),
            String::from_utf8_lossy(&output.stdout)
        );
        (output.status.code(), text)
    }
}

/// Cases of one subject: all are run before any of them fails the test.
#[derive(Default)]
pub(crate) struct Wanted {
    failures: Vec<String>,
    asked: usize,
}

/// A difference is shown, or a proof refused.
pub(crate) const CAUGHT: &[i32] = &[1, 3];
/// A difference is shown.
pub(crate) const SHOWN: &[i32] = &[1];
/// Proven to be the same.
pub(crate) const SAME: &[i32] = &[0];
/// Not called different.
pub(crate) const NOT_ACCUSED: &[i32] = &[0, 3];

impl Wanted {
    /// `about` says what `change` does to `case`.
    pub(crate) fn of(&mut self, about: &str, case: &Case, change: &str, codes: &[i32]) {
        self.asked += 1;
        let (code, text) = case.verify(change);
        if !code.is_some_and(|c| codes.contains(&c)) {
            let end: String = text
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
                .chars()
                .take(1500)
                .collect();
            self.failures.push(format!(
                "{about}: exit {code:?}, not one of {codes:?}, for\n{change}\n{end}"
            ));
        }
    }

    pub(crate) fn hold(self) {
        let Self { failures, asked } = self;
        assert!(
            failures.is_empty(),
            "{} of {asked}:\n{}",
            failures.len(),
            failures.join("\n\n")
        );
    }
}
