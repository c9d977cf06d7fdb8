//! Settings and counters as numbers.

use crate::model::{Name, Server, Table};
use chrono::{DateTime, TimeDelta, Utc};

/// A setting in bytes, such as `128MB`; `None` where it is not known or has no unit of size.
pub(super) fn bytes(server: &Server, setting: &str) -> Option<f64> {
    let (number, unit) = split(server.settings.get(setting)?)?;
    let factor = match unit {
        "B" => 1.0,
        "kB" => 1024.0,
        "MB" => 1024.0 * 1024.0,
        "GB" => 1024.0 * 1024.0 * 1024.0,
        "TB" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some(number * factor)
}

/// A setting that is a plain number.
pub(super) fn number(server: &Server, setting: &str) -> Option<f64> {
    server.settings.get(setting)?.parse().ok()
}

/// Whether a setting is known to be off.
pub(super) fn is_off(server: &Server, setting: &str) -> bool {
    server.settings.get(setting).is_some_and(|v| v == "off")
}

fn split(text: &str) -> Option<(f64, &str)> {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at_checked(at)?;
    Some((number.parse().ok()?, unit))
}

/// A table's own storage parameter, or the server's setting.
pub(super) fn storage(server: &Server, table: &Table, parameter: &str, otherwise: f64) -> f64 {
    option(table, parameter)
        .and_then(|v| v.parse().ok())
        .or_else(|| number(server, parameter))
        .unwrap_or(otherwise)
}

/// A table's own storage parameter, as written.
pub(super) fn option<'a>(table: &'a Table, parameter: &str) -> Option<&'a str> {
    table.options.iter().find_map(|o| {
        let (name, value) = o.split_once('=')?;
        (name == parameter).then_some(value)
    })
}

/// The object of a finding on the whole database.
pub(super) fn database(server: &Server) -> Name {
    Name::new("", &server.database)
}

/// Whether `event` is so fresh that counters may not know of it yet: a session sends what it did before an ANALYZE or
/// VACUUM after that has set the counters back, and autovacuum, which would mend it, comes once a minute.
pub(super) fn just_now(server: &Server, event: Option<DateTime<Utc>>) -> bool {
    let age = server.read_at.zip(event).map(|(now, then)| now - then);
    age.is_some_and(|age| age < TimeDelta::minutes(15))
}

/// Days since the statistics of the database began; `None` where it is not known.
pub(super) fn days(server: &Server) -> Option<f64> {
    let elapsed = server.read_at? - server.stats_since?;
    #[expect(clippy::cast_precision_loss, reason = "days")]
    let days = elapsed.num_seconds() as f64 / 86_400.0;
    (days > 0.0).then_some(days)
}

/// A counter, for dividing.
#[expect(clippy::cast_precision_loss, reason = "counters are far below 2^53")]
pub(super) fn float(counter: i64) -> f64 {
    counter as f64
}

/// `part` of `whole` in percent; 0 of nothing.
pub(super) fn percent(part: f64, whole: f64) -> f64 {
    if whole > 0.0 {
        100.0 * part / whole
    } else {
        0.0
    }
}

/// A number of bytes, for messages that take it whole.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sizes are positive and fit"
)]
pub(super) fn whole(bytes: f64) -> u64 {
    bytes.max(0.0) as u64
}

/// `3 minutes`, for messages.
pub(super) fn span(seconds: f64) -> String {
    let units = [("days", 86_400.0), ("hours", 3600.0), ("minutes", 60.0)];
    let fitting = units.iter().find(|(_, length)| seconds >= 2.0 * length);
    let (unit, length) = fitting.copied().unwrap_or(("seconds", 1.0));
    format!("{:.0} {unit}", seconds / length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_with_their_units() {
        let mut server = Server::default();
        for (name, value) in [("a", "128MB"), ("b", "1.5GB"), ("c", "4"), ("d", "30s")] {
            server.settings.insert(name.to_owned(), value.to_owned());
        }
        assert_eq!(bytes(&server, "a"), Some(134_217_728.0));
        assert_eq!(bytes(&server, "b"), Some(1_610_612_736.0));
        assert_eq!(
            (bytes(&server, "c"), number(&server, "c")),
            (None, Some(4.0))
        );
        assert_eq!((bytes(&server, "d"), bytes(&server, "e")), (None, None));
        assert_eq!(span(45.0), "45 seconds");
        assert_eq!(span(7200.0), "2 hours");
    }
}
