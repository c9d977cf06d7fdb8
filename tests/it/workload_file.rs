//! Workload files: what is accepted, and what the message says of what is not.

use dbtune::config::parse_workload;

const GOOD: &str = "\
version: 1
seed: 7
personas:
  clerk:
    role: authenticated
    sample: select id from users order by id limit 1;
    claims:
      sub: ${id}
      app: { tenant: '${id}' }
queries:
  - name: list
    personas: [clerk]
    sql: |
      select * from items where id = $1;
    params:
      - type: uuid
        sql: select id from items
";

#[test]
fn a_whole_file() {
    let file = parse_workload("w.yaml", GOOD).unwrap();
    assert_eq!(file.seed, 7);
    assert_eq!(file.queries[0].sql, "select * from items where id = $1");
    assert_eq!(file.personas["clerk"].claims.len(), 2);
}

/// `(what to replace, with what, line, column, what the message must say)`.
type Broken = (
    &'static str,
    &'static str,
    u64,
    u64,
    &'static [&'static str],
);

const BROKEN: &[Broken] = &[
    (
        "version: 1",
        "version: 2",
        1,
        10,
        &["version is 2", "expected 1"],
    ),
    ("seed: 7", "seed: seven", 2, 7, &["seven"]),
    ("seed: 7", "sead: 7", 2, 1, &["sead", "seed"]),
    (
        "role: authenticated",
        "rôle: authenticated",
        5,
        5,
        &["rôle", "role"],
    ),
    (
        "personas: [clerk]",
        "personas: [clark]",
        12,
        16,
        &["clark", "`clerk`"],
    ),
    ("personas: [clerk]", "personas: []", 12, 15, &["no persona"]),
    ("personas: [clerk]", "personas: [clerk", 13, 0, &[]),
    ("id = $1", "id = $2", 14, 7, &["$2", "params"]),
    ("where id = $1", "", 14, 7, &["$1"]),
    (
        "select * from items",
        "selec * from items",
        14,
        7,
        &["selec", "list"],
    ),
    (
        "= $1;",
        "= $1; select 2;",
        14,
        7,
        &["one statement", "found 2"],
    ),
    (
        "sql: select id from items",
        "sql: select $1",
        17,
        14,
        &["$1", "placeholder"],
    ),
    ("- name: list", "- name: a@b", 11, 11, &["a@b", "@"]),
    (
        "      - type: uuid\n        sql",
        "      - sql",
        16,
        9,
        &["type"],
    ),
];

#[test]
fn broken_files_name_line_column_and_expectation() {
    for (from, to, line, column, words) in BROKEN {
        assert!(GOOD.contains(from), "{from}");
        let error = parse_workload("w.yaml", &GOOD.replace(from, to)).unwrap_err();
        let text = error.to_string();
        if *column > 0 {
            assert_eq!((error.line, error.column), (*line, *column), "{to}: {text}");
        } else {
            assert!(error.line > 0, "{to}: {text}");
        }
        assert!(text.starts_with("w.yaml:"), "{text}");
        for word in *words {
            assert!(text.contains(word), "{to}: {text}");
        }
    }
    let twice = format!("{GOOD}  - {{name: list, personas: [clerk], sql: select 1}}\n");
    let error = parse_workload("w.yaml", &twice).unwrap_err();
    assert_eq!((error.line, error.column), (18, 12), "{error}");
    for nothing in [
        "",
        "version: 1\npersonas: {}\nqueries: []\n",
        "[1, 2]",
        "\t",
        "a: &x [*x]",
    ] {
        let error = parse_workload("w.yaml", nothing).unwrap_err();
        assert!(!error.message.is_empty());
    }
}

#[test]
fn sql_form() {
    let text = "\
-- a case
-- @query list
-- @role authenticated
-- @claims {\"sub\": \"1\"}
select * from docs;

-- @query touch
-- @role authenticated
-- @claims {\"sub\":\"1\"}
-- @write yes
-- @set work_mem=256kB
update docs set title = 'x' where id = 1;
-- @query other
-- @role authenticated
-- @claims {\"sub\": \"2\"}
select 1
";
    let file = parse_workload("w.sql", text).unwrap();
    assert_eq!(
        file.personas.keys().collect::<Vec<_>>(),
        ["authenticated", "authenticated_2"]
    );
    let touch = &file.queries[1];
    assert_eq!(touch.personas, ["authenticated"]);
    assert!(touch.write);
    assert_eq!(touch.settings["work_mem"], "256kB");
    assert_eq!(file.queries[2].personas, ["authenticated_2"]);

    for (bad, line, column, word) in [
        ("select 1", 1, 1, "@query"),
        ("-- @role r", 1, 4, "@query"),
        ("-- @query a\nselect 1", 1, 1, "@role"),
        (
            "-- @query a\n-- @role r\n-- @claims [1]\nselect 1",
            3,
            4,
            "JSON object",
        ),
        ("-- @query a\n-- @rule r\nselect 1", 2, 4, "@role"),
        (
            "-- @query a\n-- @role r\n-- @write maybe\nselect 1",
            3,
            4,
            "yes or no",
        ),
        ("-- @query a\n-- @role r\nselect $1", 1, 1, "$1"),
        (
            "-- @query a\n-- @role r\nselect 1; select 2",
            1,
            1,
            "found 2",
        ),
        ("", 1, 1, "no query"),
    ] {
        let error = parse_workload("w.sql", bad).unwrap_err();
        assert_eq!((error.line, error.column), (line, column), "{bad}: {error}");
        assert!(error.message.contains(word), "{bad}: {error}");
    }
}
