//! How migration tools name their files and mark what takes a step back and what runs outside a transaction.

use crate::model::{Migration, Script};

/// A tool's folder of plain SQL files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// `<version>_<slug>.up.sql` and `.down.sql`; `-- no-transaction` first.
    #[default]
    Sqlx,
    /// `<version>_<slug>.sql` with `-- migrate:up` and `-- migrate:down`; `transaction:false` behind them.
    Dbmate,
    /// `V<version>__<slug>.sql` and `U<version>__<slug>.sql`; `executeInTransaction=false` in a `.conf` beside it.
    Flyway,
    /// sqlx's names; every file is sent as it is, outside a transaction of the tool's.
    GolangMigrate,
    /// `<version>_<slug>.sql`, forwards only; what takes it back is kept in `down/`, which its own tool passes over.
    Supabase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Up,
    Down,
    /// The file holds both, or its layout knows no way back.
    Whole,
}

/// One script, as a file holds it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) part: Part,
    pub(super) script: Script,
    /// Added to a line of the script it gives that of the file.
    pub(super) shift: isize,
}

/// What a file's name says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) version: i64,
    pub(super) slug: String,
    pub(super) part: Part,
}

const NO_TRANSACTION: &str = "-- no-transaction";
const DBMATE_UP: &str = "-- migrate:up";
const DBMATE_DOWN: &str = "-- migrate:down";
const FLYWAY_CONF: &str = "executeInTransaction=false\n";

impl Layout {
    pub const NAMES: [&'static str; 5] = ["sqlx", "dbmate", "flyway", "golang-migrate", "supabase"];

    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "sqlx" => Self::Sqlx,
            "dbmate" => Self::Dbmate,
            "flyway" => Self::Flyway,
            "golang-migrate" => Self::GolangMigrate,
            "supabase" => Self::Supabase,
            _ => return None,
        })
    }

    /// What the tool of this layout cannot do with files that say "no transaction", if it cannot.
    pub fn cannot(self) -> Option<&'static str> {
        match self {
            Self::Supabase => Some(
                "Supabase's files cannot say \"no transaction\", and know no way back: apply those with a concurrent index build through dbtune, which reads their first line and the files in down/",
            ),
            _ => None,
        }
    }

    /// `None` where the tool would pass the file over.
    pub(super) fn parse_name(self, name: &str, in_down: bool) -> Option<Result<Named, String>> {
        let (number, slug, part) = match self {
            Self::Sqlx | Self::GolangMigrate => {
                let (number, rest) = name.split_once('_')?;
                let (slug, part) = if let Some(slug) = rest.strip_suffix(".up.sql") {
                    (slug, Part::Up)
                } else if let Some(slug) = rest.strip_suffix(".down.sql") {
                    (slug, Part::Down)
                } else {
                    (rest.strip_suffix(".sql")?, Part::Whole)
                };
                (number, slug, part)
            }
            Self::Dbmate | Self::Supabase => {
                let (number, slug) = name.strip_suffix(".sql")?.split_once('_')?;
                let part = if in_down { Part::Down } else { Part::Whole };
                (number, slug, part)
            }
            Self::Flyway => {
                let name = name.strip_suffix(".sql")?;
                let (part, rest) = match (name.strip_prefix('V'), name.strip_prefix('U')) {
                    (Some(rest), _) => (Part::Up, rest),
                    (None, Some(rest)) => (Part::Down, rest),
                    (None, None) => return None,
                };
                let (number, slug) = rest.split_once("__")?;
                (number, slug, part)
            }
        };
        Some(match number.parse() {
            Ok(version) if version > 0 => Ok(Named {
                version,
                slug: slug.to_owned(),
                part,
            }),
            _ => Err(format!(
                "`{number}` is not a version: it must be a positive whole number, as in {}",
                self.example()
            )),
        })
    }

    fn example(self) -> &'static str {
        match self {
            Self::Sqlx | Self::GolangMigrate => "20250131093000_add_index.up.sql",
            Self::Dbmate | Self::Supabase => "20250131093000_add_index.sql",
            Self::Flyway => "V20250131093000__add_index.sql",
        }
    }

    /// The scripts in one file. `conf` is the text of the file beside it, for the layout that has one.
    pub(super) fn scripts(
        self,
        part: Part,
        text: String,
        conf: Option<&str>,
    ) -> Vec<Section> {
        let whole = |part, text: String, shift| {
            vec![Section {
                part,
                script: Script::new(text),
                shift,
            }]
        };
        match (self, part) {
            (Self::Dbmate, Part::Whole) => dbmate_sections(&text),
            (Self::Flyway, part) => {
                let alone = conf.is_some_and(|c| {
                    c.lines()
                        .filter_map(|line| line.split_once('='))
                        .any(|(key, value)| {
                            key.trim() == "executeInTransaction" && value.trim() == "false"
                        })
                });
                let marked = alone && !text.starts_with(NO_TRANSACTION);
                if marked {
                    whole(part, format!("{NO_TRANSACTION}\n{text}"), -1)
                } else {
                    whole(part, text, 0)
                }
            }
            (_, Part::Down) => whole(Part::Down, text, 0),
            _ => whole(Part::Up, text, 0),
        }
    }

    /// The files of one migration: name below the folder, and text. What takes it back comes first.
    pub(super) fn files(self, migration: &Migration) -> Vec<(String, String)> {
        let label = migration.label();
        let down = migration.down.as_ref();
        let mut files = Vec::new();
        match self {
            Self::Sqlx | Self::GolangMigrate => {
                files.extend(down.map(|d| (format!("{label}.down.sql"), d.sql.clone())));
                files.push((format!("{label}.up.sql"), migration.up.sql.clone()));
            }
            Self::Dbmate => {
                let mut text = dbmate_section(DBMATE_UP, &migration.up);
                if let Some(down) = down {
                    text = format!("{text}\n{}", dbmate_section(DBMATE_DOWN, down));
                }
                files.push((format!("{label}.sql"), text));
            }
            Self::Flyway => {
                for (letter, script) in [("U", down), ("V", Some(&migration.up))] {
                    let Some(script) = script else { continue };
                    let name = format!("{letter}{}__{}.sql", migration.version, migration.slug);
                    if script.no_transaction {
                        files.push((format!("{name}.conf"), FLYWAY_CONF.to_owned()));
                    }
                    files.push((name, script.sql.clone()));
                }
            }
            Self::Supabase => {
                files.extend(down.map(|d| (format!("down/{label}.sql"), d.sql.clone())));
                files.push((format!("{label}.sql"), migration.up.sql.clone()));
            }
        }
        files
    }
}

