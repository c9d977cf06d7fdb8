use super::{Catalog, Name, Statements};
use serde::{Deserialize, Serialize};
use std::io::{self, Write};

/// What the file calls itself.
const FORMAT: &str = "dbtune-snapshot";
/// Goes up where a field changes its meaning or goes away. A new field does not raise it: it is passed over by older
/// versions of dbtune, and has a default for newer ones that read older files.
const VERSION: u32 = 1;

/// All that rules judge, in one file: an audit of it finds what an audit of the database found at that moment.
/// Holds no row value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    format: String,
    version: u32,
    /// The version of dbtune that wrote it.
    pub written_by: String,
    pub catalog: Catalog,
    /// `None` where `pg_stat_statements` could not be read.
    pub statements: Option<Statements>,
}

/// Why a file is no snapshot that can be used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("it is no snapshot: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("it is no snapshot: the format is `{0}`, expected `{FORMAT}`")]
    Format(String),
    #[error(
        "it is a snapshot of version {0}, and this dbtune reads version {VERSION}: use the dbtune that wrote it, or take the snapshot again"
    )]
    Version(u32),
    #[error("it is damaged: {0} is a partition of itself")]
    Cycle(Name),
}

#[derive(Deserialize)]
struct Header {
    #[serde(default)]
    format: String,
    #[serde(default)]
    version: u32,
}

impl Snapshot {
    pub fn new(mut catalog: Catalog, statements: Option<Statements>) -> Self {
        for role in catalog.roles.values_mut() {
            role.config.iter_mut().for_each(hide_custom);
        }
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            written_by: env!("CARGO_PKG_VERSION").to_owned(),
            catalog,
            statements,
        }
    }

    /// # Errors
    /// Where the bytes are no snapshot, or one of another version.
    pub fn parse(bytes: &[u8]) -> Result<Self, SnapshotError> {
        // First what it is, so that another version is not called malformed.
        let header: Header = serde_json::from_slice(bytes)?;
        if header.format != FORMAT {
            return Err(SnapshotError::Format(
                header.format.chars().take(40).collect(),
            ));
        }
        if header.version != VERSION {
            return Err(SnapshotError::Version(header.version));
        }
        let snapshot: Self = serde_json::from_slice(bytes)?;
        match cycle(&snapshot.catalog) {
            Some(name) => Err(SnapshotError::Cycle(name.clone())),
            None => Ok(snapshot),
        }
    }

    pub fn write(&self, out: impl Write) -> io::Result<()> {
        let mut out = io::BufWriter::new(out);
        serde_json::to_writer(&mut out, self)?;
        out.write_all(b"\n")?;
        out.flush()
    }
}

/// A setting of the application's own may be a key: `app.jwt_secret=…`. Those of the server and of extensions that
/// rules look at have no dot.
fn hide_custom(setting: &mut String) {
    let hidden = match setting.split_once('=') {
        Some((name, _)) if name.contains('.') => format!("{name}=***"),
        _ => return,
    };
    *setting = hidden;
}

/// A table that is, by way of others, a partition of itself: rules that climb would never arrive.
fn cycle(catalog: &Catalog) -> Option<&Name> {
    catalog
        .tables
        .iter()
        .find(|(_, table)| {
            let mut above = table.partition_of.as_ref();
            for _ in 0..catalog.tables.len() {
                let Some(name) = above else { return false };
                above = catalog
                    .tables
                    .get(name)
                    .and_then(|t| t.partition_of.as_ref());
            }
            above.is_some()
        })
        .map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Role, Table};

    fn json(snapshot: &Snapshot) -> serde_json::Value {
        let mut bytes = Vec::new();
        snapshot.write(&mut bytes).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    fn parse(value: &serde_json::Value) -> Result<Snapshot, SnapshotError> {
        Snapshot::parse(value.to_string().as_bytes())
    }

    #[test]
    fn versions_are_told_apart() {
        let snapshot = Snapshot::new(Catalog::default(), None);
        let mut value = json(&snapshot);
        assert_eq!(parse(&value).unwrap(), snapshot);
        value["catalog"]["field of a later version"] = 1.into();
        value["later"] = true.into();
        assert_eq!(parse(&value).unwrap(), snapshot, "passed over");
        value["version"] = 2.into();
        value["catalog"] = "another meaning".into();
        let error = parse(&value).unwrap_err().to_string();
        assert!(error.contains("version 2"), "{error}");
        for other in ["{}", "[]", "", "{\"format\":\"x\"}", "null"] {
            assert!(Snapshot::parse(other.as_bytes()).is_err(), "{other}");
        }
    }

    #[test]
    fn secrets_in_settings_are_left_out() {
        let mut catalog = Catalog::default();
        let config = ["app.jwt_secret=s3cret", "statement_timeout=8s"].map(str::to_owned);
        let role = Role {
            config: config.to_vec(),
            ..Role::default()
        };
        catalog.roles.insert("r".to_owned(), role);
        let written = json(&Snapshot::new(catalog, None)).to_string();
        assert!(!written.contains("s3cret") && written.contains("statement_timeout=8s"));
    }

    #[test]
    fn a_table_that_is_its_own_partition_is_refused() {
        let mut catalog = Catalog::default();
        for (name, parent) in [("a", "b"), ("b", "a")] {
            let table = Table {
                partition_of: Some(Name::new("s", parent)),
                ..Table::default()
            };
            catalog.tables.insert(Name::new("s", name), table);
        }
        let error = parse(&json(&Snapshot::new(catalog, None))).unwrap_err();
        assert!(matches!(error, SnapshotError::Cycle(_)), "{error}");
    }
}
