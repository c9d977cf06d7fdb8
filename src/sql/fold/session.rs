use super::Value;

/// Who asks, as far as that decides what session functions return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    /// Anybody.
    Any,
    /// Nobody has logged in, and no setting was ever made in the session.
    Unset,
    /// Nobody has logged in, and the settings of an earlier transaction are gone: they are empty texts then.
    Empty,
    /// Nobody has logged in, and an API server says so: the claims hold the role `anon` and nothing else.
    AnonKey,
    /// Somebody has logged in by an API server; nobody in particular.
    User,
}

impl Session {
    /// The sessions of those who have not logged in.
    pub const ANONYMOUS: [Self; 3] = [Self::Unset, Self::Empty, Self::AnonKey];

    /// How an API server tells who asks.
    pub fn words(self) -> &'static str {
        match self {
            Self::Any => "in any session",
            Self::Unset => "where nothing is set",
            Self::Empty => "where the settings are empty",
            Self::AnonKey => "where the claims say no more than the role anon",
            Self::User => "of a user who has logged in",
        }
    }

    /// `current_setting(name, missing_ok)`.
    pub(super) fn setting(self, name: &str, missing_ok: bool) -> Value {
        // A name without a prefix is the server's own, and always set.
        if !name.contains('.') {
            return Value::Present;
        }
        // What an API server tells of the request itself is known in every session of it.
        if name.starts_with("request.") && !name.starts_with("request.jwt") {
            return Value::Unknown;
        }
        let claims = r#"{"role":"anon"}"#;
        match (self, name) {
            (Self::User, "request.jwt.claim.role") => Value::Text("authenticated".to_owned()),
            (Self::User, "request.jwt.claims" | "request.jwt.claim.sub") => Value::Present,
            (Self::Any | Self::User, _) if !missing_ok => Value::Present,
            (Self::Any | Self::User, _) => Value::Unknown,
            (Self::Empty, _) => Value::Text(String::new()),
            (Self::AnonKey, "request.jwt.claims") => Value::Text(claims.to_owned()),
            (Self::AnonKey, "request.jwt.claim.role") => Value::Text("anon".to_owned()),
            (Self::Unset | Self::AnonKey, _) if missing_ok => Value::Null,
            (Self::Unset | Self::AnonKey, _) => Value::Raises,
        }
    }

    /// The functions of the `auth` schema by which API servers tell who asks, where their bodies say nothing.
    pub(super) fn helper(self, schema: &str, name: &str) -> Value {
        match (self, schema, name) {
            (Self::User, "auth", "role") => Value::Text("authenticated".to_owned()),
            (Self::User, "auth", "uid" | "jwt") => Value::Present,
            (Self::Any | Self::User, _, _) => Value::Unknown,
            (_, "auth", "uid" | "email") | (Self::Unset | Self::Empty, "auth", "role" | "jwt") => {
                Value::Null
            }
            (Self::AnonKey, "auth", "role") => Value::Text("anon".to_owned()),
            (Self::AnonKey, "auth", "jwt") => Value::Json(serde_json::json!({ "role": "anon" })),
            _ => Value::Unknown,
        }
    }
}
