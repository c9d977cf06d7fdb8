//! The shape of the crate, kept by test because one package has no crate boundaries to keep it.

use std::{fs, path::Path};

/// A module may use only the modules written before it.
const LAYERS: &[&str] = &[
    "model", "sql", "config", "rules", "propose", "record", "report", // decide
    "db", "migrate", "seed", "bench", "verify", "monitor", // act
    "cli",
];

/// These compute; they never wait.
const SYNCHRONOUS: &[&str] = &["model", "config", "sql", "rules", "record", "report"];

/// Crates that one module alone may name.
const WALLS: &[(&str, &str)] = &[
    ("pg_query::", "sql"),
    ("tokio_postgres::", "db"),
    ("sqlx::", "db"),
    ("comfy_table::", "report"),
    ("indicatif::", "cli"),
    ("clap::", "cli"),
];

/// `(layer, path, text without tests)` of every source file.
fn sources() -> Vec<(String, String, String)> {
    fn walk(layer: &str, path: &Path, out: &mut Vec<(String, String, String)>) {
        if path.is_dir() {
            for entry in fs::read_dir(path).unwrap() {
                walk(layer, &entry.unwrap().path(), out);
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(path).unwrap();
            let code = text
                .split("#[cfg(test)]")
                .next()
                .unwrap_or_default()
                .to_owned();
            out.push((layer.to_owned(), path.display().to_string(), code));
        }
    }
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut out = Vec::new();
    for entry in fs::read_dir(src).unwrap() {
        let path = entry.unwrap().path();
        let layer = path.file_stem().unwrap().to_str().unwrap().to_owned();
        walk(&layer, &path, &mut out);
    }
    out
}

#[test]
fn modules_use_only_lower_layers() {
    for (layer, path, code) in sources() {
        let Some(rank) = LAYERS.iter().position(|l| *l == layer) else {
            assert!(
                ["lib", "main"].contains(&&*layer),
                "{path}: `{layer}` has no place in LAYERS"
            );
            continue;
        };
        assert!(
            !code.contains("super::super"),
            "{path}: name modules from `crate::`"
        );
        for used in code.split("crate::").skip(1) {
            let used = used
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .next()
                .unwrap_or_default();
            if let Some(at) = LAYERS.iter().position(|l| *l == used) {
                assert!(at <= rank, "{path}: `{layer}` may not use `{used}`");
            }
        }
    }
}

#[test]
fn deciding_never_waits() {
    for (layer, path, code) in sources() {
        if SYNCHRONOUS.contains(&&*layer) {
            assert!(
                !code.contains("async ") && !code.contains(".await"),
                "{path} is asynchronous"
            );
        }
    }
}

#[test]
fn each_outside_crate_is_named_in_one_module() {
    for (layer, path, code) in sources() {
        for (name, home) in WALLS {
            assert!(
                layer == *home || !code.contains(name),
                "{path}: only `{home}` may name {name}"
            );
        }
    }
}