fn dbmate_section(header: &str, script: &Script) -> String {
    let body = script
        .sql
        .strip_prefix(NO_TRANSACTION)
        .map_or(script.sql.as_str(), |rest| {
            rest.trim_start_matches(['\r', '\n'])
        });
    let option = if script.no_transaction {
        " transaction:false"
    } else {
        ""
    };
    format!("{header}{option}\n{body}")
}

/// Each section's header line becomes a comment of ours, so that lines stay as far apart as they are.
fn dbmate_sections(text: &str) -> Vec<Section> {
    let mut sections: Vec<(Part, String, isize)> = Vec::new();
    for (before, line) in (0..).zip(text.split_inclusive('\n')) {
        let part = if line.starts_with(DBMATE_UP) {
            Some(Part::Up)
        } else if line.starts_with(DBMATE_DOWN) {
            Some(Part::Down)
        } else {
            None
        };
        match (part, sections.last_mut()) {
            (Some(part), _) => {
                let alone = line.contains("transaction:false");
                let header = if alone {
                    format!("{NO_TRANSACTION}\n")
                } else {
                    String::from("--\n")
                };
                sections.push((part, header, before));
            }
            (None, Some((_, text, _))) => text.push_str(line),
            // dbmate passes over what stands before the first header.
            (None, None) => {}
        }
    }
    sections
        .into_iter()
        .map(|(part, text, shift)| Section {
            part,
            script: Script::new(text),
            shift,
        })
        .collect()
}
