use super::{Change, Class, Comparison, Definitions, Key, Kind, Object, compare, fingerprints};
use crate::model::Name;
use std::collections::BTreeSet;

fn key(kind: Kind, name: &str, part: &str) -> Key {
    Key::part(kind, Name::new("public", name), part)
}

fn object(id: u32, facts: &[(&str, &str)], mentions: &[Key]) -> Object {
    let facts = facts
        .iter()
        .map(|(f, v)| ((*f).to_owned(), (*v).to_owned()));
    Object {
        id: (1, id),
        facts: facts.collect(),
        mentions: mentions.iter().cloned().collect(),
        ..Object::default()
    }
}

/// Two guarded tables, one of which reads the other through a function.
fn small() -> Definitions {
    let (docs, members) = (
        key(Kind::Table, "docs", ""),
        key(Kind::Table, "members", ""),
    );
    let (own, mine) = (
        key(Kind::Policy, "docs", "own"),
        key(Kind::Policy, "members", "mine"),
    );
    let helper = key(Kind::Function, "is_member", "integer");
    let table = [
        ("owner", "o"),
        ("row security", "on"),
        ("forced", "off"),
        ("grant SELECT to app", "plain"),
    ];
    let function = [
        ("owner", "o"),
        ("kind", "f"),
        ("language", "sql"),
        ("security", "invoker"),
        ("body", "select 1"),
        ("set", "scalar"),
    ];
    let objects = [
        (docs, object(1, &table, std::slice::from_ref(&own))),
        (
            members.clone(),
            object(2, &table, std::slice::from_ref(&mine)),
        ),
        (
            own,
            object(
                3,
                &[("USING", "is_member(org)")],
                std::slice::from_ref(&helper),
            ),
        ),
        (mine, object(4, &[("USING", "who = me")], &[])),
        (helper, object(5, &function, &[members])),
    ];
    Definitions {
        server_version: 150_000,
        objects: objects.into(),
    }
}

/// `small` after `change`.
fn changed(clones: bool, change: impl FnOnce(&mut Definitions)) -> Comparison {
    let before = small();
    let mut after = small();
    change(&mut after);
    compare(&before, &after, clones)
}

fn set(side: &mut Definitions, key: &Key, fact: &str, value: &str) {
    let object = side.objects.get_mut(key).unwrap();
    object.facts.insert(fact.to_owned(), value.to_owned());
}

fn touched(found: &Comparison) -> Vec<&str> {
    found.touched.iter().map(|n| n.name.as_str()).collect()
}

#[test]
fn nothing_changed_is_nothing_reached() {
    let found = changed(true, |_| ());
    assert_eq!(found, Comparison::default());
}

#[test]
fn a_policy_reaches_those_who_read_its_table_with_their_own_rights() {
    let mine = key(Kind::Policy, "members", "mine");
    let found = changed(true, |s| set(s, &mine, "USING", "true"));
    assert_eq!(touched(&found), ["docs", "members"]);
    assert_eq!(
        found.changed[0].what,
        "policy mine on public.members: USING changed"
    );
    assert!(found.access[0].decidable && found.access[0].class == Class::Policy);

    // With the owner's rights the policy is not asked, except where the owner is held to it.
    let helper = key(Kind::Function, "is_member", "integer");
    let definer = |forced: &str| {
        let mut before = small();
        set(&mut before, &helper, "security", "definer");
        set(
            &mut before,
            &key(Kind::Table, "members", ""),
            "forced",
            forced,
        );
        let mut after = before.clone();
        set(&mut after, &mine, "USING", "true");
        compare(&before, &after, true)
    };
    assert_eq!(touched(&definer("off")), ["members"]);
    assert_eq!(touched(&definer("on")), ["docs", "members"]);
}

#[test]
fn what_writes_reach_is_not_what_reads_reach() {
    let trigger = key(Kind::Trigger, "members", "g");
    let found = changed(true, |s| {
        s.objects.insert(trigger.clone(), object(9, &[], &[]));
        let table = s.objects.get_mut(&key(Kind::Table, "members", "")).unwrap();
        table.mentions.insert(trigger.clone());
    });
    assert_eq!(touched(&found), ["members"]);
    assert_eq!(found.changed[0].what, "trigger g on public.members added");
    assert!(!found.access[0].decidable && found.access[0].class == Class::Trigger);
}

