//! What `--before` and `--after` mean: the database, a version, a commit, a file or another database.

use crate::bench::Baseline;
use crate::cli::given::read;
use crate::cli::paired::Wanted;
use crate::cli::{Context, migrating};
use crate::db::Target;
use crate::migrate::{self, Commit, Folder, Goal, NoCommit};
use anyhow::bail;
use std::path::{Path, PathBuf};

/// One side of a benchmark.
pub(super) enum Side {
    /// A clone of the database; empty as soon as it is being made.
    Clone(Option<Box<Wanted>>),
    /// A database as it is.
    Database(Box<Target>),
    /// What was measured another day.
    Recorded(PathBuf, Box<Baseline>),
}

/// A side, and what it is in words.
pub(super) struct Found {
    pub(super) side: Side,
    /// `version`, `git`, `file`, `url`, `pending` or `unchanged`.
    pub(super) kind: &'static str,
    pub(super) what: String,
}

/// libpq's keywords that a text of `keyword=value` pairs may begin with.
const KEYWORDS: [&str; 13] = [
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "passfile",
    "service",
    "sslmode",
    "sslrootcert",
    "options",
    "application_name",
    "connect_timeout",
];
/// Migrations that a message names.
const NAMED: usize = 8;

/// Finds out what a REF means. In this order: a URL, a file that ends in `.json`, a migration, a commit, any other file.
pub(super) struct Finder<'a> {
    pub(super) context: &'a Context,
    pub(super) migrations: &'a Path,
    /// `before` or `after`.
    pub(super) part: &'static str,
}

