"""The databases that the three run over: examples of what rules find, the demo platform, and splinter's own tests."""

import pathlib
import re
import subprocess

import pglast
import psycopg

from server import DBTUNE, ROOT, SPLINTER, connect, run, url

# What a server of the kind that the other two expect has: the roles of an API, and what says who is asking.
BASE = """
do $$ declare r text; begin
  foreach r in array array['app', 'anon', 'authenticated'] loop
    if not exists (select from pg_roles where rolname = r) then execute format('create role %I nologin', r); end if;
  end loop;
  if not exists (select from pg_roles where rolname = 'site_owner') then create role site_owner login; end if;
  if not exists (select from pg_roles where rolname = 'back_office') then
    create role back_office login bypassrls;
  end if;
end $$;
create schema auth;
create function auth.jwt() returns jsonb language sql stable
  as $$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb $$;
create function auth.uid() returns uuid language sql stable
  as $$ select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid $$;
create function auth.role() returns text language sql stable
  as $$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role' $$;
create function auth.email() returns text language sql stable
  as $$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'email' $$;
grant usage on schema auth to app, anon, authenticated;
grant usage on schema public to anon, authenticated;
"""

# How an extension comes about whose files a plain server does not have: only that it is there is looked at.
PRETENDED = """
insert into pg_catalog.pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
select (max(e.oid::bigint) + 1)::oid, '{name}', 10, 'pg_catalog'::regnamespace, false, '1.0' from pg_catalog.pg_proc e
"""


def create(name):
    with connect("postgres") as admin:
        admin.execute(f'create database "{name}"')
    return connect(name)


def watch(db):
    """Statements are counted, as on a server in use."""
    db.execute("create schema monitoring")
    db.execute("create extension pg_stat_statements schema monitoring")
    # It is part of the comparing, not of what is compared.
    db.execute("revoke all on all tables in schema monitoring from public")


def rule_examples():
    """One database for each example of what a rule finds, and for each of how it should be."""
    for rule in run(DBTUNE, "rules", "--format", "json")["data"]:
        lines = [line.removeprefix(" ") for line in rule["documentation"].splitlines()]
        for kind in ("bad", "good"):
            fence = f"```sql,{kind}"
            if fence not in lines:
                continue
            script = lines[lines.index(fence) + 1 :]
            script = "\n".join(script[: script.index("```")])
            name = f"{kind}_" + rule["id"].replace("-", "_")
            fill(name, script)
            yield name, f"{kind} examples"


def pgrls_examples():
    """One database for each rule of pgrls, as its documentation describes what it finds."""
    text = (pathlib.Path(__file__).parent / "pgrls.sql").read_text()
    for section in re.split(r"^-- (?=[A-Z]+[0-9]{3}[a-z]? )", text, flags=re.M)[1:]:
        rule, script = section.split("\n", 1)
        name = "pgrls_" + rule.split()[0].lower()
        fill(name, script)
        yield name, "examples of pgrls's rules"


def fill(name, script):
    with create(name) as db:
        db.execute(BASE)
        watch(db)
        for statement in split(script):
            try:
                db.execute(statement)
            except psycopg.Error:
                # That is how an invalid index comes about.
                if "concurrently" not in statement:
                    raise
        db.execute(f'alter database "{name}" set pgrst.db_schemas = \'public,api\'')


def demo():
    with create("demo") as db:
        db.execute((ROOT / "fixtures/bootstrap.sql").read_text())
    with psycopg.connect(url("demo", "clinic_owner"), autocommit=True) as db:
        for folder, pattern in [("migrations", "*.up.sql"), ("policies/naive", "*.sql")]:
            for file in sorted((ROOT / folder).glob(pattern)):
                db.execute(file.read_text())
    spec = str(ROOT / "fixtures/clinic.yaml")
    command = [DBTUNE, "seed", "--db", url("demo", "clinic_owner"), "--spec", spec, "--scale", "0.01"]
    subprocess.run([*command, "--quiet"], check=True, capture_output=True)
    with connect("demo") as db:
        db.execute("alter database demo set pgrst.db_schemas = 'public'")
        db.execute("analyze")
    yield "demo", "demo platform"


def splinter_tests():
    """Each state in which one of splinter's own tests expects a finding, made permanent."""
    test = SPLINTER.parent / "test"
    lints = sorted((SPLINTER.parent / "lints").glob("*.sql"))
    if not (test / "fixtures.sql").exists() or not lints:
        return
    fixtures = (test / "fixtures.sql").read_text()
    # Roles outlive a database.
    fixtures = re.sub(r"create role (\w+);", "", fixtures)
    with create("splinter_base") as db:
        db.execute(fixtures)
        watch(db)
        for lint in lints:
            db.execute(lint.read_text())
    for file in sorted((test / "sql").glob("0*.sql")):
        statements = [s for s in split(file.read_text()) if s.lower() not in ("begin", "rollback")]
        for number, state in enumerate(list(answered(statements))):
            name = f"splinter_{file.stem[:4]}_{number}"
            with connect("postgres") as admin:
                admin.execute(f'create database "{name}" template splinter_base')
            keep(name, state)
            yield name, "splinter's tests"


def is_question(statement):
    return statement.startswith("select") and "lint." in statement


def perform(db, statement):
    """Roles outlive a database, and another one may have made this already."""
    if statement == "create extension pg_graphql":
        return db.execute(PRETENDED.format(name="pg_graphql"))
    role = re.match(r"create role (\w+)", statement)
    if not role or not db.execute("select 1 from pg_roles where rolname = %s", role.groups()).fetchone():
        return db.execute(statement)


def answered(statements):
    """The statements before each question that is answered; up to what this server does not have."""
    with psycopg.connect(url("splinter_base")) as db:
        try:
            for at, statement in enumerate(statements):
                result = perform(db, statement)
                if is_question(statement) and result.fetchall() not in ([], [(0,)]):
                    yield [s for s in statements[:at] if not is_question(s)]
        except (psycopg.errors.UndefinedFile, psycopg.errors.FeatureNotSupported):
            pass
        db.rollback()


def keep(name, statements):
    with psycopg.connect(url(name)) as db:
        for statement in statements:
            perform(db, statement)
        served = db.execute("select current_setting('pgrst.db_schemas', true)").fetchone()[0]
        db.execute("drop schema lint cascade")
    if served:
        with connect(name) as db:
            db.execute(f"alter database \"{name}\" set pgrst.db_schemas = '{served}'")


def split(script):
    """Statements without the comments before them."""
    bare = (re.sub(r"\A(\s*--[^\n]*\n)*\s*", "", s).strip() for s in pglast.split(script))
    return [s for s in bare if s]


ALL = (rule_examples, pgrls_examples, demo, splinter_tests)
