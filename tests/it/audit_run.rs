//! `dbtune audit` as it is typed.

use serde_json::Value;
use std::path::Path;
use std::process::Command;

pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}{}", self.out, self.err))
    }

    /// `rule object` of each finding that counts.
    pub(crate) fn counted(&self) -> Vec<String> {
        let json = self.json();
        let findings = json["findings"].as_array().unwrap();
        let mut all: Vec<String> = findings
            .iter()
            .filter(|f| f.get("excuse").is_none())
            .map(|f| {
                let object = &f["object"];
                let part = object["part"].as_str().map(|p| format!(" · {p}"));
                format!(
                    "{} {}{}",
                    f["rule"].as_str().unwrap(),
                    object["name"].as_str().unwrap(),
                    part.unwrap_or_default()
                )
            })
            .collect();
        all.sort();
        all
    }

    pub(crate) fn gaps(&self) -> String {
        self.json()["gaps"].to_string()
    }
}

/// In `folder`, where `dbtune.yaml` is looked for; no database is in the environment.
pub(crate) fn dbtune(folder: &Path, arguments: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_dbtune"))
        .arg("--quiet")
        .args(arguments)
        .current_dir(folder)
        .env_remove("DATABASE_URL")
        .env("COLUMNS", "100")
        .output()
        .unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

pub(crate) fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}
