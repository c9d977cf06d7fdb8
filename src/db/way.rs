//! How a client library sends a statement, and how the server plans it.

/// What applications differ in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    pub protocol: Protocol,
    pub plans: Plans,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Text with the values in it, parsed each time.
    Simple,
    /// Parsed and bound each time.
    Extended,
    /// Parsed once a connection.
    #[default]
    Prepared,
}

/// `plan_cache_mode`; it matters to prepared statements only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plans {
    /// As the server decides: the first five executions are planned with their values.
    Auto,
    /// Each execution is planned with its values.
    #[default]
    Custom,
    /// One plan for all values.
    Generic,
}

impl Plans {
    pub(super) fn setting(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Custom => "force_custom_plan",
            Self::Generic => "force_generic_plan",
        }
    }
}
