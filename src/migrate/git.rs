//! The folder of migrations as of a commit. `git` itself is asked, without a shell.

use super::Problem;
use super::files::Folder;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// A commit of the repository that a folder is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// As somebody wrote it: a branch, a tag, `HEAD~1`, a hash.
    pub name: String,
    /// Whole.
    pub hash: String,
    repository: PathBuf,
    /// The folder inside the repository; empty for its top.
    inside: String,
}

/// Why a name means no commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoCommit {
    NoGit,
    /// The folder is in no repository; in git's own words.
    NoRepository(String),
    /// The repository has these branches and tags, and no commit of that name.
    Unknown(Vec<String>),
}

impl fmt::Display for NoCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoGit => f.write_str("git is not installed, or not on the PATH"),
            Self::NoRepository(words) => write!(
                f,
                "the folder of migrations is in no git repository ({words})"
            ),
            Self::Unknown(names) if names.is_empty() => {
                f.write_str("the repository has no branches and no tags")
            }
            Self::Unknown(names) => write!(f, "the repository has {}", names.join(", ")),
        }
    }
}

/// Branches and tags that a message names.
const NAMES: usize = 12;
/// Characters of a hash that people look at.
const SHORT: usize = 10;

impl Commit {
    /// What `name` means in the repository that `folder` is in. The folder need not be there now.
    ///
    /// # Errors
    /// Where it means no commit.
    pub async fn find(folder: &Path, name: &str) -> Result<Self, NoCommit> {
        let (repository, rest) = existing(folder);
        let prefix = git(&repository, &["rev-parse", "--show-prefix"])
            .await
            .map_err(|_| NoCommit::NoGit)?;
        if !prefix.status.success() {
            return Err(NoCommit::NoRepository(first_line(&prefix.stderr)));
        }
        // What begins with a hyphen would be an option.
        if name.is_empty() || name.starts_with('-') {
            return Err(NoCommit::Unknown(names(&repository).await));
        }
        let wanted = format!("{name}^{{commit}}");
        let found = git(&repository, &["rev-parse", "--verify", "--quiet", &wanted]).await;
        let found = found.map_err(|_| NoCommit::NoGit)?;
        if !found.status.success() {
            return Err(NoCommit::Unknown(names(&repository).await));
        }
        let mut inside = first_line(&prefix.stdout);
        for part in rest.components() {
            if !inside.is_empty() && !inside.ends_with('/') {
                inside.push('/');
            }
            inside.push_str(&part.as_os_str().to_string_lossy());
        }
        Ok(Self {
            name: name.to_owned(),
            hash: first_line(&found.stdout),
            repository,
            inside: inside.trim_end_matches('/').to_owned(),
        })
    }

    /// The beginning of its hash.
    pub fn short(&self) -> &str {
        self.hash.get(..SHORT).unwrap_or(&self.hash)
    }

    /// The migrations as of it.
    ///
    /// # Errors
    /// Where the folder is not in it, or cannot be read as migrations.
    pub async fn folder(&self) -> Result<Folder, Vec<Problem>> {
        let about = format!("{}:{}", self.name, self.inside);
        let trouble = |words: String| vec![Problem::new(about.clone(), words)];
        let tree = format!("{}:{}", self.hash, self.inside);
        let listed = git(&self.repository, &["ls-tree", "-z", "--full-tree", &tree])
            .await
            .map_err(|e| trouble(format!("could not run git: {e}")))?;
        if !listed.status.success() {
            let short = self.short();
            return Err(trouble(format!(
                "commit {short} has no such folder: name the folder of migrations with --migrations"
            )));
        }
        let (blobs, links) = blobs(&listed.stdout);
        if let Some(name) = links.first() {
            return Err(trouble(format!(
                "{name} is a symbolic link, which is not followed in a commit: let the file itself be there"
            )));
        }
        let texts = self
            .read(&blobs)
            .await
            .map_err(|e| trouble(format!("could not read it from git: {e}")))?;
        let shown = PathBuf::from(&about);
        let texts: BTreeMap<PathBuf, Vec<u8>> = blobs
            .into_iter()
            .map(|(_, name)| shown.join(name))
            .zip(texts)
            .collect();
        let folder = Folder::of_texts(&texts)?;
        if folder.entries.is_empty() {
            let short = self.short();
            return Err(trouble(format!(
                "the folder has no migration in commit {short}: name another with --migrations (version:0 is the database before \
                 its first migration)"
            )));
        }
        Ok(folder)
    }

