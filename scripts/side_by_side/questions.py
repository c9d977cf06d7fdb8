"""A finding that dbtune leaves out, and the questions that reasons ask of it: of the server, or of what dbtune says."""


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


def flag_branch(case):
    """A branch of an OR is a column alone or a test for NULL."""
    tree = pglast.parse_sql(f"select {case.condition()}") if case.clauses() == 1 else None
    return tree is not None and has_flag(tree[0].stmt)


def has_flag(node):
    if isinstance(node, (list, tuple)):
        return any(has_flag(n) for n in node)
    if not isinstance(node, pglast.ast.Node) or isinstance(node, pglast.ast.SubLink):
        return False
    if isinstance(node, pglast.ast.BoolExpr) and node.boolop == pglast.enums.BoolExprType.OR_EXPR:
        flags = (pglast.ast.ColumnRef, pglast.ast.NullTest, pglast.ast.BooleanTest)
        if any(isinstance(branch, flags) for branch in node.args):
            return True
    return any(has_flag(getattr(node, slot)) for slot in node.__slots__ if slot != "parent_node")


def constant_body(case):
    """Each function called outside a sub-select has a body that is a constant."""
    called = re.findall(r"auth\.(\w+)\(\)", case.condition())
    return bool(called) and case.db.execute(
        "select bool_and(prosrc ~* '^\\s*select\\s+(''[^'']*''|null|[0-9]+)(::\\w+)?\\s*;?\\s*$') from pg_proc p "
        "where p.pronamespace = 'auth'::regnamespace and p.proname = any (%s)",
        (called,),
    ).fetchone()[0]


def idle_bypassing(case):
    """None of the roles with BYPASSRLS that it may become holds a privilege on a table with policies."""
    roles = re.findall(r"'(\w+)'", case.theirs.words.split("so it can")[0])[1:]
    return bool(roles) and not case.db.execute(
        "select 1 from unnest(%s::text[]) r (name) join pg_class c on c.relrowsecurity and c.oid >= 16384 "
        "where has_table_privilege(r.name, c.oid, 'SELECT, INSERT, UPDATE, DELETE')",
        (roles,),
    ).fetchone()


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
