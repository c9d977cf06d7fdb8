//! The folders of other tools: what is written reads back the same, applies and comes back.

use crate::migrate_ground::{INDEX_DOWN, INDEX_UP, ground, schema_dump, silent};
use dbtune::migrate::{self, Back, Folder, Layout, Options};
use dbtune::model::{Migration, Script};

fn migrations() -> Vec<Migration> {
    vec![
        Migration {
            version: 20_250_101_000_000,
            slug: "notes".to_owned(),
            up: Script::new("-- why\ncreate table notes (id int);\n"),
            down: Some(Script::new("drop table notes;\n")),
        },
        Migration {
            version: 20_250_101_000_001,
            slug: "items_tenant_idx".to_owned(),
            up: Script::new(INDEX_UP),
            down: Some(Script::new(INDEX_DOWN)),
        },
    ]
}

fn names(dir: &std::path::Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn every_layout_goes_round() {
    let ground = ground("layouts").await;
    let client = ground.owner().await;
    let before = schema_dump(&client).await;
    for name in Layout::NAMES {
        let layout = Layout::named(name).unwrap();
        let dir = tempfile::tempdir().unwrap();
        migrate::write_as(dir.path(), layout, &migrations()).unwrap_or_else(|p| panic!("{p:?}"));
        let folder =
            Folder::read_as(dir.path(), layout).unwrap_or_else(|p| panic!("{name}: {p:?}"));
        assert_eq!(folder.entries.len(), 2, "{name}: {:?}", names(dir.path()));
        for (read, written) in folder.entries.iter().zip(migrations()) {
            let read = &read.migration;
            assert_eq!(
                (read.version, &read.slug),
                (written.version, &written.slug),
                "{name}"
            );
            assert_eq!(read.up.no_transaction, written.up.no_transaction, "{name}");
            let down = read.down.as_ref().unwrap();
            assert_eq!(
                down.no_transaction,
                written.down.unwrap().no_transaction,
                "{name}"
            );
        }
        // Once more into the same folder: refused, and nothing is written.
        let there = names(dir.path());
        migrate::write_as(dir.path(), layout, &migrations()).unwrap_err();
        assert_eq!(names(dir.path()), there);

        let options = Options::default();
        let target = ground.target();
        migrate::apply(&target, &folder, &options, &mut silent)
            .await
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(schema_dump(&client).await.contains("items_tenant_idx"));
        let nothing = Folder::default();
        migrate::rollback(&target, &nothing, Back::All, &options, &mut silent)
            .await
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(schema_dump(&client).await, before, "{name}");
    }
}

#[test]
fn files_are_those_of_the_tool() {
    let expected: [(&str, &[&str]); 4] = [
        (
            "dbmate",
            &[
                "20250101000000_notes.sql",
                "20250101000001_items_tenant_idx.sql",
            ],
        ),
        (
            "flyway",
            &[
                "U20250101000000__notes.sql",
                "U20250101000001__items_tenant_idx.sql",
                "U20250101000001__items_tenant_idx.sql.conf",
                "V20250101000000__notes.sql",
                "V20250101000001__items_tenant_idx.sql",
                "V20250101000001__items_tenant_idx.sql.conf",
            ],
        ),
        (
            "golang-migrate",
            &[
                "20250101000000_notes.down.sql",
                "20250101000000_notes.up.sql",
                "20250101000001_items_tenant_idx.down.sql",
                "20250101000001_items_tenant_idx.up.sql",
            ],
        ),
        (
            "supabase",
            &[
                "20250101000000_notes.sql",
                "20250101000001_items_tenant_idx.sql",
                "down",
            ],
        ),
    ];
    for (name, files) in expected {
        let dir = tempfile::tempdir().unwrap();
        migrate::write_as(dir.path(), Layout::named(name).unwrap(), &migrations()).unwrap();
        assert_eq!(names(dir.path()), files, "{name}");
    }
    let dir = tempfile::tempdir().unwrap();
    migrate::write_as(dir.path(), Layout::Dbmate, &migrations()).unwrap();
    let text =
        std::fs::read_to_string(dir.path().join("20250101000001_items_tenant_idx.sql")).unwrap();
    assert!(
        text.starts_with("-- migrate:up transaction:false\ncreate index"),
        "{text}"
    );
    assert!(
        text.contains("\n-- migrate:down transaction:false\ndrop index"),
        "{text}"
    );
    std::fs::write(dir.path().join("3_x.sql"), "select 1;").unwrap();
    let problems = Folder::read_as(dir.path(), Layout::Dbmate).unwrap_err();
    assert!(
        problems[0].to_string().contains("migrate:up"),
        "{problems:?}"
    );
    std::fs::write(dir.path().join("V1.2__x.sql"), "select 1;").unwrap();
    let problems = Folder::read_as(dir.path(), Layout::Flyway).unwrap_err();
    assert!(
        problems[0].to_string().contains("whole number"),
        "{problems:?}"
    );
}