    /// The contents of `blobs`, in their order.
    async fn read(&self, blobs: &[(String, String)]) -> io::Result<Vec<Vec<u8>>> {
        let mut child = command(&self.repository)
            .args(["cat-file", "--batch"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let hashes: Vec<&str> = blobs.iter().map(|(hash, _)| hash.as_str()).collect();
        let wanted = hashes.join("\n") + "\n";
        let mut input = child.stdin.take();
        let writing = async move {
            if let Some(input) = &mut input {
                input.write_all(wanted.as_bytes()).await?;
            }
            // Dropped here: that ends the list.
            Ok::<(), io::Error>(())
        };
        let (written, output) = tokio::join!(writing, child.wait_with_output());
        written?;
        let mut rest = output?.stdout;
        let mut texts = Vec::new();
        for _ in blobs {
            let (text, more) = one_blob(&rest)
                .ok_or_else(|| io::Error::other("an object is missing (a partial clone?)"))?;
            texts.push(text);
            rest = more;
        }
        Ok(texts)
    }
}

/// The nearest folder above `path` that is there, and what of `path` is below it.
fn existing(path: &Path) -> (PathBuf, PathBuf) {
    let there = path.ancestors().find(|p| p.is_dir());
    let there = there.unwrap_or(Path::new(""));
    let rest = path.strip_prefix(there).unwrap_or(Path::new(""));
    let there = if there.as_os_str().is_empty() {
        Path::new(".")
    } else {
        there
    };
    (there.to_owned(), rest.to_owned())
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .arg("-C")
        .arg(folder)
        .stdin(Stdio::null())
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .kill_on_drop(true);
    command
}

async fn git(folder: &Path, arguments: &[&str]) -> io::Result<Output> {
    command(folder).args(arguments).output().await
}

/// Branches and tags, the newest first.
async fn names(folder: &Path) -> Vec<String> {
    let count = format!("--count={NAMES}");
    let arguments = [
        "for-each-ref",
        "--format=%(refname:short)",
        "--sort=-creatordate",
        &count,
        "refs/heads",
        "refs/remotes",
        "refs/tags",
    ];
    match git(folder, &arguments).await {
        Ok(listed) => {
            let text = String::from_utf8_lossy(&listed.stdout).into_owned();
            text.lines().map(str::to_owned).collect()
        }
        Err(_) => Vec::new(),
    }
}

fn first_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines().next().unwrap_or_default().trim().to_owned()
}

/// From `ls-tree -z`: hash and name of each SQL file, and the names of those that are links.
fn blobs(listed: &[u8]) -> (Vec<(String, String)>, Vec<String>) {
    let (mut files, mut links) = (Vec::new(), Vec::new());
    for entry in String::from_utf8_lossy(listed).split('\0') {
        let Some((facts, name)) = entry.split_once('\t') else {
            continue;
        };
        let mut facts = facts.split(' ');
        let (mode, kind, hash) = (facts.next(), facts.next(), facts.next());
        let is_sql = Path::new(name).extension().is_some_and(|e| e == "sql");
        match (mode, kind, hash) {
            (Some("120000"), _, _) if is_sql => links.push(name.to_owned()),
            (_, Some("blob"), Some(hash)) if is_sql => {
                files.push((hash.to_owned(), name.to_owned()));
            }
            _ => {}
        }
    }
    (files, links)
}

/// The first object of what `cat-file --batch` wrote, and the rest: `HASH blob SIZE`, a line end, the bytes, a line end.
fn one_blob(bytes: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let end = bytes.iter().position(|b| *b == b'\n')?;
    let head = String::from_utf8_lossy(bytes.get(..end)?).into_owned();
    let size: usize = head.rsplit(' ').next()?.parse().ok()?;
    let begin = end + 1;
    let text = bytes.get(begin..begin + size)?.to_vec();
    let rest = bytes.get(begin + size + 1..)?.to_vec();
    Some((text, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_prints() {
        let tree =
            b"100644 blob aa\t1_a.up.sql\x00040000 tree bb\told\x00120000 blob cc\t2_b.up.sql\x00100644 blob dd\tREADME\x00";
        let (files, links) = blobs(tree);
        assert_eq!(files, [("aa".to_owned(), "1_a.up.sql".to_owned())]);
        assert_eq!(links, ["2_b.up.sql"]);
        let (text, rest) = one_blob(b"aa blob 4\nab\nc\nbb blob 0\n\n").unwrap();
        assert_eq!(text, b"ab\nc");
        assert_eq!(one_blob(&rest).unwrap(), (Vec::new(), Vec::new()));
        assert_eq!(one_blob(b"aa missing\n"), None);
    }

    #[test]
    fn a_folder_that_is_gone_is_looked_for_above() {
        let (there, rest) = existing(Path::new("src/no/such"));
        assert_eq!((there, rest), ("src".into(), "no/such".into()));
        let (there, rest) = existing(Path::new("nothing"));
        assert_eq!((there, rest), (".".into(), "nothing".into()));
    }
}
