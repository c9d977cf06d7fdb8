//! Policies and functions of every kind, generated: what a rewrite must take apart, or leave alone.

use crate::rewrite_ground::Dice;

/// An expression for a policy of `table`, and the functions that it calls.
pub(crate) fn expression(
    table: &str,
    extensions: &'static str,
    dice: &mut Dice,
) -> (String, Vec<String>) {
    let mut maker = Maker {
        table: table.to_owned(),
        extensions,
        functions: Vec::new(),
        dice,
    };
    (maker.tests(2), maker.functions)
}

struct Maker<'a> {
    table: String,
    extensions: &'static str,
    functions: Vec<String>,
    dice: &'a mut Dice,
}

impl Maker<'_> {
    fn tests(&mut self, depth: usize) -> String {
        if depth == 0 || self.dice.one_in(2) {
            return self.test();
        }
        let (a, b) = (self.tests(depth - 1), self.tests(depth - 1));
        match self.dice.below(7) {
            0..=2 => format!("({a} and {b})"),
            3..=4 => format!("({a} or {b})"),
            5 => format!("case when {a} then true else {b} end"),
            _ => format!("not ({a})"),
        }
    }

    fn test(&mut self) -> String {
        let t = self.table.clone();
        match self.dice.below(14) {
            0..=3 => self.exists(),
            4 | 5 => self.turned(),
            6 => self.in_select(),
            7..=9 => self.call(),
            10 => self.text(),
            11 => self
                .dice
                .pick(&[
                    "owner_id = uid()",
                    "uid() = owner_id",
                    "owner_id = nullif(current_setting('app.uid', true), '')::int",
                    "owner_id is not distinct from uid()",
                    "not (uid() is distinct from owner_id)",
                    "uid() = any (tags)",
                    "name in (select r.rolname from pg_roles r where r.rolname like 'worlds%')",
                    "short in (select r.rolname from pg_roles r)",
                    "org_id in (select mine())",
                    "at > now()",
                    "coalesce(owner_id, uid()) = uid()",
                    "(owner_id, org_id) = (uid(), 1)",
                    "case owner_id when uid() then true else false end",
                ])
                .to_owned(),
            12 => self
                .dice
                .pick(&[
                    "is_admin()",
                    "loose()",
                    "under()",
                    "current_setting('app.role', true) = 'admin'",
                    "(current_setting('app.role', true) = 'admin' and n > 1)",
                    "who() is null",
                    "uid() between 1 and 2",
                    "random() >= 0",
                ])
                .to_owned(),
            _ => match self.dice.below(6) {
                0 => format!(
                    "(set_config('app.uid', {t}.owner_id::text, true) is not null and owner_id = uid())"
                ),
                1 => format!("(seen({t}.owner_id) and owner_id = uid())"),
                2 => "status = 'a'".to_owned(),
                3 => "n::text::int > 1".to_owned(),
                _ => "owner_id is null".to_owned(),
            },
        }
    }

    /// Texts under several collations.
    fn text(&mut self) -> String {
        let column = self
            .dice
            .pick(&["name", "email", "name_ci", "name_c", "short"]);
        let value = self.dice.pick(&[
            "current_setting('app.name', true)",
            "who()",
            "current_user::text",
            "lower(who())",
        ]);
        let collate = match self.dice.below(6) {
            0 => " collate \"default\"",
            1 => " collate \"C\"",
            2 => " collate ci",
            _ => "",
        };
        let e = self.extensions;
        match self.dice.below(7) {
            0..=2 => format!("{column} = ({value}{collate})"),
            3 => format!("{column}{collate} = {value}"),
            4 => format!("(nullif({column}, 'Ann') is null and owner_id = uid())"),
            5 => format!("{column} = any (names())"),
            _ => format!("{column}::{e}.citext is not distinct from {value}::{e}.citext"),
        }
    }

    /// A column of the row, the table to look in, its column, and what to write between them.
    fn key(&mut self) -> (&'static str, &'static str, String) {
        let (outer, table, inner) = [
            ("org_id", "members", "org_id"),
            ("org_id", "members", "org_id"),
            ("org_id", "members", "org_id"),
            ("org_id", "members", "org_id"),
            ("big", "members", "org_id"),
            ("kind", "members", "kind"),
            ("tags", "members", "tags"),
            ("at", "members", "since"),
            ("name", "members_txt", "email_text"),
            ("name", "members_txt", "name_ci"),
            ("name", "members_txt", "name_c"),
            ("email", "members_txt", "email"),
            ("email", "members_txt", "email_text"),
            ("name_ci", "members_txt", "email_text"),
            ("short", "members_txt", "email_text"),
        ][self.dice.below(15)];
        let mut inner = format!("m.{inner}");
        if table == "members_txt" && self.dice.one_in(5) {
            inner = format!("({inner} collate \"default\")");
        }
        (outer, table, inner)
    }

    fn conditions(&mut self, table: &str, row: &str) -> String {
        let mut all = Vec::new();
        let of_members: &[&str] = &[
            "m.role = 'a'",
            "m.active",
            "m.level >= 2",
            "(m.role is null or m.role = current_setting('app.role', true))",
            "m.val::int > 1",
            "10 / m.level > 1",
            "m.role in ('a', 'b')",
            "m.since <= now()",
            "m.role like 'a%'",
            "exists (select 1 from orgs o where o.id = m.org_id and o.open)",
            "m.user_id in (select a.user_id from admins a)",
        ];
        if !self.dice.one_in(5) {
            let uid = [
                "m.user_id = uid()",
                "m.user_id = (select uid())",
                "uid() = m.user_id",
            ];
            all.push(self.dice.pick(&uid).to_owned());
        }
        if table == "members" && self.dice.one_in(2) {
            all.push(self.dice.pick(of_members).to_owned());
        }
        if !row.is_empty() && self.dice.one_in(5) {
            let of_row = [
                "ROW.status = 'a'",
                "ROW.owner_id = m.user_id",
                "(ROW.status = 'a' or m.user_id = uid())",
                "ROW.name::int = 1",
            ];
            all.push(self.dice.pick(&of_row).replace("ROW", row));
        }
        all.iter().flat_map(|c| [" and ", c]).collect()
    }

    fn tail(&mut self, key: &str) -> String {
        match self.dice.below(24) {
            0 => format!(" group by {key}"),
            1 => " having count(*) > 1".to_owned(),
            2 => " limit 0".to_owned(),
            3 => " offset 1".to_owned(),
            4 => format!(" order by {key} limit 1"),
            5 => " for share".to_owned(),
            6 => " union all select null from orgs where false".to_owned(),
            _ => String::new(),
        }
    }

    fn from(&mut self, table: &str) -> String {
        match self.dice.below(16) {
            0 if table == "members" => {
                "members m join orgs g on g.id = m.org_id and g.open".to_owned()
            }
            1 if table == "members" => "members m left join orgs g on g.id = m.org_id".to_owned(),
            2 => format!("only {table} m"),
            3 => format!("{table} m tablesample bernoulli (100)"),
            4 => format!("(select * from {table} limit 1) m"),
            5 if table == "members" => "other.members m".to_owned(),
            7 if table == "members" => "staff m".to_owned(),
            6 if table == "members" => {
                "members m join orgs g on g.id = m.level and m.val::int > 0".to_owned()
            }
            _ => format!("{table} m"),
        }
    }

    fn exists(&mut self) -> String {
        let (outer, table, inner) = self.key();
        let t = self.table.clone();
        let (from, conditions, tail) = (
            self.from(table),
            self.conditions(table, &t),
            self.tail(&inner),
        );
        let target = self.dice.pick(&["1", "1", "*", "m.*", "count(*)"]);
        let target = if tail.is_empty() { target } else { "null" };
        format!(
            "exists (select {target} from {from} where {inner} = {t}.{outer}{conditions}{tail})"
        )
    }

    fn turned(&mut self) -> String {
        let (outer, table, inner) = self.key();
        let t = self.table.clone();
        let (conditions, tail) = (self.conditions(table, &t), self.tail("m.user_id"));
        let distinct = match self.dice.below(4) {
            0 => format!("distinct on ({inner}) "),
            1 => "distinct ".to_owned(),
            _ => String::new(),
        };
        let tail = if distinct.contains("on") {
            format!(" order by {inner}, m.user_id desc")
        } else {
            tail
        };
        format!(
            "uid() in (select {distinct}m.user_id from {table} m where {inner} = {t}.{outer}{conditions}{tail})"
        )
    }

    fn in_select(&mut self) -> String {
        let (outer, table, inner) = self.key();
        let (from, conditions, tail) = (
            self.from(table),
            self.conditions(table, ""),
            self.tail(&inner),
        );
        let not = if self.dice.one_in(5) { "not " } else { "" };
        format!("{outer} {not}in (select {inner} from {from} where true{conditions}{tail})")
    }

    /// A call of a function that is made for it.
    fn call(&mut self) -> String {
        let name = format!("{}_f{}", self.table, self.functions.len());
        let (outer, table, inner) = self.key();
        let kind = match outer {
            "org_id" => "int".to_owned(),
            "big" => "bigint".to_owned(),
            "kind" => "kind".to_owned(),
            "tags" => "int[]".to_owned(),
            "at" => "timestamptz".to_owned(),
            "email" => format!("{}.citext", self.extensions),
            _ => "text".to_owned(),
        };
        let (second, extra, given) = match self.dice.below(10) {
            0 => (", u int", " and m.user_id = u", ", uid()"),
            1 => (
                ", u int",
                " and m.user_id = u",
                ", nullif(current_setting('app.uid', true), '')::int",
            ),
            2 => (
                ", r text",
                " and (r is null or r = 'admin')",
                ", current_setting('app.role', true)",
            ),
            3 => (
                ", r text",
                " and m.user_id = uid() and r > 'A'",
                ", current_user::text",
            ),
            4 => (", l int", " and m.user_id >= l", ", 2"),
            5 => (", user_id int", " and m.user_id = user_id", ", uid()"),
            6 => (", l int default 1", " and m.user_id >= l", ""),
            7 => (", variadic l int[]", " and m.user_id = any (l)", ", 1, 2"),
            _ => ("", "", ""),
        };
        let body_name = if self.dice.one_in(3) { "$1" } else { "o" };
        let path = self
            .dice
            .pick(&["", "", "", "", "''", "other, public", "public"]);
        let prefix = if path == "''" { "public." } else { "" };
        let mut from = format!("{prefix}{table} m");
        let mut conditions = self.conditions(table, "");
        if self.dice.one_in(6) {
            from =
                format!("{prefix}members m join {prefix}orgs g on g.id = {body_name} and g.open");
        }
        if path == "''" {
            conditions = conditions
                .replace("uid()", "public.uid()")
                .replace("orgs o", "public.orgs o")
                .replace("admins a", "public.admins a");
        }
        let extra = if path == "''" {
            extra.replace("uid()", "public.uid()")
        } else {
            extra.to_owned()
        };
        let tail = self.tail("m.user_id");
        let select =
            format!("exists (select 1 from {from} where {inner} = {body_name}{extra}{conditions})");
        let plpgsql = self.dice.one_in(3);
        let body = if plpgsql {
            let option = match self.dice.below(4) {
                0 => "#variable_conflict use_variable ",
                1 => "#variable_conflict use_column ",
                _ => "",
            };
            format!("{option}begin return {select}; end")
        } else {
            let with = if self.dice.one_in(8) && path != "''" {
                "with members as (select * from public.members x where x.active), members_txt as (select * from public.members_txt limit 1) "
            } else {
                ""
            };
            let tail = if tail.contains("limit") || tail.contains("offset") {
                tail
            } else {
                String::new()
            };
            format!(
                "{with}select {select}{}",
                tail.split(" order by").next().unwrap_or_default()
            )
        };
        let mut options = vec![
            self.dice
                .pick(&["stable", "stable", "stable", "volatile", "immutable"])
                .to_owned(),
        ];
        if self.dice.one_in(4) {
            options.push("strict".to_owned());
        }
        if self.dice.one_in(3) {
            options.push("security definer".to_owned());
        }
        if !path.is_empty() {
            options.push(format!("set search_path = {path}"));
        }
        if self.dice.one_in(10) {
            options.push("set timezone = 'UTC'".to_owned());
        }
        let language = if plpgsql { "plpgsql" } else { "sql" };
        self.functions.push(format!(
            "create function {name}(o {kind}{second}) returns boolean language {language} {} as $body$ {body} $body$",
            options.join(" ")
        ));
        if self.dice.one_in(10) {
            self.functions.push(format!(
                "create function {name}(o {kind}, a boolean, b boolean) returns boolean language sql stable as 'select true'"
            ));
        }
        format!("{name}({outer}{given})")
    }
}
