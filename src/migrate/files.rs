//! A folder of migrations in sqlx's format: `<version>_<slug>.up.sql` with `.down.sql`, or `<version>_<slug>.sql`.

use super::Problem;
use crate::model::{Migration, Script};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A migration and the files it stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub migration: Migration,
    /// For messages.
    pub up_file: String,
    pub down_file: String,
}

/// Migrations, oldest version first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folder {
    pub entries: Vec<Entry>,
}

impl From<Vec<Migration>> for Folder {
    fn from(mut migrations: Vec<Migration>) -> Self {
        migrations.sort_by_key(|m| m.version);
        let entries = migrations
            .into_iter()
            .map(|migration| Entry {
                up_file: format!("{}.up.sql", migration.label()),
                down_file: format!("{}.down.sql", migration.label()),
                migration,
            })
            .collect();
        Self { entries }
    }
}

impl Folder {
    pub fn get(&self, version: i64) -> Option<&Entry> {
        self.entries.iter().find(|e| e.migration.version == version)
    }

    /// Reads `dir`. Files whose names have no underscore or no `.sql` are none of ours, as for sqlx.
    ///
    /// # Errors
    /// Every name or file that cannot be read as a migration, all at once.
    pub fn read(dir: &Path) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut found: BTreeMap<i64, Parts> = BTreeMap::new();
        for path in list(dir).map_err(|e| vec![unreadable(dir, &e)])? {
            match Named::from_path(&path) {
                None => {}
                Some(Err(problem)) => problems.push(problem),
                Some(Ok(named)) => match read_script(&path) {
                    Err(problem) => problems.push(problem),
                    Ok(script) => found.entry(named.version).or_default().add(
                        named,
                        script,
                        &path,
                        &mut problems,
                    ),
                },
            }
        }
        let mut entries = Vec::new();
        for (version, parts) in found {
            match parts.into_entry(version) {
                Ok(entry) => entries.push(entry),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() {
            Ok(Self { entries })
        } else {
            Err(problems)
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
    Simple,
}

/// What a file's name says.
#[derive(Debug)]
struct Named {
    version: i64,
    slug: String,
    direction: Direction,
}

impl Named {
    /// `None` where sqlx would pass the file over.
    fn from_path(path: &Path) -> Option<Result<Self, Problem>> {
        let name = path.file_name()?.to_string_lossy();
        let (number, rest) = name.split_once('_')?;
        let (slug, direction) = if let Some(slug) = rest.strip_suffix(".up.sql") {
            (slug, Direction::Up)
        } else if let Some(slug) = rest.strip_suffix(".down.sql") {
            (slug, Direction::Down)
        } else {
            (rest.strip_suffix(".sql")?, Direction::Simple)
        };
        Some(match number.parse() {
            Ok(version) if version > 0 => Ok(Self {
                version,
                slug: slug.to_owned(),
                direction,
            }),
            _ => Err(Problem::new(
                path.display().to_string(),
                format!(
                    "`{number}` is not a version: the name must start with a positive number, as in 20250131093000_add_index.up.sql"
                ),
            )),
        })
    }
}

/// The files of one version.
#[derive(Default)]
struct Parts {
    slug: String,
    up: Option<(PathBuf, Script)>,
    down: Option<(PathBuf, Script)>,
}

impl Parts {
    fn add(&mut self, named: Named, script: Script, path: &Path, problems: &mut Vec<Problem>) {
        let slot = if named.direction == Direction::Down {
            &mut self.down
        } else {
            self.slug = named.slug;
            &mut self.up
        };
        if let Some((first, _)) = slot {
            problems.push(Problem::new(
                path.display().to_string(),
                format!(
                    "version {} is taken by {} already: give one of them a later version",
                    named.version,
                    first.display()
                ),
            ));
        } else {
            *slot = Some((path.to_owned(), script));
        }
    }

    fn into_entry(self, version: i64) -> Result<Entry, Problem> {
        let Some((path, up)) = self.up else {
            let down = self.down.map(|(p, _)| p.display().to_string());
            return Err(Problem::new(
                down.unwrap_or_default(),
                "there is a down file but no up file of this version",
            ));
        };
        let migration = Migration {
            version,
            slug: self.slug,
            up,
            down: None,
        };
        let down_file = self.down.as_ref().map_or_else(
            || path.with_file_name(format!("{}.down.sql", migration.label())),
            |(p, _)| p.clone(),
        );
        Ok(Entry {
            up_file: path.display().to_string(),
            down_file: down_file.display().to_string(),
            migration: Migration {
                down: self.down.map(|(_, script)| script),
                ..migration
            },
        })
    }
}

fn list(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    let message = match error.kind() {
        io::ErrorKind::NotFound => {
            "no such folder: name the folder of migrations with --migrations".to_owned()
        }
        _ => error.to_string(),
    };
    Problem::new(path.display().to_string(), message)
}

fn read_script(path: &Path) -> Result<Script, Problem> {
    let file = || path.display().to_string();
    let bytes = fs::read(path).map_err(|e| unreadable(path, &e))?;
    match String::from_utf8(bytes) {
        Ok(sql) => Ok(Script::new(sql)),
        Err(error) => {
            let line = error
                .as_bytes()
                .iter()
                .take(error.utf8_error().valid_up_to())
                .filter(|b| **b == b'\n')
                .count()
                + 1;
            Err(Problem::new(file(), "the text is not UTF-8").at(line))
        }
    }
}

/// Writes `migrations` into `dir`, making it where it is missing; returns the files. Nothing is overwritten: where
/// a version or file is there already, nothing at all is written. Each file appears whole or not at all.
///
/// # Errors
/// The versions that are taken, or the file that could not be written.
pub fn write(dir: &Path, migrations: &[Migration]) -> Result<Vec<PathBuf>, Vec<Problem>> {
    fs::create_dir_all(dir).map_err(|e| vec![unreadable(dir, &e)])?;
    let folder = Folder::read(dir)?;
    let taken: Vec<Problem> = migrations
        .iter()
        .filter_map(|m| folder.get(m.version).map(|there| (m, there)))
        .map(|(m, there)| {
            Problem::new(
                there.up_file.clone(),
                format!(
                    "version {} is taken already; nothing was written",
                    m.version
                ),
            )
        })
        .collect();
    if !taken.is_empty() {
        return Err(taken);
    }
    let mut written = Vec::new();
    for migration in migrations {
        // The down file first: an up file without it could be applied and not taken back.
        let files = [
            ("down", migration.down.as_ref()),
            ("up", Some(&migration.up)),
        ];
        for (direction, script) in files {
            let Some(script) = script else { continue };
            let path = dir.join(format!("{}.{direction}.sql", migration.label()));
            write_new(dir, &path, &script.sql).map_err(|e| vec![unreadable(&path, &e)])?;
            written.push(path);
        }
    }
    written.sort();
    Ok(written)
}

fn write_new(dir: &Path, path: &Path, text: &str) -> io::Result<()> {
    let mut file = tempfile::Builder::new()
        .prefix(".dbtune")
        .tempfile_in(dir)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    // Readable by whoever may read the folder, as files made by other tools are.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.as_file()
            .set_permissions(fs::Permissions::from_mode(0o644))?;
    }
    file.persist_noclobber(path).map_err(|e| e.error)?;
    Ok(())
}

/// A version of the form `YYYYMMDDhhmmss` for `now` that is later than every one there is.
pub fn next_version(
    existing: impl IntoIterator<Item = i64>,
    now: chrono::DateTime<chrono::Utc>,
) -> i64 {
    let stamp = now.format("%Y%m%d%H%M%S").to_string().parse().unwrap_or(1);
    existing
        .into_iter()
        .map(|v| v.saturating_add(1))
        .fold(stamp, i64::max)
}
