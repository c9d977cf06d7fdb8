"""Why dbtune says nothing where another linter does: each reason with a test of the very object, asked of the server.

A reason holds for a finding only where its test does. What no reason holds for is unexplained, and fails the comparison.
"""

import re

from questions import *  # noqa: F403 - the names are the words of the list below

# Rules of theirs by the ends of their names; the first reason that holds counts.
REASONS = [
    ("SEC001 SEC049 0013", NO_GRANT, no_grant),
    ("SEC001 SEC049 0013", NO_OUTSIDER, no_outsider),
    ("SEC001 SEC049 0013", "it is reported as `child-bypasses-parent-policies`", reported("child-bypasses-parent-policies")),
    ("SEC001 SEC049 0013", PARENT, parent_reported("exposed-table-without-rls")),
    ("SEC001", "it is reported as `foreign-table-exposed`", reported("foreign-table-exposed")),
    (
        "SEC002",
        "the owner is a superuser or has BYPASSRLS, whom FORCE does not hold either",
        sql(f"(select c.relowner from pg_class c where c.oid = {RELATION}) in ({BYPASSING})"),
    ),
    (
        "SEC002",
        "the table has no policies that the owner could pass by",
        sql(f"not exists (select from pg_policy where polrelid = {RELATION})"),
    ),
    (
        "SEC002",
        "no request runs as the owner or a member of it: none of their statements is counted",
        sql(f"""not exists ({COUNTED} and pg_has_role(s.userid, (select relowner from pg_class where oid = {RELATION}), 'member')
            and s.userid not in ({BYPASSING}) and s.query ~* %(name)s)"""),
    ),
    (
        "SEC048",
        "no statement of the role on the owner's tables is counted",
        sql(f"not exists ({COUNTED} and s.userid = %(name)s::regrole)"),
    ),
    ("SEC003 SEC005 SEC006 SEC008 SEC021 SEC033 SEC038 SEC039 0006 0015", RLS_OFF, rls_off),
    (
        "0003 PERF001",
        "every call stands in a sub-select already; theirs compares texts",
        wrapped,
    ),
    (
        "0003 PERF001",
        "the function is VOLATILE, so a sub-select would change what it means: it is reported as `volatile-policy-function`",
        reported("volatile-policy-function", part=True),
    ),
    (
        "0003",
        "the function's body is a constant, which the planner puts in its place",
        constant_body,
    ),
    (
        "0003 PERF001 PERF003",
        "the policy is asked for rows that are written, once each, where no row is looked up",
        sql(f"({POLICY}).polcmd = 'a' or ({POLICY}).polcmd = 'w' and ({POLICY}).polqual is null"),
    ),
    ("PERF003 PERF004", COMPARED, compared),
    (
        "PERF003",
        "an index begins with another column of the condition",
        sql(f"""exists (select from pg_index i where i.indrelid = {RELATION} and i.indisvalid
            and i.indkey[0] in (select c.attnum from ({COLUMNS}) c))"""),
    ),
    (
        "PERF003",
        "a branch of its OR is a flag or a test for NULL, which no index answers, so none would be used for the others",
        flag_branch,
    ),
    (
        "PERF003 PERF004",
        "the function around the column is not IMMUTABLE, so no index can hold it",
        not_indexable,
    ),
    (
        "PERF003",
        "an index holds the expression",
        sql(f"exists (select from pg_index i where i.indrelid = {RELATION} and i.indisvalid and i.indkey[0] = 0)"),
    ),
    (
        "PERF003",
        "the columns are booleans, or tested for being NULL alone: too few values for an index",
        lambda case: not re.search(r"[=<>]|~~|\bIN\b|ANY", re.sub(r"\(SELECT .*", "", case.condition())),
    ),
    (
        "PERF003",
        "the column is handed to a function and compared with nothing; what the function costs is reported by itself",
        lambda case: not any(
            re.search(rf"\b{column}\b\)*(::\w+\)?)? (=|<|>|IN|~~)|(=|<|>) \(*{column}\b", case.condition())
            for column in case.columns()
        ),
    ),
    (
        "PERF003",
        "its columns have too few values for an index to leave much out, by the statistics",
        sql(f"""(select bool_and(s.n_distinct between 0 and 9.99) from ({COLUMNS}) c
            join pg_stats s on s.schemaname = %(schema)s and s.tablename = %(name)s and s.attname = c.attname)"""),
    ),
    (
        "0001",
        "the index is proposed for a policy already: the table is reported as `unindexed-policy-column`",
        reported("unindexed-policy-column"),
    ),
    ("0001", PARENT, parent_reported("unindexed-foreign-key")),
    (
        "0001",
        "an index begins with the same columns in another order, which serves as well",
        sql(f"""exists (select from pg_constraint k join pg_index i on i.indrelid = k.conrelid and i.indisvalid
            where k.conrelid = {RELATION} and k.conname = %(part)s
            and (i.indkey::int2[])[0:cardinality(k.conkey) - 1] <@ k.conkey
            and (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey)"""),
    ),
    (
        "0005",
        "a policy goes by the column that it begins with, or a foreign key: statements to come need it",
        sql(f"""exists (select from pg_index i join pg_class x on x.oid = i.indexrelid
            where i.indrelid = {RELATION} and x.relname = %(part)s
            and (exists (select from pg_depend d where d.classid = 'pg_policy'::regclass
                    and d.refobjid = i.indrelid and d.refobjsubid = i.indkey[0])
                or exists (select from pg_constraint k where k.contype = 'f'
                    and k.conrelid = i.indrelid and i.indkey[0] = any (k.conkey))))"""),
    ),
    (
        "0024",
        "its check is true while its condition holds rows: it is reported as `write-check-drops-scope`",
        reported("write-check-drops-scope", part=True),
    ),
    (
        "SEC003",
        "no role for strangers holds a privilege on the table",
        sql(f"not exists (select from ({GRANTS}) g where g.grantee in (0, 'anon'::regrole))"),
    ),
    (
        "SEC003",
        "the policy does not ask who is there, so it is meant for everybody; one that is always true is reported",
        lambda case: not re.search(SESSION.strip("'").replace("\\\\", "\\"), case.condition())
        and (case.condition() not in ("true", "true true") or case.reported("always-true-policy", part=True)),
    ),
    (
        "SEC005",
        "the policy is reported for what is wrong with it: always true, always false, a claim that users write, no caller",
        reported(
            "always-true-policy",
            "always-false-policy",
            "user-editable-claim",
            "exists-without-caller",
            "idle-restrictive-policy",
            "policy-without-condition",
            "true-branch",
            "unknown-role-in-policy",
            part=True,
        ),
    ),
    (
        "SEC005",
        "only some users pass the test, as administrators do: it compares a claim or a setting, or looks the user up",
        lambda case: bool(
            re.search(
                r"->>? '[^']*'::text\)+ (=|= ANY|<>)|FROM .*auth\.uid\(\)|current_setting\([^)]*\)\)? (=|= ANY)|\b(is_\w+|has_\w+)\(", case.condition(), re.S
            )
        ),
    ),
    (
        "SEC005",
        "the policy lets nothing through: it has no condition",
        sql(f"({POLICY}).polqual is null and ({POLICY}).polwithcheck is null"),
    ),
    (
        "SEC005",
        "reading is meant for everybody, as of a price list: only the owner may write, and `always-true-policy` notes it where the role is a stranger's",
        lambda case: case.condition() == "true"
        and case.ask(f"({POLICY}).polcmd = 'r'")
        and not case.ask(f"0 = any (({POLICY}).polroles) or 'anon'::regrole = any (({POLICY}).polroles)"),
    ),
    (
        "SEC007",
        "true of nearly every table, and no defect: each of its policies that is always true and reached is reported by itself",
        says_nothing_wide,
    ),
    ("SEC009 0008", NO_GRANT, no_grant),
    ("SEC009 0008", NO_OUTSIDER, no_outsider),
    (
        "SEC013",
        "the trigger's function runs as the caller, under the caller's policies",
        sql(f"""exists (select from pg_trigger t join pg_proc p on p.oid = t.tgfoid
            where t.tgrelid = {RELATION} and t.tgname = %(part)s and not p.prosecdef)"""),
    ),
    ("SEC014 SEC042 0028 0029", TRIGGER, trigger),
    ("SEC014 SEC042 0028 0029", NOT_CALLED, not_called),
    ("SEC014 SEC042 0028 0029", IN_POLICY, in_policy),
    ("SEC015 0011", "its body names every table with its schema, so no search path decides", qualified_throughout),
    (
        "0011",
        "it runs as its caller, who gains nothing by his own search path",
        sql(f"not ({FUNCTION}).prosecdef"),
    ),
    ("SEC016 SEC029", IDLE_ROLE, idle_role),
    (
        "SEC029",
        "the roles with BYPASSRLS that it may become hold no privilege on a table with policies",
        idle_bypassing,
    ),
    (
        "SEC016",
        "the role neither logs in nor can be taken by one that does",
        sql("""(select not rolcanlogin from pg_roles where rolname = %(name)s)
            and not exists (select from pg_auth_members where roleid = %(name)s::regrole)"""),
    ),
    ("SEC019", "the setting is the server's own, which is never missing", names_no_prefix),
    (
        "SEC022",
        "no role that policies hold has the privilege to write, so reading is what was meant",
        sql(no_grants("'INSERT', 'UPDATE', 'DELETE'")),
    ),
    (
        "SEC025",
        "no role that the policy applies to can read or write the table that it asks",
        lambda case: not case.db.execute(
            f"select 1 from unnest(({POLICY}).polroles) r (oid) join pg_roles g on g.oid = r.oid or r.oid = 0 "
            "where not g.rolsuper and not g.rolbypassrls and g.rolname !~ '^pg_' "
            "and has_table_privilege(g.oid, %(other)s::regclass, 'SELECT, INSERT, UPDATE, DELETE')",
            {
                "schema": case.theirs.schema,
                "name": case.theirs.name,
                "part": case.theirs.part,
                "other": sorted(case.theirs.aliases)[0],
            },
        ).fetchone(),
    ),
    (
        "SEC027",
        "no other table's policies go by a column of that name",
        lambda case: not case.db.execute(
            "select 1 from pg_depend d join pg_policy p on d.classid = 'pg_policy'::regclass and d.objid = p.oid "
            "join pg_attribute a on d.refclassid = 'pg_class'::regclass and a.attrelid = d.refobjid and a.attnum = d.refobjsubid "
            f"where d.refobjid <> {RELATION} and p.polrelid = d.refobjid and a.attname = any (%(columns)s)",
            {
                "schema": case.theirs.schema,
                "name": case.theirs.name,
                "columns": re.findall(r"'(\w+)'", case.theirs.words),
            },
        ).fetchone(),
    ),
    (
        "SEC041",
        "only roles that bypass policies anyway hold a privilege on the partition",
        no_grant,
    ),
    (
        "SEC047",
        "the key that is referred to is a uuid, which cannot be guessed",
        sql(f"""(select bool_and(a.atttypid = 'uuid'::regtype) from pg_constraint k
            join pg_attribute a on a.attrelid = k.confrelid and a.attnum = any (k.confkey)
            where k.conrelid = {RELATION} and k.conname = %(part)s)"""),
    ),
    (
        "SEC047",
        "the policy for writing looks the row up, so it fails before the key does",
        sql(f"""exists (select from pg_constraint k
            join pg_policy p on p.polrelid = k.conrelid and p.polcmd in ('a', '*')
            join pg_depend d on d.classid = 'pg_policy'::regclass and d.objid = p.oid and d.refobjid = k.confrelid
            where k.conrelid = {RELATION} and k.conname = %(part)s)"""),
    ),
    ("VIEW001 0010", INVOKER, invoker),
    ("VIEW001 VIEW004 0010 0002", ASKS, asks),
    ("VIEW001 0010 0016", VIEW_OPEN, view_open),
    (
        "VIEW001 VIEW004",
        "it reads as an owner whom the policies hold as well",
        sql(f"(select relowner from pg_class where oid = {RELATION}) not in ({BYPASSING})"),
    ),
    ("VIEW001 VIEW002 VIEW004 0010 0002 0016", NO_GRANT, no_grant),
    ("VIEW001 VIEW002 VIEW004 0010 0002 0016", NO_OUTSIDER, no_outsider),
    (
        "VIEW004",
        "the functions that it calls ask who is there",
        sql(f"""(select bool_and(p.prosrc ~ {SESSION}) from pg_rewrite w
            join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid
            join pg_proc p on d.refclassid = 'pg_proc'::regclass and p.oid = d.refobjid
            where w.ev_class = {RELATION})"""),
    ),
    (
        "VIEW002",
        "it has no condition of its own that asks who reads: there is nothing that a function could see too early",
        sql(f"not ({viewdef} ~ 'WHERE' and {viewdef} ~ {SESSION})"),
    ),
    (
        "0002",
        "it reads as its reader (`security_invoker`), who may not select from `auth.users`",
        lambda case: invoker(case) and not case.ask("has_table_privilege('anon', 'auth.users', 'SELECT')"),
    ),
    ("0004", PARENT, parent_reported("no-primary-key")),
    (
        "0024",
        "without a USING condition an UPDATE finds no row, so the check lets nothing through",
        sql(f"({POLICY}).polcmd = 'w' and ({POLICY}).polqual is null"),
    ),
    (
        "0026 0027",
        "it is reported for what it shows, not for its name",
        reported(
            "exposed-table-without-rls",
            "child-bypasses-parent-policies",
            "foreign-table-exposed",
            "materialized-view-exposed",
            "view-bypasses-rls",
            "policies-without-rls",
        ),
    ),
    ("0026 0027", PARENT, parent_reported("exposed-table-without-rls")),
    (
        "0026 0027",
        "the role reads rows of it by right, so a schema that lists it gives nothing away",
        lambda case: view_open(case),
    ),
]


def why(case):
    """The first reason that holds, or nothing."""
    end = case.theirs.rule.split()[1]
    for rules, words, test in REASONS:
        if any(end == rule or end.startswith(f"{rule}_") for rule in rules.split()) and test(case):
            return words
    return None
