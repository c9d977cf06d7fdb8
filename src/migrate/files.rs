//! A folder of migrations: read as a whole or refused as a whole, written without overwriting anything.

use super::Problem;
use super::layout::{Layout, Named, Part, Section};
use crate::model::Migration;
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
    /// Added to a line of the script that goes up it gives that of its file.
    pub up_shift: isize,
}

impl Entry {
    /// The line of the file that a line of the script that goes up stands on.
    pub fn up_line(&self, line: usize) -> usize {
        line.saturating_add_signed(self.up_shift)
    }
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
                up_shift: 0,
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

    /// Reads `dir` in sqlx's layout.
    ///
    /// # Errors
    /// As [`Folder::read_as`].
    pub fn read(dir: &Path) -> Result<Self, Vec<Problem>> {
        Self::read_as(dir, Layout::Sqlx)
    }

    /// Reads `dir`. Files whose names the layout's tool would pass over are none of ours.
    ///
    /// # Errors
    /// Every name or file that cannot be read as a migration, all at once.
    pub fn read_as(dir: &Path, layout: Layout) -> Result<Self, Vec<Problem>> {
        let mut paths = list(dir).map_err(|e| vec![unreadable(dir, &e)])?;
        let downs = dir.join("down");
        if layout == Layout::Supabase && downs.is_dir() {
            paths.extend(list(&downs).map_err(|e| vec![unreadable(&downs, &e)])?);
        }
        Self::gather(paths, layout, &downs, &|path| fs::read(path))
    }

    /// The same from files that are not on the disk, in sqlx's layout. Their paths are for messages.
    pub(super) fn of_texts(texts: &BTreeMap<PathBuf, Vec<u8>>) -> Result<Self, Vec<Problem>> {
        let read = |path: &Path| {
            let text = texts.get(path).cloned();
            text.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
        };
        let paths = texts.keys().cloned().collect();
        Self::gather(paths, Layout::Sqlx, Path::new(""), &read)
    }

    /// With the migrations of `other` whose versions are not in it.
    #[must_use]
    pub(super) fn with(mut self, other: &Self) -> Self {
        let more = other.entries.iter();
        let more: Vec<Entry> = more
            .filter(|e| self.get(e.migration.version).is_none())
            .cloned()
            .collect();
        self.entries.extend(more);
        self.entries.sort_by_key(|e| e.migration.version);
        self
    }

    /// `downs` is the folder of what only takes back, where the layout has one.
    fn gather(
        paths: Vec<PathBuf>,
        layout: Layout,
        downs: &Path,
        read: Read<'_>,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut found: BTreeMap<i64, Parts> = BTreeMap::new();
        for path in paths {
            let name = path.file_name().map(|n| n.to_string_lossy());
            let in_down = path.parent() == Some(downs);
            let named = match name.and_then(|n| layout.parse_name(&n, in_down)) {
                None => continue,
                Some(Err(message)) => {
                    problems.push(Problem::new(path.display().to_string(), message));
                    continue;
                }
                Some(Ok(named)) => named,
            };
            match read_scripts(&path, layout, named.part, read) {
                Err(problem) => problems.push(problem),
                Ok(scripts) => {
                    let parts = found.entry(named.version).or_default();
                    for section in scripts {
                        parts.add(&named, section, &path, &mut problems);
                    }
                }
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

/// From a path to what the file holds.
type Read<'a> = &'a dyn Fn(&Path) -> io::Result<Vec<u8>>;

/// The files of one version.
#[derive(Default)]
struct Parts {
    slug: String,
    up: Option<(PathBuf, Section)>,
    down: Option<(PathBuf, Section)>,
}

impl Parts {
    fn add(&mut self, named: &Named, section: Section, path: &Path, problems: &mut Vec<Problem>) {
        let slot = if section.part == Part::Down {
            &mut self.down
        } else {
            self.slug.clone_from(&named.slug);
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
            *slot = Some((path.to_owned(), section));
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
            up: up.script,
            down: None,
        };
        let down_file = self.down.as_ref().map_or_else(
            || path.with_file_name(format!("{}.down.sql", migration.label())),
            |(p, _)| p.clone(),
        );
        Ok(Entry {
            up_file: path.display().to_string(),
            down_file: down_file.display().to_string(),
            up_shift: up.shift,
            migration: Migration {
                down: self.down.map(|(_, down)| down.script),
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

fn read_scripts(
    path: &Path,
    layout: Layout,
    part: Part,
    read: Read<'_>,
) -> Result<Vec<Section>, Problem> {
    let text = read_text(path, read)?;
    let mut conf = path.to_owned().into_os_string();
    conf.push(".conf");
    let conf = PathBuf::from(conf);
    let conf = if layout == Layout::Flyway && conf.exists() {
        Some(read_text(&conf, read)?)
    } else {
        None
    };
    let scripts = layout.scripts(part, text, conf.as_deref());
    if scripts.iter().any(|s| s.part == Part::Up) || part == Part::Down {
        Ok(scripts)
    } else {
        Err(Problem::new(
            path.display().to_string(),
            "there is no `-- migrate:up` in it",
        ))
    }
}

fn read_text(path: &Path, read: Read<'_>) -> Result<String, Problem> {
    let bytes = read(path).map_err(|e| unreadable(path, &e))?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = error.as_bytes().iter().take(valid);
        let line = before.filter(|b| **b == b'\n').count() + 1;
        Problem::new(path.display().to_string(), "the text is not UTF-8").at(line)
    })
}

/// [`write_as`] in sqlx's layout.
///
/// # Errors
/// As [`write_as`].
pub fn write(dir: &Path, migrations: &[Migration]) -> Result<Vec<PathBuf>, Vec<Problem>> {
    write_as(dir, Layout::Sqlx, migrations)
}

/// Writes `migrations` into `dir`, making it where it is missing; returns the files. Nothing is overwritten: where
/// a version or file is there already, nothing at all is written. Each file appears whole or not at all.
///
/// # Errors
/// The versions that are taken, or the file that could not be written.
pub fn write_as(
    dir: &Path,
    layout: Layout,
    migrations: &[Migration],
) -> Result<Vec<PathBuf>, Vec<Problem>> {
    fs::create_dir_all(dir).map_err(|e| vec![unreadable(dir, &e)])?;
    let folder = Folder::read_as(dir, layout)?;
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
        // What takes it back first: an up file without it could be applied and not taken back.
        for (name, text) in layout.files(migration) {
            let path = dir.join(name);
            write_new(&path, &text).map_err(|e| vec![unreadable(&path, &e)])?;
            written.push(path);
        }
    }
    written.sort();
    Ok(written)
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
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
