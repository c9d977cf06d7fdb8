//! Databases for generated policies: tables in several schemas and collations, and small worlds to fill them with.

use crate::rewrite_cases::expression;

/// A small generator of its own, so that a seed means the same for ever.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % n as u64).unwrap()
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}

/// How the tables of one database are made.
#[derive(Clone, Copy)]
pub(crate) struct Ground {
    /// Where citext lives.
    pub extensions: &'static str,
    /// Whether `org_id` is a NOT NULL foreign key.
    pub keyed: bool,
    /// Whether a trigger counts what is inserted.
    pub counted: bool,
    /// Whether the memberships are guarded themselves.
    pub guarded: bool,
}

/// Everything but the policies. Texts are in three collations, and one schema holds a table of the same name.
pub(crate) fn ground(of: Ground) -> String {
    let Ground {
        extensions,
        keyed,
        counted,
        guarded,
    } = of;
    let guard = if guarded {
        "alter table members enable row level security;
         create policy m on members to worlds_app using (user_id = uid() or level is null);"
    } else {
        ""
    };
    let key = if keyed {
        "not null references orgs"
    } else {
        ""
    };
    let trigger = if counted {
        "update quota set n = n + 1 where user_id = uid();"
    } else {
        "new.at := now();"
    };
    format!(
        "create schema if not exists {extensions}; create schema other; create schema app_private;
        create extension citext schema {extensions}; set search_path = public, {extensions};
        create collation ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
        create type kind as enum ('a', 'b'); create domain whole as bigint check (value < 100);
        create function uid() returns int language sql stable as $$ select nullif(current_setting('app.uid', true), '')::int $$;
        create function who() returns text language sql stable as $$ select current_setting('app.name', true) $$;
        create table orgs (id int primary key, open boolean, name text);
        create table members (org_id int, user_id int, level int, role text, active boolean, since timestamptz, kind kind, tags int[], val text);
        create table other.members (like members);
        create table members_txt (email {extensions}.citext, email_text text, name_ci text collate ci, name_c text collate \"C\", user_id int);
        create table admins (user_id int); create view staff as select * from members where active; {guard}
        create table quota (user_id int, n int);
        create table base (id int primary key, org_id int {key}, owner_id int, big whole, name text, short varchar(20), email {extensions}.citext,
            name_ci text collate ci, name_c text collate \"C\", tags int[], kind kind, status text, at timestamptz, n int);
        create function touched() returns trigger language plpgsql as $$ begin {trigger} return new; end $$;
        create function is_admin() returns boolean language sql stable security definer set search_path = ''
            as $$ select exists (select 1 from public.admins a where a.user_id = public.uid()) $$;
        create function loose() returns boolean language plpgsql as $$ begin return exists (select 1 from admins a where a.user_id = uid()); end $$;
        create function under() returns boolean language plpgsql as $$ declare k int; begin select q.n into k from quota q where q.user_id = uid(); return k < 2; end $$;
        create function seen(i int) returns boolean language sql as $$ select set_config('app.uid', i::text, true) is not null $$;
        create function mine() returns setof int language sql stable as $$ select m.org_id from members m where m.user_id = uid() $$;
        create function names() returns text[] language sql stable as $$ select array[current_setting('app.name', true), 'bob'] $$;
        grant usage on schema public, other, app_private, {extensions} to worlds_app;
        grant select on all tables in schema public, other to worlds_app;
        grant update on quota to worlds_app;"
    )
}

/// What makes one table with one policy, the functions first.
pub(crate) struct Case {
    pub table: String,
    pub setup: Vec<String>,
}

/// Case number `number` of a database; not every one is accepted by the server.
pub(crate) fn case(number: usize, of: Ground, dice: &mut Dice) -> Case {
    let table = format!("p{number}");
    let mut setup = vec![format!(
        "create table {table} (like base including all); create trigger touched before insert on {table} for each row execute function touched();
         alter table {table} enable row level security; grant select, insert, update, delete on {table} to worlds_app{}",
        if of.keyed {
            format!("; alter table {table} add foreign key (org_id) references orgs; create index on {table} using gin (tags)")
        } else {
            String::new()
        }
    )];
    let (expression, functions) = expression(&table, of.extensions, dice);
    setup.extend(functions);
    let kind = dice.pick(&[
        "select", "select", "all", "all", "insert", "update", "delete",
    ]);
    let permissive = if dice.one_in(8) {
        "restrictive"
    } else {
        "permissive"
    };
    let clauses = match kind {
        "insert" => format!("with check ({expression})"),
        "update" | "all" if dice.one_in(2) => {
            format!("using (owner_id is null or owner_id < 9) with check ({expression})")
        }
        _ => format!("using ({expression})"),
    };
    setup.push(format!(
        "create policy p on {table} as {permissive} for {kind} to worlds_app {clauses}"
    ));
    if permissive == "restrictive" {
        setup.push(format!(
            "create policy all_of_it on {table} to worlds_app using (true)"
        ));
    }
    Case { table, setup }
}

/// Few values, many equal; NULL, other case, what is no number, what is no key.
pub(crate) fn world(of: Ground, dice: &mut Dice) -> String {
    let mut sql = [
        "orgs",
        "members",
        "other.members",
        "members_txt",
        "admins",
        "quota",
        "base",
    ]
    .map(|table| format!("delete from {table};"))
    .concat();
    let small = ["1", "1", "2", "3", "null"];
    let text = [
        "'Ann'",
        "'ann'",
        "'ann'",
        "'bob'",
        "'ann '",
        "'worlds_app'",
        "''",
        "null",
    ];
    let flag = ["true", "true", "false", "null"];
    let role = ["'a'", "'b'", "'admin'", "'A'", "null"];
    let kind = ["'a'", "'b'", "null"];
    let time = [
        "now() - interval '1 day'",
        "now() + interval '1 day'",
        "'2020-01-01'",
        "null",
    ];
    let tags = ["'{1}'", "'{1,2}'", "'{}'", "'{NULL}'", "null"];
    let val = ["'1'", "'2'", "'x'", "null"];
    for id in 1..=3 {
        let open = dice.pick(&flag);
        sql.push_str(&format!("insert into orgs values ({id}, {open}, 'o');"));
    }
    for table in [
        "members",
        "members",
        "members",
        "other.members",
        "other.members",
    ] {
        if dice.one_in(4) {
            continue;
        }
        let (org, user, level) = (
            dice.pick(&small),
            dice.pick(&small),
            dice.pick(&["0", "1", "2", "3", "null"]),
        );
        let (role, active, since) = (dice.pick(&role), dice.pick(&flag), dice.pick(&time));
        let (kind, tags, val) = (dice.pick(&kind), dice.pick(&tags), dice.pick(&val));
        let row =
            format!("({org}, {user}, {level}, {role}, {active}, {since}, {kind}, {tags}, {val})");
        // A quarter of the rows twice.
        let twice = if dice.one_in(4) {
            format!(", {row}")
        } else {
            String::new()
        };
        sql.push_str(&format!("insert into {table} values {row}{twice};"));
    }
    for _ in 0..dice.below(4) {
        let row: Vec<&str> = (0..4).map(|_| dice.pick(&text)).collect();
        let user = dice.pick(&small);
        sql.push_str(&format!(
            "insert into members_txt values ({}, {user});",
            row.join(", ")
        ));
    }
    for user in 1..=3 {
        if dice.one_in(3) {
            sql.push_str(&format!("insert into admins values ({user});"));
        }
        let n = dice.below(3);
        sql.push_str(&format!("insert into quota values ({user}, {n});"));
    }
    for id in 1..=8 {
        let org = if of.keyed {
            dice.pick(&["1", "2", "3"])
        } else {
            dice.pick(&small)
        };
        let (owner, big) = (dice.pick(&small), dice.pick(&small));
        let texts: Vec<&str> = (0..5).map(|_| dice.pick(&text)).collect();
        let (tags, kind) = (dice.pick(&tags), dice.pick(&kind));
        let (status, at, n) = (dice.pick(&role), dice.pick(&time), dice.pick(&small));
        sql.push_str(&format!(
            "insert into base values ({id}, {org}, {owner}, {big}, {}, {tags}, {kind}, {status}, {at}, {n});",
            texts.join(", ")
        ));
    }
    sql
}
