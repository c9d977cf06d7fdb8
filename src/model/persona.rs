use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Who runs a statement: a role and the session settings that hold its claims.
///
/// The values are secrets and row values: never print them.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Persona {
    pub name: String,
    pub role: String,
    /// Session settings, `request.jwt.claims` among them, set by `set_config(name, value, true)`.
    pub settings: BTreeMap<String, String>,
}

impl std::fmt::Debug for Persona {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Persona")
            .field("name", &self.name)
            .field("role", &self.role)
            .field("settings", &self.settings.keys())
            .finish()
    }
}
