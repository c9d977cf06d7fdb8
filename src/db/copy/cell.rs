/// One value of one row, independent of any driver.
///
/// Text is turned into what the column wants where that is plain: enum labels, numbers, booleans, addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    Null,
    Bool(bool),
    Int(i64),
    /// `unscaled / 10^places`.
    Decimal {
        unscaled: i64,
        places: u8,
    },
    Text(String),
    Uuid(u128),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since 1970-01-01 00:00 UTC.
    Timestamp(i64),
    /// JSON text.
    Json(String),
    /// A one-dimensional array.
    Texts(Vec<String>),
}

impl Cell {
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// As people write it in a specification; `None` for NULL and for what has no short form.
    pub fn label(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Bool(value) => Some(value.to_string()),
            Self::Int(value) => Some(value.to_string()),
            Self::Decimal { unscaled, places } => Some(decimal_text(*unscaled, *places)),
            _ => None,
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "an integer",
            Self::Decimal { .. } => "a decimal number",
            Self::Text(_) => "text",
            Self::Uuid(_) => "a uuid",
            Self::Date(_) => "a date",
            Self::Timestamp(_) => "a timestamp",
            Self::Json(_) => "JSON",
            Self::Texts(_) => "an array of text",
        }
    }
}

fn decimal_text(unscaled: i64, places: u8) -> String {
    let sign = if unscaled < 0 { "-" } else { "" };
    let digits = unscaled.unsigned_abs();
    let unit = 10_u64.pow(u32::from(places));
    if places == 0 {
        return format!("{sign}{digits}");
    }
    format!(
        "{sign}{}.{:0width$}",
        digits / unit,
        digits % unit,
        width = usize::from(places)
    )
}