#[test]
fn between_clones_the_tree_decides_and_elsewhere_the_text() {
    let own = key(Kind::Policy, "docs", "own");
    let with_trees = |text: &str, tree: &str, clones: bool| {
        let mut before = small();
        let trees = &mut before.objects.get_mut(&own).unwrap().trees;
        trees.insert("USING".to_owned(), "1".to_owned());
        let mut after = before.clone();
        set(&mut after, &own, "USING", text);
        let trees = &mut after.objects.get_mut(&own).unwrap().trees;
        trees.insert("USING".to_owned(), tree.to_owned());
        let found = compare(&before, &after, clones);
        found.changed.first().map(|c| c.what.clone())
    };
    let said = |what: &str| Some(format!("policy own on public.docs: {what}"));
    assert_eq!(
        with_trees("other(org)", "1", true),
        None,
        "only names differ"
    );
    assert_eq!(
        with_trees("is_member(org)", "2", true),
        said("USING refers to other objects")
    );
    assert_eq!(with_trees("other(org)", "1", false), said("USING changed"));
    assert_eq!(with_trees("is_member(org)", "2", false), None);
}

#[test]
fn a_rename_is_one_only_between_clones() {
    let rename = |s: &mut Definitions| {
        let old = key(Kind::Function, "is_member", "integer");
        let object = s.objects.remove(&old).unwrap();
        s.objects
            .insert(key(Kind::Function, "member_of", "integer"), object);
    };
    let found = changed(true, rename);
    assert_eq!(found.changed[0].change, Change::Renamed);
    assert_eq!(
        found.changed[0].what,
        "function public.is_member(integer) renamed to public.member_of(integer)"
    );
    let found = changed(false, rename);
    let kinds: Vec<Change> = found.changed.iter().map(|c| c.change).collect();
    assert_eq!(kinds, [Change::Removed, Change::Added]);
    assert_eq!(touched(&found), ["docs"]);
}

#[test]
fn a_body_of_which_nothing_is_known_reads_everything() {
    let mut before = small();
    let helper = key(Kind::Function, "is_member", "integer");
    let object = before.objects.get_mut(&helper).unwrap();
    object.mentions.clear();
    object.opaque = true;
    let mut after = before.clone();
    set(
        &mut after,
        &key(Kind::Policy, "members", "mine"),
        "USING",
        "true",
    );
    assert_eq!(
        touched(&compare(&before, &after, true)),
        ["docs", "members"]
    );
    // It cannot speak of what was not there.
    let mut after = before.clone();
    after.objects.insert(
        key(Kind::Table, "fresh", ""),
        self::object(77, &[("row security", "off")], &[]),
    );
    let found = compare(&before, &after, true);
    assert!(
        found.touched.is_empty() && found.new.len() == 1,
        "{found:?}"
    );
}

#[test]
fn fingerprints_hold_the_text_and_no_number() {
    let (one, mut other) = (small(), small());
    for object in other.objects.values_mut() {
        object.id = (7, 7);
        object.trees.insert("USING".to_owned(), "x".to_owned());
    }
    let all: BTreeSet<Key> = one.objects.keys().cloned().collect();
    assert_eq!(fingerprints(&one, &all), fingerprints(&other, &all));
    set(
        &mut other,
        &key(Kind::Policy, "docs", "own"),
        "USING",
        "true",
    );
    let (a, b) = (fingerprints(&one, &all), fingerprints(&other, &all));
    let differing: Vec<&String> = a.keys().filter(|k| a[*k] != b[*k]).collect();
    assert_eq!(differing, ["policy own on public.docs"]);
    let reach = changed(true, |s| {
        set(s, &key(Kind::Policy, "docs", "own"), "USING", "true");
    })
    .reach;
    assert!(
        reach.contains(&key(Kind::Table, "members", "")),
        "what it depends on is held too"
    );
}
