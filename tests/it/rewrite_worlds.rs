//! No rewrite changes a decision: generated policies, before and after, over many small worlds, as the role.

use crate::rewrite_ground::{Case, Dice, Ground, case, ground, world};
use crate::server::{self, Db};
use dbtune::model::{Catalog, Name, Policy};
use dbtune::sql::ddl::alter_policy;
use dbtune::sql::rewrite::{Depth, is_reprintable, rewrite, rewrite_using};
use std::collections::BTreeMap;
use tokio_postgres::Client;

const fn of(extensions: &'static str, keyed: bool, counted: bool, guarded: bool) -> Ground {
    Ground {
        extensions,
        keyed,
        counted,
        guarded,
    }
}

const GROUNDS: [Ground; 4] = [
    of("extensions", false, false, false),
    of("public", false, true, true),
    of("extensions", true, true, false),
    of("extensions", true, false, true),
];

/// What a session says of itself; `None` in a connection where nothing was ever said.
const IDENTITIES: [Option<(&str, &str, &str)>; 5] = [
    None,
    Some(("1", "Ann", "admin")),
    Some(("2", "ann", "a")),
    Some(("", "", "")),
    Some(("3", "worlds_app", "b")),
];

/// Runs as whoever calls it: what each table shows, or what may be written to it, as far as its policy is asked.
const PROBE: &str = "
create function probe(tables text[]) returns setof text language plpgsql as $probe$
declare
  row constant text := 'select id + 100, org_id, owner_id, big, name, short, email, name_ci, name_c, tags, kind, status, at, n from base';
  t text; q text; r text;
