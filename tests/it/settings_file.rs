//! The `dbtune.yaml` that is shipped: it changes nothing as it is, and knows every field.

use dbtune::config::Settings;

const SHIPPED: &str = include_str!("../../dbtune.yaml");

#[test]
fn as_shipped_it_changes_nothing() {
    let settings = Settings::parse("dbtune.yaml", SHIPPED).unwrap();
    assert_eq!(settings, Settings::default());
}

#[test]
fn it_names_every_field_with_its_default() {
    let mut uncommented = String::new();
    for line in SHIPPED.lines() {
        // Prose has a space after the sign, a field has none.
        let field = line.strip_prefix('#').filter(|l| !l.starts_with(' '));
        uncommented += field.unwrap_or(line);
        uncommented.push('\n');
    }
    let Settings {
        slo_ms,
        regression_percent,
        duration_s,
        statement_timeout_ms,
        draws,
        migrations,
        workload,
        fail_on,
        waivers,
        allowed_access,
        gate,
    } = Settings::parse("dbtune.yaml", &uncommented).unwrap();
    // Fields without a value by default are there with an example.
    assert!(migrations.is_some() && workload.is_some() && fail_on.is_some() && !waivers.is_empty());
    assert!(!allowed_access.is_empty());
    assert!(!gate.queries.is_empty() && !gate.allow.is_empty() && gate.buffers_percent.is_some());
    let shown = Settings {
        slo_ms,
        regression_percent,
        duration_s,
        statement_timeout_ms,
        draws,
        ..Settings::default()
    };
    assert_eq!(shown, Settings::default());
    for name in [
        "slo_ms",
        "regression_percent",
        "duration_s",
        "statement_timeout_ms",
        "draws",
    ] {
        assert!(
            uncommented
                .lines()
                .any(|l| l.starts_with(&format!("{name}: "))),
            "{name} is not in the file"
        );
    }
}
