//! Which columns hold what must not get about, judged by name and type.

use crate::model::Column;

/// Single words of a name that say it.
const WORDS: &[&str] = &[
    "apikey",
    "bic",
    "biometric",
    "certificate",
    "cvc",
    "cvn",
    "cvv",
    "diagnosis",
    "dob",
    "email",
    "iban",
    "imei",
    "jwt",
    "macaddr",
    "otp",
    "passphrase",
    "passport",
    "passwd",
    "password",
    "phone",
    "pwd",
    "secret",
    "sin",
    "ssn",
    "token",
    "totp",
    "treatment",
];

/// Words that say it side by side.
const PAIRS: &[(&str, &str)] = &[
    ("access", "token"),
    ("account", "number"),
    ("activation", "key"),
    ("api", "key"),
    ("auth", "code"),
    ("auth", "key"),
    ("backup", "code"),
    ("bank", "account"),
    ("birth", "date"),
    ("card", "number"),
    ("credit", "card"),
    ("date", "birth"),
    ("device", "uuid"),
    ("driver", "license"),
    ("drivers", "license"),
    ("facial", "recognition"),
    ("gpg", "key"),
    ("health", "insurance"),
    ("health", "record"),
    ("insurance", "number"),
    ("license", "key"),
    ("license", "number"),
    ("mac", "address"),
    ("medical", "insurance"),
    ("medical", "record"),
    ("national", "id"),
    ("patient", "id"),
    ("pgp", "key"),
    ("private", "key"),
    ("recovery", "code"),
    ("routing", "number"),
    ("session", "id"),
    ("session", "key"),
    ("social", "security"),
    ("ssh", "key"),
    ("swift", "code"),
    ("tax", "id"),
    ("two", "factor"),
    ("verification", "code"),
    ("2fa", "code"),
];

/// `email_verified` and `password_changed_at` tell of a secret without holding it.
const HARMLESS: &[&str] = &[
    "boolean",
    "timestamp with time zone",
    "timestamp without time zone",
    "interval",
];

pub(super) fn is_sensitive(column: &Column) -> bool {
    if HARMLESS.contains(&column.type_name.as_str()) {
        return false;
    }
    let name = column.name.to_lowercase();
    let words: Vec<&str> = name
        .split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty() && *w != "of")
        .collect();
    let pair = |w: &[&str]| matches!(w, [a, b] if PAIRS.contains(&(*a, *b)));
    words.iter().any(|w| WORDS.contains(w)) || words.windows(2).any(pair)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_words_count_and_flags_do_not() {
        let column = |name: &str, kind: &str| Column {
            name: name.into(),
            type_name: kind.into(),
            ..Column::default()
        };
        for name in [
            "password_hash",
            "Email",
            "api-key",
            "date_of_birth",
            "mfa_secret",
        ] {
            assert!(is_sensitive(&column(name, "text")), "{name}");
        }
        for name in ["secretary", "headphone", "title", "key"] {
            assert!(!is_sensitive(&column(name, "text")), "{name}");
        }
        assert!(!is_sensitive(&column("email_verified", "boolean")));
    }
}
