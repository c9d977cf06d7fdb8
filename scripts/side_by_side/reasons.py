"""Why dbtune says nothing where another linter does: each reason with a test of the very object, asked of the server.

A reason holds for a finding only where its test does. What no reason holds for is unexplained, and fails the comparison.
"""

import re

import pglast

# Questions that end in true or false, about the object %(schema)s.%(name)s and its part %(part)s.
RELATION = "to_regclass(format('%%I.%%I', %(schema)s::text, %(name)s::text))"
POLICY = f"(select p from pg_policy p where p.polrelid = {RELATION} and p.polname = %(part)s::text)"
GRANTS = f"""
    select x.grantee, x.privilege_type as privilege
    from pg_class c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) x
    where c.oid = {RELATION} and x.grantee <> c.relowner
    union all
    select x.grantee, x.privilege_type
    from pg_attribute a join pg_class c on c.oid = a.attrelid, aclexplode(a.attacl) x
    where a.attrelid = {RELATION} and x.grantee <> c.relowner"""
# Roles that requests from outside run as: everybody, those an API switches to, and those that policies name.
OUTSIDERS = """
    select 0::oid as oid
    union select r.oid from pg_roles r where r.rolname in ('anon', 'authenticated', 'web_anon')
    union select m.roleid from pg_auth_members m join pg_roles r on r.oid = m.member
      where r.rolcanlogin and not r.rolinherit and not r.rolsuper
    union select unnest(p.polroles) from pg_policy p"""
BYPASSING = "select r.oid from pg_roles r where r.rolsuper or r.rolbypassrls"
FUNCTION = (
    "(select p from pg_proc p join pg_namespace n on n.oid = p.pronamespace "
    "where n.nspname = %(schema)s and p.proname = %(name)s limit 1)"
)
COUNTED = """
    select from STATEMENTS s
    where s.dbid = (select oid from pg_database where datname = current_database())"""


class Case:
    """A finding of theirs, what dbtune says of the same database, and the database."""

    def __init__(self, theirs, ours, db):
        self.theirs, self.ours, self.db = theirs, ours, db
        self.statements = db.execute(
            "select format('%I.pg_stat_statements', n.nspname) from pg_extension e "
            "join pg_namespace n on n.oid = e.extnamespace where e.extname = 'pg_stat_statements'"
        ).fetchone()[0]

    def ask(self, question):
        question = question.replace("STATEMENTS", self.statements)
        values = {"schema": self.theirs.schema, "name": self.theirs.name, "part": self.theirs.part}
        row = self.db.execute(f"select coalesce(({question})::boolean, false)", values).fetchone()
        return row[0]

    def value(self, question):
        values = {"schema": self.theirs.schema, "name": self.theirs.name, "part": self.theirs.part}
        row = self.db.execute(f"select {question}", values).fetchone()
        return row and row[0]

    def reported(self, *rules, part=False):
        """Whether dbtune reports the same object under one of these rules."""
        whole = f"{self.theirs.schema}.{self.theirs.name}" if self.theirs.schema else self.theirs.name
        return any(
            o.rule in rules and whole in o.names and (not part or o.part == self.theirs.part) for o in self.ours
        )

    def clauses(self):
        return self.value(f"num_nonnulls(({POLICY}).polqual, ({POLICY}).polwithcheck)") or 0

    def columns(self):
        """Columns of the table that the policy names."""
        rows = self.db.execute(
            f"select attname from ({COLUMNS}) c",
            {"schema": self.theirs.schema, "name": self.theirs.name, "part": self.theirs.part},
        )
        return [row[0] for row in rows]

    def condition(self):
        """USING and WITH CHECK of the policy, as one text."""
        using = f"pg_get_expr(({POLICY}).polqual, {RELATION})"
        check = f"pg_get_expr(({POLICY}).polwithcheck, {RELATION})"
        return self.value(f"concat_ws(' ', {using}, {check})") or ""


def sql(question):
    return lambda case: case.ask(question)


