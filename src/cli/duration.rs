//! Times on the command line: `500ms`, `2s`, `5min`, `1h`.

use std::time::Duration;

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let at = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let wrong = || format!("`{text}` is not a time: write it as 500ms, 2s, 5min or 1h");
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let milliseconds = match unit.trim() {
        "ms" => 1,
        "s" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    match number.checked_mul(milliseconds) {
        Some(0) => {
            Err("the time must be longer than 0: a wait without limit stops writers".to_owned())
        }
        // PostgreSQL's settings are 32-bit milliseconds.
        Some(time) if time <= 2_147_483_647 => Ok(Duration::from_millis(time)),
        _ => Err("the time must be shorter than 24 days".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::duration;
    use std::time::Duration;

    #[test]
    fn reads_what_people_write() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(duration("5min"), Ok(Duration::from_mins(5)));
        assert_eq!(duration(" 1h "), Ok(Duration::from_hours(1)));
        for text in [
            "",
            "2",
            "s",
            "2 years",
            "-1s",
            "0s",
            "99999h",
            "99999999999999999999s",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
