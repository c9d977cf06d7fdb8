//! What values a column takes, as far as worlds must know.

/// Types whose values may be equal to one another share a family.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    Integer,
    Number,
    Text,
    Boolean,
    Uuid,
    Moment,
    Time,
    Interval,
    Json,
    Bytes,
    Network,
    Enum(Vec<String>),
    Other,
}

impl Family {
    /// Of a type by its name, those of the SQL standard too.
    pub(super) fn named(name: &str) -> Self {
        match name {
            "int2" | "int4" | "int8" | "oid" | "integer" | "int" | "bigint" | "smallint" => {
                Self::Integer
            }
            "numeric" | "float4" | "float8" | "decimal" | "real" | "double" | "money" => {
                Self::Number
            }
            "text" | "varchar" | "bpchar" | "char" | "citext" | "name" => Self::Text,
            "bool" | "boolean" => Self::Boolean,
            "uuid" => Self::Uuid,
            "date" | "timestamp" | "timestamptz" => Self::Moment,
            "time" | "timetz" => Self::Time,
            "interval" => Self::Interval,
            "json" | "jsonb" => Self::Json,
            "bytea" => Self::Bytes,
            "inet" | "cidr" => Self::Network,
            _ => Self::Other,
        }
    }
}

/// What values a column takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// The type's own name, of an array its elements'.
    pub(super) name: String,
    pub(super) family: Family,
    pub(super) array: bool,
    pub(super) range: bool,
    /// The longest text, of `varchar(n)`.
    pub(super) limit: Option<usize>,
}

impl Kind {
    pub(super) fn new(
        name: &str,
        kind: &str,
        element: Option<(&str, &str)>,
        labels: Vec<String>,
        limit: Option<usize>,
    ) -> Self {
        let (single, single_kind) = element.unwrap_or((name, kind));
        let bound = match single {
            "int4range" | "int8range" => Some("int8"),
            "numrange" => Some("numeric"),
            "daterange" | "tsrange" | "tstzrange" => Some("date"),
            _ => None,
        };
        let family = if single_kind == "e" {
            Family::Enum(labels)
        } else {
            Family::named(bound.unwrap_or(single))
        };
        Self {
            name: bound.unwrap_or(single).to_owned(),
            family,
            array: element.is_some(),
            range: bound.is_some(),
            limit,
        }
    }

    /// Whether any value but NULL is known.
    pub(super) fn is_known(&self) -> bool {
        self.family != Family::Other || self.array
    }

    pub(super) fn takes(&self, value: &str) -> bool {
        match self.name.as_str() {
            "int2" => value.parse::<i16>().is_ok(),
            "int4" => value.parse::<i32>().is_ok(),
            "int8" => value.parse::<i64>().is_ok(),
            "oid" => value.parse::<u32>().is_ok(),
            "money" => value.parse::<f64>().is_ok_and(f64::is_finite),
            "date" => !value.contains(':'),
            "char" => value.len() <= 1,
            "json" | "jsonb" => serde_json::from_str::<serde_json::Value>(value).is_ok(),
            _ => self.limit.is_none_or(|n| value.chars().count() <= n),
        }
    }
}

/// What a text is taken for.
pub(super) fn family_of_cast(cast: Option<&str>) -> Family {
    match cast.map_or(Family::Text, Family::named) {
        Family::Other => Family::Text,
        family => family,
    }
}

/// The `n`th value of a family that no pool holds: keys that must differ.
pub(super) fn fresh(kind: &Kind, n: usize) -> Option<String> {
    match kind.family {
        Family::Integer | Family::Number => Some((1000 + n).to_string()),
        Family::Text => Some(format!("k{n}")),
        Family::Uuid => Some(uuid(1000 + n)),
        Family::Moment => Some(format!("2{:03}-06-01", n % 1000)),
        _ => None,
    }
}

pub(super) fn uuid(n: usize) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}