def reported(*rules, part=False):
    return lambda case: case.reported(*rules, part=part)


def parent_reported(*rules):
    """The partitioned table above is reported under one of these rules."""

    def test(case):
        parent = case.value(
            f"(select i.inhparent::regclass::text from pg_inherits i where i.inhrelid = {RELATION})"
        )
        parent = parent and (parent if "." in parent else f"public.{parent}")
        return parent is not None and any(o.rule in rules and parent in o.names for o in case.ours)

    return test


def names_no_prefix(case):
    settings = re.findall(r"current_setting\('([^']*)'::text\)", case.condition())
    return bool(settings) and all("." not in s for s in settings)


def qualified_throughout(case):
    """Whether the body names every relation with its schema."""
    language = case.value(f"(select l.lanname from pg_language l where l.oid = ({FUNCTION}).prolang)")
    body = case.value(f"({FUNCTION}).prosrc")
    if re.search(r"\b(from|join|into|update)\s+(?!public\.|auth\.|storage\.|ext\.|unnest|generate_series)[a-z_\"]", body, flags=re.I):
        return False
    if language == "plpgsql":
        return True
    if language == "sql":
        texts = [body]
    else:
        return False
    for text in texts:
        for candidate in (text, f"select {text}"):
            try:
                tree = pglast.parse_sql(candidate)
                break
            except pglast.parser.ParseError:
                tree = None
        if tree is None:
            return False
        relations = re.findall(r"'@': 'RangeVar'[^{}]*", str([s(skip_none=True) for s in tree]))
        if any("'schemaname'" not in r for r in relations):
            return False
    return True


def says_nothing_wide(case):
    """Every permissive policy of the table that is constantly true is reported by itself, or not in force."""
    if not case.ask(f"(select relrowsecurity from pg_class where oid = {RELATION})"):
        return case.reported("policies-without-rls")
    wide = case.db.execute(
        "select polname from pg_policy p where polpermissive and polrelid = "
        f"{RELATION} and 'true' in (pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)) "
        f"and exists (select from ({GRANTS}) g where 0 = any (p.polroles) or g.grantee = 0 or g.grantee = any (p.polroles))",
        {"schema": case.theirs.schema, "name": case.theirs.name},
    ).fetchall()
    whole = f"{case.theirs.schema}.{case.theirs.name}"
    return all(any(whole in o.names and o.part == name for o in case.ours) for (name,) in wide)


CALLS = ("auth.uid", "auth.jwt", "auth.role", "auth.email", "current_setting")


def wrapped(case):
    """Whether every call that tells who is there stands in a sub-select."""
    tree = pglast.parse_sql(f"select {case.condition() or 'true'}") if case.clauses() < 2 else None
    return tree is not None and not bare(tree[0].stmt, False)


def bare(node, inside):
    """Whether a call that tells who is there stands outside every sub-select."""
    if isinstance(node, (list, tuple)):
        return any(bare(n, inside) for n in node)
    if not isinstance(node, pglast.ast.Node):
        return False
    if isinstance(node, pglast.ast.FuncCall):
        name = ".".join(n.sval for n in node.funcname)
        if name in CALLS and not inside:
            return True
    deeper = inside or isinstance(node, pglast.ast.SubLink)
    return any(bare(getattr(node, slot), deeper) for slot in node.__slots__ if slot != "parent_node")


# Columns of the table that the policy names, and the indexes that begin with one of them.
COLUMNS = f"""
    select a.attnum, a.attname, a.atttypid from pg_depend d
    join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
    where d.classid = 'pg_policy'::regclass and d.objid = ({POLICY}).oid and d.refobjid = {RELATION}"""
COMPARED = "the policy compares the column in a way that no index answers: that is reported by itself"
compared = reported(
    "in-subselect-policy",
    "column-free-branch",
    "per-row-column-call",
    "correlated-subselect-policy",
    "cast-on-policy-column",
    "function-on-policy-column",
    "volatile-policy-function",
    "policy-without-pruning",
    "always-true-policy",
    "true-without-login",
    "pattern-from-session",
    "security-definer-under-rls",
    part=True,
)


