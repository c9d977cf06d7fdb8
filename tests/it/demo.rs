//! `dbtune demo`, small: every stage runs, nothing is left behind.

#[test]
fn the_whole_job() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [
        "demo",
        "--scale",
        "0.01",
        "--duration",
        "5s",
        "--format",
        "json",
        "-o",
        "out",
    ];
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_dbtune"))
        .args(arguments)
        .current_dir(folder.path())
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let report: serde_json::Value =
        serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{e}: {stdout}{stderr}"));
    let at = |pointer: &str| report.pointer(pointer).unwrap_or(&serde_json::Value::Null);
    assert_eq!(at("/data/restored"), true, "{stderr}");
    let proposals = at("/data/proposals").as_array().unwrap();
    assert!(proposals.len() > 10, "{}", proposals.len());
    let compared = at("/data/bench/comparisons").as_array().unwrap();
    assert!(compared.len() > 50, "{}", compared.len());
    let differs: Vec<_> = compared
        .iter()
        .filter(|c| c["verdict"] == "differs")
        .collect();
    assert!(differs.is_empty(), "{differs:?}");
    assert!(stderr.contains("see and write the same rows"), "{stderr}");
    let page = std::fs::read_to_string(folder.path().join("out/report.html")).unwrap();
    assert!(page.contains("inventory_count@nurse_small"));
    let claims = [
        "\"sub\"",
        "&quot;sub&quot;",
        "\"app_role\"",
        "&quot;app_role&quot;",
    ];
    assert!(!claims.iter().any(|c| page.contains(c)), "no claims");
    let snapshot = folder.path().join("out/snapshot.json");
    let again = crate::audit_run::dbtune(
        folder.path(),
        &["audit", "--snapshot", snapshot.to_str().unwrap()],
    );
    assert_eq!(again.code, 1, "{}", again.err);
    let migrations = std::fs::read_dir(folder.path().join("out/migrations")).unwrap();
    assert!(migrations.count() > 2 * 8 + proposals.len());
}