impl Finder<'_> {
    /// A clone that stays as the database is.
    pub(super) fn unchanged(&self) -> Found {
        let what = "the database as it is".to_owned();
        self.clone_at("unchanged", what, Folder::default(), Goal::Unchanged)
    }

    /// A clone with the pending migrations.
    pub(super) fn pending(&self) -> anyhow::Result<Found> {
        let folder = Folder::read(self.migrations).map_err(|p| migrating::refused(&p))?;
        let what = format!("the pending migrations of {}", self.migrations.display());
        Ok(self.clone_at("pending", what, folder, Goal::Pending))
    }

    /// The database itself, without a clone.
    pub(super) fn itself(&self) -> anyhow::Result<Found> {
        let target = self.context.target()?;
        Ok(Found {
            kind: "unchanged",
            what: format!("the database itself, {target}, as it is"),
            side: Side::Database(Box::new(target)),
        })
    }

    /// # Errors
    /// Where `text` means nothing: what was looked for, and what there is.
    pub(super) async fn find(&self, text: &str) -> anyhow::Result<Found> {
        if text.trim().is_empty() {
            bail!(
                "--{} is given an empty text (a variable that is not set?)",
                self.part
            );
        }
        match text.split_once(':') {
            Some(("url", url)) => return self.database(url),
            Some(("file", path)) => return recorded(Path::new(path)),
            Some(("version", name)) => {
                return match self.version(name).await? {
                    Ok(found) => Ok(found),
                    Err(there) => bail!(
                        "--{} version:{name}: no migration of {} or of the database's ledger has this version or name; {there}",
                        self.part,
                        self.migrations.display()
                    ),
                };
            }
            Some(("git", name)) => {
                return match Commit::find(self.migrations, name).await {
                    Ok(commit) => self.at(commit).await,
                    Err(why) => bail!(
                        "--{} git:{name}: no such commit: {why}{}",
                        self.part,
                        hint(&why)
                    ),
                };
            }
            _ => {}
        }
        if is_url(text) {
            return self.database(text);
        }
        if Path::new(text).extension().is_some_and(|e| e == "json") {
            return recorded(Path::new(text));
        }
        let there = match self.version(text).await? {
            Ok(found) => return Ok(found),
            Err(there) => there,
        };
        let why = match Commit::find(self.migrations, text).await {
            Ok(commit) => return self.at(commit).await,
            Err(why) => why,
        };
        if Path::new(text).is_file() {
            return recorded(Path::new(text));
        }
        bail!(
            "--{0} {1} is nothing that can be measured. Looked for:\n  a migration of the folder {2}, or of the database's ledger: {there}\n  a commit: {why}{3}\n  \
             a file that `dbtune bench --before -o FILE` recorded: there is none of that name\n\
             A database is named by a URL (postgresql://user@host:5432/database). version:, git:, file: or url: in front says \
             which of these is meant.",
            self.part,
            shown(text),
            self.migrations.display(),
            hint(&why)
        )
    }

    fn clone_at(&self, kind: &'static str, what: String, folder: Folder, goal: Goal) -> Found {
        let part = self.part;
        Found {
            kind,
            what,
            side: Side::Clone(Some(Box::new(Wanted { part, folder, goal }))),
        }
    }

    fn database(&self, url: &str) -> anyhow::Result<Found> {
        let target = Target::resolve(Some(url), &self.context.env)?;
        Ok(Found {
            kind: "url",
            what: format!("{target} as it is"),
            side: Side::Database(Box::new(target)),
        })
    }

    async fn at(&self, commit: Commit) -> anyhow::Result<Found> {
        let folder = commit.folder().await.map_err(|p| migrating::refused(&p))?;
        let what = format!("git {} ({})", commit.name, commit.short());
        Ok(self.clone_at("git", what, folder, Goal::Exactly))
    }

    /// The migration that `name` means; else what there is, in words.
    async fn version(&self, name: &str) -> anyhow::Result<Result<Found, String>> {
        let folder = self.folder()?;
        let target = self.context.target()?;
        let status = migrate::status(&target, &folder).await;
        let status = status.map_err(|s| migrating::failure(&s))?;
        let known: Vec<(i64, String)> = status
            .lines
            .into_iter()
            .map(|line| (line.version, line.slug))
            .collect();
        let label = |(version, slug): &(i64, String)| format!("{version}_{slug}");
        match meant(&known, name) {
            Meant::Nothing => {
                let labels: Vec<String> = known.iter().rev().take(NAMED).map(label).collect();
                let more = if known.len() > NAMED { ", …" } else { "" };
                Ok(Err(if labels.is_empty() {
                    "there are none".to_owned()
                } else {
                    format!("there are {}{more}", labels.join(", "))
                }))
            }
            Meant::Several(several) => {
                let labels: Vec<String> = several.iter().map(label).collect();
                bail!(
                    "--{} {name} means several migrations: {}; write more of one (or git:{name}, if that is meant)",
                    self.part,
                    labels.join(", ")
                )
            }
            Meant::BeforeTheFirst => {
                let what = "version 0, before the first migration".to_owned();
                Ok(Ok(self.clone_at("version", what, folder, Goal::Version(0))))
            }
            Meant::One(one) => {
                let what = format!("version {}", label(&one));
                Ok(Ok(self.clone_at(
                    "version",
                    what,
                    folder,
                    Goal::Version(one.0),
                )))
            }
        }
    }

    /// The folder on the disk, which need not be there.
    pub(super) fn folder(&self) -> anyhow::Result<Folder> {
        if self.migrations.exists() {
            Folder::read(self.migrations).map_err(|p| migrating::refused(&p))
        } else {
            Ok(Folder::default())
        }
    }
}

