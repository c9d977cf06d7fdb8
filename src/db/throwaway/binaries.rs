use super::install;
use crate::db::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Older servers lack what dbtune reads.
const OLDEST: u32 = 13;

/// A folder with `postgres`, `initdb` and `pg_ctl` of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    folder: PathBuf,
    version: (u32, u32),
}

impl Binaries {
    /// The folder in `DBTUNE_PG_BIN`; without it the newest server among `PATH`, `pg_config --bindir` and the
    /// folders that Debian, RPM and Homebrew packages use.
    ///
    /// # Errors
    /// Where there is none: the advice is the command that installs one.
    pub fn find(env: &BTreeMap<String, String>) -> Result<Self> {
        if let Some(folder) = env.get("DBTUNE_PG_BIN").filter(|v| !v.is_empty()) {
            return Self::probe(Path::new(folder)).ok_or_else(|| {
                Error::new(
                    "find a PostgreSQL server",
                    format!("DBTUNE_PG_BIN is {folder}, which holds no postgres, initdb and pg_ctl of version {OLDEST} or later"),
                )
                .advise("Name the folder that holds them, such as /usr/lib/postgresql/15/bin.")
            });
        }
        Self::newest(path_folders(env).into_iter().chain(package_folders()))
    }

    /// The newest server in `folders`; the first of equals.
    pub fn newest(folders: impl IntoIterator<Item = PathBuf>) -> Result<Self> {
        let mut found: Vec<Self> = folders
            .into_iter()
            .filter_map(|f| Self::probe(&f))
            .collect();
        found.sort_by_key(|binaries| std::cmp::Reverse(binaries.version));
        found.into_iter().next().ok_or_else(|| {
            Error::new(
                "find a PostgreSQL server",
                format!(
                    "no postgres, initdb and pg_ctl of version {OLDEST} or later on this machine"
                ),
            )
            .advise(format!(
                "Install one: {}\n  Or set DBTUNE_PG_BIN to the folder that holds them.",
                install::server_command()
            ))
        })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Major and minor.
    pub fn version(&self) -> (u32, u32) {
        self.version
    }

    /// Whether a loadable library is installed; true where the installation cannot be asked, as the server
    /// then says so itself.
    pub(super) fn has_library(&self, name: &str) -> bool {
        let Some(folder) = ask(&self.folder.join("pg_config"), "--pkglibdir") else {
            return true;
        };
        ["so", "dylib"]
            .iter()
            .any(|suffix| Path::new(&folder).join(format!("{name}.{suffix}")).exists())
    }

    fn probe(folder: &Path) -> Option<Self> {
        // Distributions link single programs elsewhere; the siblings are beside the real file.
        let postgres = folder.join("postgres").canonicalize().ok()?;
        let folder = postgres.parent()?.to_owned();
        if !folder.join("initdb").exists() || !folder.join("pg_ctl").exists() {
            return None;
        }
        let version = parse_version(&ask(&postgres, "--version")?)?;
        (version.0 >= OLDEST).then_some(Self { folder, version })
    }
}

fn ask(program: &Path, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, `postgres (PostgreSQL) 18beta1`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let number = text.split_whitespace().nth(2)?;
    let mut parts = number.split(|c: char| !c.is_ascii_digit());
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next().and_then(|p| p.parse().ok()).unwrap_or(0);
    Some((major, minor))
}

fn path_folders(env: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let Some(path) = env.get("PATH") else {
        return Vec::new();
    };
    let mut folders: Vec<PathBuf> = std::env::split_paths(path).collect();
    let config = folders
        .iter()
        .map(|f| f.join("pg_config"))
        .find(|p| p.exists());
    folders.extend(config.and_then(|c| ask(&c, "--bindir")).map(PathBuf::from));
    folders
}

fn package_folders() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for (parent, prefix, below) in [
        ("/usr/lib/postgresql", "", "bin"),
        ("/usr", "pgsql-", "bin"),
        ("/opt/homebrew/opt", "postgresql", "bin"),
        ("/usr/local/opt", "postgresql", "bin"),
    ] {
        let Ok(entries) = std::fs::read_dir(parent) else {
            continue;
        };
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(prefix) {
                folders.push(entry.path().join(below));
            }
        }
    }
    folders.sort();
    folders
}

#[cfg(test)]
mod tests {
    use super::{Binaries, parse_version};
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    #[test]
    fn reads_every_shape_of_version() {
        for (text, version) in [
            (
                "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)",
                (15, 18),
            ),
            ("postgres (PostgreSQL) 18beta1", (18, 0)),
            ("postgres (PostgreSQL) 19devel", (19, 0)),
        ] {
            assert_eq!(parse_version(text), Some(version), "{text}");
        }
        assert_eq!(parse_version("no such program"), None);
    }

    #[test]
    fn a_wrong_explicit_folder_is_named_and_not_passed_over() {
        let env = BTreeMap::from([("DBTUNE_PG_BIN".to_owned(), "/nowhere".to_owned())]);
        let error = Binaries::find(&env).unwrap_err().to_string();
        assert!(error.contains("DBTUNE_PG_BIN is /nowhere"), "{error}");
    }

    #[test]
    fn no_server_at_all_names_the_install_command() {
        let error = Binaries::newest([PathBuf::from("/nowhere")]).unwrap_err();
        let advice = error.advice.unwrap();
        assert!(advice.starts_with("Install one: "), "{advice}");
        assert!(advice.contains("install"), "{advice}");
    }
}
