use super::Error;
use super::waiver::matches;
use chrono::NaiveDate;
use serde::Deserialize;

/// A change of access that a person wants: `verify` then lets it be.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowedAccess {
    /// `schema.name` for it and its parts, `schema.name/part` for one of them, or the object as `verify` shows it
    /// (`view public.v`); `*` stands for any text, `?` for any one character.
    pub object: String,
    /// Why rows may be opened or closed by it.
    pub reason: String,
    /// The last day on which it holds, `YYYY-MM-DD`; for good where it is left out.
    pub expires: Option<NaiveDate>,
}

impl AllowedAccess {
    pub(super) fn check(&self, file: &str) -> Result<(), Error> {
        let empty = [("object", &self.object), ("reason", &self.reason)]
            .into_iter()
            .find(|(_, text)| text.trim().is_empty());
        match empty {
            None => Ok(()),
            Some((field, _)) => {
                let message = format!(
                    "allowed_access: the {field} of what is allowed on `{}` is empty, expected some text",
                    self.object
                );
                Err(Error::at(file, 0, 0, message))
            }
        }
    }

    /// Whether it speaks of an object with one of these names, whatever the date.
    pub fn covers(&self, names: &[&str]) -> bool {
        names.iter().any(|name| matches(&self.object, name))
    }

    /// Whether it holds on this day.
    pub fn holds(&self, today: NaiveDate) -> bool {
        self.expires.is_none_or(|last| today <= last)
    }
}
