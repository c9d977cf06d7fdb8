use serde::{Deserialize, Serialize};
use std::fmt;

/// A `schema.name` pair; the only way dbtune refers to a relation or a function.
///
/// `Display` is for people. In SQL it is written by `sql::quote::name`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    pub schema: String,
    pub name: String,
}

impl Name {
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            schema: schema.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.schema.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}.{}", self.schema, self.name)
        }
    }
}

// A name is a map key in snapshots, so it is written as one string: a JSON array of two strings,
// because a dot may stand inside either part.
impl Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let dotted = format!("{}.{}", self.schema, self.name);
        if self.schema.contains(['.', '[']) || self.name.contains('.') {
            let pair = serde_json::to_string(&(&self.schema, &self.name))
                .map_err(serde::ser::Error::custom)?;
            return serializer.serialize_str(&pair);
        }
        serializer.serialize_str(&dotted)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.starts_with('[') {
            let (schema, name): (String, String) =
                serde_json::from_str(&text).map_err(serde::de::Error::custom)?;
            return Ok(Self { schema, name });
        }
        match text.split_once('.') {
            Some((schema, name)) => Ok(Self::new(schema, name)),
            None => Err(serde::de::Error::custom(format!(
                "`{text}` is not schema.name"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Name;

    #[test]
    fn survives_json_even_with_dots_inside() {
        for name in [
            Name::new("public", "t"),
            Name::new("a.b", "c"),
            Name::new("a", "b.c"),
            Name::new("[a", "\"b\""),
        ] {
            let text = serde_json::to_string(&name).unwrap();
            assert_eq!(serde_json::from_str::<Name>(&text).unwrap(), name);
        }
    }
}
