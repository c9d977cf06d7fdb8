"""The comparing half of side-by-side.sh: databases, the three tools over each, and the table of who found what."""

import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys

import pglast
import psycopg

ROOT = pathlib.Path(__file__).resolve().parent.parent
SPLINTER = pathlib.Path(os.environ["SPLINTER_SQL"])
SOCKET = os.environ["SOCKET"]

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

# Why dbtune says nothing where the other does: docs/other-linters.md tells it at length. A rule that is not here must
# be found each time.
LEFT_OUT = json.loads((ROOT / "scripts" / "side_by_side.json").read_text())


def url(database, user="postgres"):
    return f"postgresql://{user}@/{database}?host={SOCKET}"


def connect(database):
    return psycopg.connect(url(database), autocommit=True)


def create(name):
    with connect("postgres") as admin:
        admin.execute(f'create database "{name}"')
    return connect(name)


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if not done.stdout.strip():
        sys.exit(f"{' '.join(command)}: {done.stderr}")
    return json.loads(done.stdout)


# Databases


def rule_examples():
    """One database for each example of what a rule finds."""
    for rule in run(os.environ["DBTUNE"], "rules", "--format", "json")["data"]:
        lines = [line.removeprefix(" ") for line in rule["documentation"].splitlines()]
        if "```sql,bad" not in lines:
            continue
        lines = lines[lines.index("```sql,bad") + 1 :]
        script = "\n".join(lines[: lines.index("```")])
        name = "rule_" + rule["id"].replace("-", "_")
        with create(name) as db:
            db.execute(BASE)
            for statement in split(script):
                try:
                    db.execute(statement)
                except psycopg.Error:
                    # That is how an invalid index comes about.
                    if "concurrently" not in statement:
                        raise
            db.execute(f'alter database "{name}" set pgrst.db_schemas = \'public,api\'')
        yield name, "examples"


def demo():
    with create("demo") as db:
        db.execute((ROOT / "fixtures/bootstrap.sql").read_text())
    with psycopg.connect(url("demo", "clinic_owner"), autocommit=True) as db:
        for folder, pattern in [("migrations", "*.up.sql"), ("policies/naive", "*.sql")]:
            for file in sorted((ROOT / folder).glob(pattern)):
                db.execute(file.read_text())
    spec = str(ROOT / "fixtures/clinic.yaml")
    command = [os.environ["DBTUNE"], "seed", "--db", url("demo", "clinic_owner"), "--spec", spec, "--scale", "0.01"]
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


# Tools


def splinter(database):
    with psycopg.connect(url(database)) as db:
        db.execute("set local pgrst.db_schemas = 'public'")
        served = db.execute(
            "select split_part(c, '=', 2) from pg_db_role_setting s, unnest(setconfig) c "
            "where s.setdatabase = (select oid from pg_database where datname = current_database()) "
            "and c like 'pgrst.db_schemas=%'"
        ).fetchone()
        if served:
            db.execute("select set_config('pgrst.db_schemas', %s, true)", served)
        text = SPLINTER.read_text()
        db.execute("set local search_path = ''")
        rows = db.execute(text[text.index("(") :].rstrip().rstrip(";")).fetchall()
    numbers = {file.stem[5:]: file.stem for file in (SPLINTER.parent / "lints").glob("*.sql")}
    for row in rows:
        name, metadata = row[0], row[8]
        about = [metadata.get("name"), *metadata.get("policy_names", [])]
        if "extension_name" in metadata:
            about = [metadata["extension_name"]]
        schema = metadata.get("schema")
        detail = f"{name} {row[6]}"
        where = f"{schema}.{about[0]}" if schema else about[0]
        yield "splinter " + numbers.get(name, name), where, {str(a) for a in about if a}, detail


def pgrls(database):
    with connect(database) as db:
        schemas = db.execute(
            "select string_agg(nspname, ',') from pg_namespace "
            "where nspname !~ '^pg_|^information_schema$|^auth$|^lint$|^storage$'"
        ).fetchone()[0]
    found = run(os.environ["PGRLS"], "lint", "--database-url", url(database), "--schemas", schemas, "--format", "json")
    for violation in found["violations"]:
        location = violation["location"] or ""
        names = set(re.split(r"[\s().,:→]+", location)) | {location}
        yield "pgrls " + violation["rule_id"], location, names, violation["message"]


def dbtune(database):
    found = run(os.environ["DBTUNE"], "audit", "--db", url(database), "--format", "json", "--quiet")
    for finding in found["findings"]:
        thing = finding["object"]
        names = {thing["name"].removeprefix("."), thing["name"].split(".")[-1], thing.get("part")}
        names |= set(strings(finding["evidence"]))
        yield finding["rule"], {n for n in names if n}


def strings(value):
    if isinstance(value, str):
        yield value
        yield value.split(".")[-1]
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


# Comparing


def compare(database, also):
    ours = list(dbtune(database))
    result = []
    for rule, where, names, detail in [*splinter(database), *pgrls(database)]:
        names = names | {n.split(".")[-1] for n in names} if rule.startswith("splinter") else names
        same = any(rule in also[own] and names & about for own, about in ours)
        result.append((rule, database, where, detail, same))
    return result


def main():
    rules = run(os.environ["DBTUNE"], "rules", "--format", "json")["data"]
    also = {rule["id"]: set(rule["also"]) for rule in rules}
    databases = [*rule_examples(), *demo(), *splinter_tests()]
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        compared = pool.map(lambda d: compare(d[0], also), databases)
        findings = [finding for some in compared for finding in some]
    kinds = {}
    for _, kind in databases:
        kinds[kind] = kinds.get(kind, 0) + 1
    print(f"{len(databases)} databases: " + ", ".join(f"{n} of {kind}" for kind, n in kinds.items()))
    print(f"{len(findings)} findings of theirs, {sum(f[4] for f in findings)} of them dbtune's as well\n")
    print("| their rule | findings | dbtune has | left out | missing |")
    print("| --- | ---: | ---: | ---: | ---: |")
    missing = 0
    for rule in sorted({f[0] for f in findings}):
        own = [f for f in findings if f[0] == rule]
        absent = [f for f in own if not f[4]]
        known = rule in LEFT_OUT
        missing += 0 if known else len(absent)
        left, gone = (len(absent), 0) if known else (0, len(absent))
        print(f"| {rule} | {len(own)} | {len(own) - len(absent)} | {left} | {gone} |")
    for rule, database, where, detail, same in findings:
        if not same and (os.environ.get("VERBOSE") or rule not in LEFT_OUT):
            print(f"- {rule} · {database} · {where}: {detail[:160]}")
    sys.exit(1 if missing else 0)


main()