def not_indexable(case):
    """The column is in a function that is not IMMUTABLE."""
    called = re.findall(r"([\w.]+)\([^()]*\b(?:%s)\b" % "|".join(case.columns()), case.condition())
    return bool(called) and case.db.execute(
        "select bool_or(provolatile <> 'i') from pg_proc where proname = any (%s)",
        ([name.split(".")[-1] for name in called],),
    ).fetchone()[0]


RLS_OFF = "row-level security is off, so the policy decides nothing: that is reported as `policies-without-rls`"


def rls_off(case):
    off = case.ask(f"(select not relrowsecurity from pg_class where oid = {RELATION})")
    return off and case.reported("policies-without-rls")


def no_grants(privileges):
    return f"""not exists (
        select from ({GRANTS}) g where g.privilege in ({privileges}) and g.grantee not in ({BYPASSING}))"""


ROWS = "'SELECT', 'INSERT', 'UPDATE', 'DELETE'"
NO_GRANT = "nobody but its owner and roles that bypass policies holds a privilege on it"
NO_OUTSIDER = "only roles hold a privilege on it that no request from outside runs as"
no_grant = sql(no_grants(ROWS))
no_outsider = sql(f"""not exists (
    select from ({GRANTS}) g where g.privilege in ({ROWS}) and g.grantee in ({OUTSIDERS}))""")
PARENT = "it is a partition, and the table it belongs to is reported"
IDLE_ROLE = "the role may use no table with policies in this database"
idle_role = sql("""not exists (
    select from pg_class c where c.relrowsecurity and c.oid >= 16384 and c.relnamespace::regnamespace::text <> 'storage'
    and (c.relowner = %(name)s::regrole or has_table_privilege(%(name)s, c.oid, 'SELECT, INSERT, UPDATE, DELETE')))""")
TRIGGER = "it returns `trigger`: only triggers call it, and no API does"
trigger = sql(f"({FUNCTION}).prorettype = 'trigger'::regtype")
NOT_CALLED = "nobody but its owner and superusers may execute it"
not_called = sql(f"""not exists (
    select from aclexplode(coalesce(({FUNCTION}).proacl, acldefault('f', ({FUNCTION}).proowner))) x
    where x.grantee <> ({FUNCTION}).proowner and x.grantee not in (select oid from pg_roles where rolsuper))""")
IN_POLICY = "a policy needs it, so its roles have to be able to call it"
in_policy = sql(f"""exists (
    select from pg_depend d where d.classid = 'pg_policy'::regclass
    and d.refclassid = 'pg_proc'::regclass and d.refobjid = ({FUNCTION}).oid)""")
VIEW_OPEN = "it reads nothing that policies or missing grants keep from its readers"
view_open = sql(f"""not exists (
    select from pg_rewrite w
    join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid and d.refclassid = 'pg_class'::regclass
    join pg_class c on c.oid = d.refobjid and c.oid <> w.ev_class
    where w.ev_class = {RELATION}
    and (c.relrowsecurity or exists (
        select from ({GRANTS}) g where g.privilege = 'SELECT'
        and not has_table_privilege(case g.grantee when 0 then 'anon' else pg_get_userbyid(g.grantee) end, c.oid, 'SELECT')))
    )""")
ASKS = "its condition asks who reads, and it is a security barrier or hides columns alone"
viewdef = f"pg_get_viewdef({RELATION})"
SESSION = "'(auth\\.(uid|jwt|role|email)|current_setting|current_user|session_user)'"
asks = sql(f"{viewdef} ~ 'WHERE' and {viewdef} ~ {SESSION}")
INVOKER = "it reads as its reader (`security_invoker`), so policies and grants hold"
invoker = sql(f"""exists (select from pg_class c, unnest(c.reloptions) o
    where c.oid = {RELATION} and o in ('security_invoker=true', 'security_invoker=on', 'security_invoker=1'))""")

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
