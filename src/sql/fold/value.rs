/// What is known of a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Text(String),
    Number(f64),
    Json(serde_json::Value),
    /// Not NULL, and nothing else is known.
    Present,
    /// False or NULL.
    Untrue,
    /// Evaluating it is an error.
    Raises,
    Unknown,
}

impl Value {
    pub fn is_true(&self) -> bool {
        *self == Self::Bool(true)
    }

    /// No row passes: false, NULL, or an error.
    pub fn is_never_true(&self) -> bool {
        matches!(
            self,
            Self::Bool(false) | Self::Null | Self::Untrue | Self::Raises
        )
    }

    /// Whether it is known not to be NULL.
    pub fn is_present(&self) -> bool {
        !matches!(
            self,
            Self::Null | Self::Untrue | Self::Raises | Self::Unknown
        )
    }

    /// `self and other`, evaluated in this order.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Bool(false), _) | (_, Self::Bool(false)) => Self::Bool(false),
            (Self::Raises, _) | (_, Self::Raises) => Self::Raises,
            (Self::Bool(true), other) | (other, Self::Bool(true)) => other,
            (Self::Null, Self::Null) => Self::Null,
            (Self::Null | Self::Untrue, _) | (_, Self::Null | Self::Untrue) => Self::Untrue,
            (Self::Present, Self::Present) => Self::Present,
            _ => Self::Unknown,
        }
    }

    /// `self or other`, evaluated in this order.
    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Bool(true), _) => Self::Bool(true),
            (Self::Raises, _) => Self::Raises,
            (_, Self::Bool(true)) => Self::Bool(true),
            // An error only where the first is not true.
            (Self::Unknown | Self::Present, Self::Raises) => Self::Unknown,
            (_, Self::Raises) => Self::Raises,
            (Self::Bool(false), other) | (other, Self::Bool(false)) => other,
            (Self::Null, Self::Null) => Self::Null,
            (Self::Null | Self::Untrue, Self::Null | Self::Untrue) => Self::Untrue,
            (Self::Present, Self::Present) => Self::Present,
            _ => Self::Unknown,
        }
    }

    pub(super) fn negated(self) -> Self {
        match self {
            Self::Bool(b) => Self::Bool(!b),
            Self::Null | Self::Raises | Self::Present => self,
            _ => Self::Unknown,
        }
    }

    pub(super) fn is_null(&self) -> Self {
        match self {
            Self::Null => Self::Bool(true),
            Self::Raises => Self::Raises,
            Self::Unknown | Self::Untrue => Self::Unknown,
            _ => Self::Bool(false),
        }
    }

    /// `self::type`.
    pub(super) fn cast(self, to: &str) -> Self {
        if matches!(
            self,
            Self::Null | Self::Raises | Self::Present | Self::Unknown | Self::Untrue
        ) {
            return self;
        }
        match (self, to) {
            (Self::Text(text), "text" | "varchar" | "name" | "bpchar" | "citext" | "char") => {
                Self::Text(text)
            }
            (Self::Text(text), "uuid") => text
                .parse::<uuid::Uuid>()
                .map_or(Self::Raises, |id| Self::Text(id.to_string())),
            (Self::Text(text), "json" | "jsonb") => {
                serde_json::from_str(&text).map_or(Self::Raises, Self::Json)
            }
            (Self::Text(text), "int2" | "int4" | "int8" | "numeric" | "float4" | "float8") => {
                text.trim().parse().map_or(Self::Raises, Self::Number)
            }
            (Self::Text(text), "bool") => match text.trim().to_lowercase().as_str() {
                "t" | "true" | "yes" | "on" | "1" => Self::Bool(true),
                "f" | "false" | "no" | "off" | "0" => Self::Bool(false),
                _ => Self::Raises,
            },
            (Self::Number(n), "int2" | "int4" | "int8" | "numeric" | "float4" | "float8") => {
                Self::Number(n)
            }
            (Self::Bool(b), "bool") => Self::Bool(b),
            (Self::Bool(b), "text") => Self::Text(b.to_string()),
            (Self::Json(j), "json" | "jsonb") => Self::Json(j),
            _ => Self::Unknown,
        }
    }
}