/// What `--baseline`, or a REF that is a file, names.
pub(super) fn recorded(path: &Path) -> anyhow::Result<Found> {
    let shown = path.display();
    let baseline = Baseline::parse(&shown.to_string(), &read(path)?)?;
    let when = baseline.recorded_at.format("%Y-%m-%d %H:%M UTC");
    Ok(Found {
        kind: "file",
        what: format!("file {shown}, recorded {when}: {}", baseline.side),
        side: Side::Recorded(path.to_owned(), Box::new(baseline)),
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Meant {
    Nothing,
    BeforeTheFirst,
    One((i64, String)),
    Several(Vec<(i64, String)>),
}

/// A version, the digits that only one version begins with, a name, or both as a file's name has them.
fn meant(known: &[(i64, String)], name: &str) -> Meant {
    let number = name.parse::<i64>().ok();
    let exact = |(version, slug): &&(i64, String)| {
        number == Some(*version) || slug == name || format!("{version}_{slug}") == name
    };
    let mut found: Vec<_> = known.iter().filter(exact).cloned().collect();
    if found.is_empty() && number.is_some() {
        let begins = |(version, _): &&(i64, String)| version.to_string().starts_with(name);
        found = known.iter().filter(begins).cloned().collect();
    }
    match (found.len(), found.pop()) {
        (1, Some(one)) => Meant::One(one),
        (_, Some(last)) => {
            found.push(last);
            Meant::Several(found)
        }
        (_, None) if number == Some(0) => Meant::BeforeTheFirst,
        (_, None) => Meant::Nothing,
    }
}

fn is_url(text: &str) -> bool {
    let keyword = text.split_once('=').map(|(keyword, _)| keyword.trim());
    text.contains("://")
        || text.starts_with("postgres:")
        || text.starts_with("postgresql:")
        || keyword.is_some_and(|k| KEYWORDS.contains(&k))
}

/// `text`, unless it may be a URL that is written wrongly: that may hold a password.
fn shown(text: &str) -> String {
    let credentials = text
        .split_once('@')
        .is_some_and(|(user, _)| user.contains(':'));
    if credentials || text.contains("password") {
        "(not shown, for it may hold a password)".to_owned()
    } else {
        format!("`{text}`")
    }
}

/// What helps where a commit is not there.
fn hint(why: &NoCommit) -> &'static str {
    match why {
        NoCommit::Unknown(_) => {
            ". A shallow clone lacks other branches: `git fetch --unshallow`, or fetch-depth: 0 in CI"
        }
        NoCommit::NoGit | NoCommit::NoRepository(_) => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_meant_by_version_prefix_or_name() {
        let known = [(1, "a"), (20, "b"), (202_501, "add_index"), (202_502, "b")];
        let known = known.map(|(v, s)| (v, s.to_owned()));
        let one = |name: &str| match meant(&known, name) {
            Meant::One((version, _)) => Some(version),
            _ => None,
        };
        assert_eq!(
            (one("1"), one("001"), one("20")),
            (Some(1), Some(1), Some(20))
        );
        assert_eq!(
            (one("202501"), one("202501_add_index")),
            (Some(202_501), Some(202_501))
        );
        assert_eq!((one("a"), one("add_index")), (Some(1), Some(202_501)));
        assert_eq!(one("20250"), None);
        assert!(matches!(meant(&known, "2025"), Meant::Several(s) if s.len() == 2));
        assert!(matches!(meant(&known, "b"), Meant::Several(s) if s.len() == 2));
        assert_eq!(meant(&known, "0"), Meant::BeforeTheFirst);
        for name in ["main", "add", "3", "", "-1"] {
            assert_eq!(meant(&known, name), Meant::Nothing, "{name}");
        }
    }

    #[test]
    fn urls_are_known_and_passwords_are_not_shown() {
        for text in [
            "postgres://a:b@c/d",
            "postgresql:/a:b@c",
            "host=/tmp dbname=x",
            "password=x",
            "mysql://a",
        ] {
            assert!(is_url(text), "{text}");
        }
        for text in ["main", "HEAD~1", "a=b", "v1.2", "base.json", "main@{1}"] {
            assert!(!is_url(text), "{text}");
            assert_eq!(shown(text), format!("`{text}`"));
        }
        assert!(!shown("user:secret@host/db").contains("secret"));
    }
}