begin
  foreach t in array tables loop
    for q in
      select v.q
      from pg_policy p
      cross join lateral (values
        ('r', 'select array_agg(id order by id)::text from %I'),
        ('a', 'with w as (insert into %I ' || row || ' where id = 1 returning 1) select count(*)::text from w'),
        ('a', 'with w as (insert into %I ' || row || ' where id = 5 returning 1) select count(*)::text from w'),
        ('a', 'with w as (insert into %I ' || row || ' where org_id = 1 returning 1) select count(*)::text from w'),
        ('w', 'with w as (update %I set n = 1 returning 1) select count(*)::text from w'),
        ('w', 'with w as (update %I set owner_id = 1, org_id = 2 returning 1) select count(*)::text from w'),
        ('d', 'with w as (delete from %I returning 1) select count(*)::text from w')) v (kind, q)
      where p.polname = 'p' and p.polrelid = t::regclass and p.polcmd in (v.kind::\"char\", '*')
    loop
      begin
        execute format(q, t) into r;
        raise exception using errcode = 'DBT00';
      exception
        when sqlstate 'DBT00' then return next t || '|' || left(q, 30) || '|' || coalesce(r, '-');
        when others then return next t || '|' || left(q, 30) || '|error ' || sqlstate;
      end;
    end loop;
  end loop;
end $probe$;
create function refill(tables text[]) returns void language plpgsql set session_replication_role = replica as $refill$
declare t text;
begin
  foreach t in array tables loop
    execute format('delete from %I', t);
    execute format('insert into %I select * from base', t);
  end loop;
end $refill$;
";

/// One database as it is, and one with every policy rewritten.
struct Pair {
    before: Db,
    after: Db,
    rewritten: Vec<String>,
    refused: usize,
    texts: BTreeMap<String, String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn no_rewrite_changes_what_is_seen_or_written() {
    let environment = server::environment();
    let asked = |name: &str, usual: usize| {
        let said = environment.get(name).and_then(|n| n.parse().ok());
        said.unwrap_or(usual)
    };
    let (seed, worlds) = (asked("DBTUNE_WORLDS_SEED", 7), asked("DBTUNE_WORLDS", 8));
    let cases = asked("DBTUNE_WORLDS_CASES", 110);
    let (mut made, mut refused, mut wrong, mut telling) = (0, 0, Vec::new(), 0);
    for (number, of) in GROUNDS.into_iter().enumerate() {
        let mut dice = Dice::new((seed * 100 + number) as u64);
        let pair = pair(number, of, cases, &mut dice).await;
        let mut found = compare(&pair, of, worlds, &mut dice).await;
        let control = found.wrong.iter().position(|w| w.starts_with(CONTROL));
        assert!(control.is_some(), "a wider policy was not seen");
        found.wrong.remove(control.unwrap());
        made += pair.rewritten.len() - 1;
        refused += pair.refused;
        telling += found.telling;
        wrong.extend(found.wrong);
    }
    eprintln!(
        "{made} rewritten, {telling} of them with both decisions, {refused} left as they are"
    );
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n\n")
    );
    assert!(
        made + refused >= 300 && made >= 100 && telling * 3 >= made,
        "{made} {telling} {refused}"
    );
}

async fn pair(number: usize, of: Ground, cases: usize, dice: &mut Dice) -> Pair {
    let before = server::fresh(&format!("worlds{number}")).await;
    let client = before.client().await;
    let role = "do $$ begin create role worlds_app nologin; exception when duplicate_object then null; end $$";
    client.batch_execute(role).await.unwrap();
    client
        .batch_execute(&ground(of))
        .await
        .unwrap_or_else(|e| panic!("{e:?}"));
    client.batch_execute(PROBE).await.unwrap();
    let path = format!(
        "alter database \"{}\" set search_path = public, {}",
        before.name, of.extensions
    );
    client.batch_execute(&path).await.unwrap();
    let control = format!(
        "create table {CONTROL} (like base including all); alter table {CONTROL} enable row level security;
         grant select on {CONTROL} to worlds_app; create policy p on {CONTROL} for select to worlds_app using (owner_id = (select uid()))"
    );
    client.batch_execute(&control).await.unwrap();
    let mut texts = BTreeMap::from([(CONTROL.to_owned(), control)]);
    for i in 0..cases {
        let Case { table, setup } = case(i, of, dice);
        let all = format!("begin; {}; commit", setup.join(";\n"));
        // The server refuses some: types that do not compare, collations in conflict.
        if client.batch_execute(&all).await.is_ok() {
            texts.insert(table, setup[1..].join(";\n"));
        } else {
            client.batch_execute("rollback").await.unwrap();
        }
    }
    drop(client);
    let catalog = catalog(&before).await;
    let after = copy(&before, of).await;
    let client = after.client().await;
    let wider = format!(
        "alter policy p on {CONTROL} using (owner_id = (select uid()) or owner_id is null)"
    );
    client.batch_execute(&wider).await.unwrap();
    let (mut rewritten, mut refused) = (vec![CONTROL.to_owned()], 0);
    for (name, table) in &catalog.tables {
        let Some(policy) = table.policy("p").filter(|_| name.name != CONTROL) else {
            continue;
        };
        let changes = changes(policy, name, &catalog);
        if changes.is_empty() {
            refused += 1;
            continue;
        }
        let script = changes.join(";\n");
        let text = texts.get(&name.name).cloned().unwrap_or_default();
        client
            .batch_execute(&script)
            .await
            .unwrap_or_else(|e| panic!("{e:?}\n{text}\n{script}"));
        rewritten.push(name.name.clone());
        texts.insert(name.name.clone(), format!("{text}\n-- becomes\n{script}"));
    }
    drop(client);
    Pair {
        before,
        after,
        rewritten,
        refused,
        texts,
    }
}

/// A change that opens the rows of nobody: if the comparison does not see it, it sees nothing.
const CONTROL: &str = "control";

/// The catalog as propose reads it, with tables that look large.
async fn catalog(db: &Db) -> Catalog {
    let target = dbtune::db::Target::resolve(Some(&db.url), &server::environment()).unwrap();
    let session = dbtune::db::Session::connect(&target, "test").await.unwrap();
    let mut catalog = dbtune::db::read_catalog(&session).await.unwrap();
    for (name, table) in &mut catalog.tables {
        table.rows = Some(if name.name.starts_with('p') {
            1e6
        } else {
            10.0
        });
    }
    catalog
}

async fn copy(db: &Db, of: Ground) -> Db {
    for _ in 0..200 {
        let row =
            server::connect(&server::server().url("postgres", server::server().superuser())).await;
        let busy = "select count(*) from pg_stat_activity where datname = $1";
        if row
            .query_one(busy, &[&db.name])
            .await
            .unwrap()
            .get::<_, i64>(0)
            == 0
        {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let copy = server::fresh_from("worlds_after", &db.name).await;
    let path = format!(
        "alter database \"{}\" set search_path = public, {}",
        copy.name, of.extensions
    );
    copy.client().await.batch_execute(&path).await.unwrap();
    copy
}

/// What propose would do, at its deepest.
fn changes(policy: &Policy, table: &Name, catalog: &Catalog) -> Vec<String> {
    if !is_reprintable(policy, table, catalog) {
        return Vec::new();
    }
    let using = rewrite_using(policy, table, catalog, Depth::Domain).unwrap();
    let check = policy
        .check
        .as_ref()
        .and_then(|text| rewrite(text, table, catalog, Depth::Domain).unwrap());
    if using.is_none() && check.is_none() {
        return Vec::new();
    }
    let mut made = Vec::new();
    for rewritten in [&using, &check].into_iter().flatten() {
        for companion in &rewritten.companions {
            if !made.iter().any(|m: &String| companion.create.contains(m)) {
                made.extend(companion.create.iter().cloned());
            }
        }
    }
    let using = using.map(|u| u.expression).or_else(|| policy.using.clone());
    let check = check.map(|c| c.expression).or_else(|| policy.check.clone());
    made.push(alter_policy(
        table,
        &policy.name,
        using.as_deref(),
        check.as_deref(),
    ));
    made
}

struct Compared {
    wrong: Vec<String>,
    /// Tables of which somebody saw or wrote a row, and somebody did not.
    telling: usize,
}

async fn compare(pair: &Pair, of: Ground, worlds: usize, dice: &mut Dice) -> Compared {
    let sides = [&pair.before, &pair.after];
    let mut sessions = Vec::new();
    for db in sides {
        // Nothing was ever said in the last of them.
        sessions.push((db.client().await, db.client().await, db.client().await));
    }
    let list = pair.rewritten.join(",");
    let mut seen: BTreeMap<String, (bool, bool)> = BTreeMap::new();
    let mut wrong: BTreeMap<String, String> = BTreeMap::new();
    for number in 0..worlds {
        let world = world(of, dice);
        let (a, b) = (
            fill(&sessions[0].0, &world, &list),
            fill(&sessions[1].0, &world, &list),
        );
        tokio::join!(a, b);
        // Everybody in turn; a session that never said anything each time.
        let asking = [0, 1 + number % 4, 1 + (number + 1) % 4];
        for identity in asking.map(|i| IDENTITIES[i]) {
            let ask = |i: usize| {
                if identity.is_none() {
                    &sessions[i].2
                } else {
                    &sessions[i].1
                }
            };
            let (before, after) = tokio::join!(
                probe(ask(0), identity, &list),
                probe(ask(1), identity, &list)
            );
            for (was, is) in before.iter().zip(&after) {
                let table = was.split('|').next().unwrap_or_default();
                let (yes, no) = seen.entry(table.to_owned()).or_default();
                let nothing = was.ends_with("|-") || was.ends_with("|0") || was.contains("|error ");
                *yes |= !nothing;
                *no |= nothing;
                // Where the old form ends in an error nobody has decided anything, and a refusal may be any error.
                let refused = was.contains("|error 42501");
                let undecided = was.contains("|error ") && !refused;
                if was != is && !undecided && !(refused && is.contains("|error ")) {
                    wrong.entry(table.to_owned()).or_insert_with(|| {
                        format!(
                            "{was}\n{is}\nworld {number}, {identity:?}: {world}\n{}",
                            pair.texts[table]
                        )
                    });
                }
            }
        }
    }
    Compared {
        wrong: wrong.into_values().collect(),
        telling: seen.values().filter(|(yes, no)| *yes && *no).count(),
    }
}

async fn fill(client: &Client, world: &str, list: &str) {
    let all = format!(
        "begin; set local session_replication_role = replica; {world}; select refill('{{{list}}}'); commit"
    );
    client
        .batch_execute(&all)
        .await
        .unwrap_or_else(|e| panic!("{e:?}\n{world}"));
}

async fn probe(client: &Client, identity: Option<(&str, &str, &str)>, list: &str) -> Vec<String> {
    let mut begin = "begin; set local jit = off; set local role worlds_app;".to_owned();
    if let Some((uid, name, role)) = identity {
        begin.push_str(&format!(
            "select set_config('app.uid', '{uid}', true), set_config('app.name', '{name}', true), set_config('app.role', '{role}', true);"
        ));
    }
    client.batch_execute(&begin).await.unwrap();
    let rows = client
        .query(&format!("select probe('{{{list}}}')"), &[])
        .await;
    let rows = rows.unwrap_or_else(|e| panic!("{e:?}"));
    client.batch_execute("rollback").await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}
