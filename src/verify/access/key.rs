use crate::model::Name;
use crate::sql::quote;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What kind of object has a say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Schema,
    /// A table of any sort: owner, row-level security, grants, parents.
    Table,
    /// The columns of a table: types, defaults, generation.
    Columns,
    Policy,
    /// A function, procedure or aggregate.
    Function,
    Trigger,
    Rule,
    View,
    MaterializedView,
    Constraint,
    /// A unique index that stands behind no constraint.
    Index,
    Type,
    Collation,
    Operator,
    OperatorClass,
    Cast,
    Role,
    /// Settings of the database.
    Database,
    DefaultPrivileges,
    Extension,
    Publication,
    EventTrigger,
}

impl Kind {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Schema => "schema",
            Self::Table => "table",
            Self::Columns => "columns",
            Self::Policy => "policy",
            Self::Function => "function",
            Self::Trigger => "trigger",
            Self::Rule => "rule",
            Self::View => "view",
            Self::MaterializedView => "materialized view",
            Self::Constraint => "constraint",
            Self::Index => "unique index",
            Self::Type => "type",
            Self::Collation => "collation",
            Self::Operator => "operator",
            Self::OperatorClass => "operator class",
            Self::Cast => "cast",
            Self::Role => "role",
            Self::Database => "database",
            Self::DefaultPrivileges => "default privileges",
            Self::Extension => "extension",
            Self::Publication => "publication",
            Self::EventTrigger => "event trigger",
        }
    }

    /// Belongs to a relation, and goes with it.
    pub(super) fn is_part(self) -> bool {
        matches!(
            self,
            Self::Columns
                | Self::Policy
                | Self::Trigger
                | Self::Rule
                | Self::Constraint
                | Self::Index
        )
    }

    pub(super) fn is_relation(self) -> bool {
        matches!(self, Self::Table | Self::View | Self::MaterializedView)
    }
}

/// The name of one object. Parts of a relation carry its name and their own in `part`; functions their arguments.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub kind: Kind,
    pub name: Name,
    pub part: String,
}

impl Key {
    pub fn new(kind: Kind, name: Name) -> Self {
        Self::part(kind, name, "")
    }

    pub fn part(kind: Kind, name: Name, part: impl Into<String>) -> Self {
        Self {
            kind,
            name,
            part: part.into(),
        }
    }

    /// Whether it is a part of `relation`.
    pub(super) fn belongs_to(&self, relation: &Self) -> bool {
        self.kind.is_part() && relation.kind.is_relation() && self.name == relation.name
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.words();
        let name = if self.name.schema.is_empty() {
            quote::ident(&self.name.name)
        } else {
            quote::name(&self.name)
        };
        match self.kind {
            Kind::Columns => write!(f, "columns of {name}"),
            Kind::Function => write!(f, "function {name}({})", self.part),
            Kind::Operator => write!(
                f,
                "operator {}.{} ({})",
                quote::ident(&self.name.schema),
                self.name.name,
                self.part
            ),
            Kind::Cast => write!(f, "cast from {} to {}", self.name.name, self.part),
            Kind::OperatorClass => write!(f, "operator class {name} for {}", self.part),
            Kind::Database => f.write_str("database"),
            Kind::DefaultPrivileges => {
                write!(f, "default privileges of {}", quote::ident(&self.name.name))?;
                if !self.name.schema.is_empty() {
                    write!(f, " in schema {}", quote::ident(&self.name.schema))?;
                }
                write!(f, " for {}", self.part)
            }
            _ if self.kind.is_part() => {
                write!(f, "{kind} {} on {name}", quote::ident(&self.part))
            }
            _ => write!(f, "{kind} {name}"),
        }
    }
}

// A key of maps in files, so it is written as one string: a JSON array of four.
impl Serialize for Key {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let parts = (&self.kind, &self.name.schema, &self.name.name, &self.part);
        let text = serde_json::to_string(&parts).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (kind, schema, name, part): (Kind, String, String, String) =
            serde_json::from_str(&text).map_err(serde::de::Error::custom)?;
        Ok(Self::part(kind, Name::new(schema, name), part))
    }
}
