use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Named numbers and names behind a finding, by name.
///
/// A list and not a map, because a large schema has a hundred thousand of them, of a handful each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence(Vec<(Cow<'static, str>, Value)>);

impl Evidence {
    pub fn get(&self, name: &str) -> Option<&Value> {
        let at = self.place(name).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    /// What is there by that name already is replaced.
    pub fn insert(&mut self, name: &'static str, value: Value) {
        match self.place(name) {
            Ok(at) => {
                if let Some((_, known)) = self.0.get_mut(at) {
                    *known = value;
                }
            }
            Err(at) => self.0.insert(at, (Cow::Borrowed(name), value)),
        }
    }

    /// Gives back the room for more.
    pub fn shrink_to_fit(&mut self) {
        self.0.shrink_to_fit();
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0
            .binary_search_by(|(known, _)| known.as_ref().cmp(name))
    }
}

/// As of JSON: what is not there is null.
impl std::ops::Index<&str> for Evidence {
    type Output = Value;

    fn index(&self, name: &str) -> &Value {
        self.get(name).unwrap_or(&Value::Null)
    }
}

impl Serialize for Evidence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for Evidence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let known = BTreeMap::<String, Value>::deserialize(deserializer)?;
        Ok(Self(
            known
                .into_iter()
                .map(|(name, value)| (Cow::Owned(name), value))
                .collect(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_in_the_order_of_names() {
        let mut evidence = Evidence::default();
        evidence.insert("rows", 5.into());
        evidence.insert("calls", "f()".into());
        evidence.insert("rows", 7.into());
        assert_eq!(
            (&evidence["rows"], &evidence["none"]),
            (&7.into(), &Value::Null)
        );
        let text = serde_json::to_string(&evidence).unwrap();
        assert_eq!(text, r#"{"calls":"f()","rows":7}"#);
        assert_eq!(serde_json::from_str::<Evidence>(&text).unwrap(), evidence);
    }
}
