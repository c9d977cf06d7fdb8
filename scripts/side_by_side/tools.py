"""What each of the three says of one database, in one form: rule, the objects it is about, and its words."""

import dataclasses
import datetime
import json
import re
import subprocess

import psycopg

from server import DBTUNE, PGRLS, SPLINTER, connect, run, url


@dataclasses.dataclass
class Theirs:
    """One finding of another linter."""

    rule: str
    database: str
    schema: str | None
    # A relation, function, role or extension.
    name: str
    # A policy, column, index, constraint or trigger of it.
    part: str | None
    words: str
    # Names under which dbtune may speak of the same thing.
    aliases: set


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
        name, detail, metadata = row[0], row[6].replace("\\`", "`"), row[8]
        rule = numbers.get(name, name)
        schema, thing = metadata.get("schema"), metadata.get("name")
        quoted = re.findall(r"`([^`]*)`", detail)
        part = metadata.get("policy_name") or metadata.get("fkey_name") or metadata.get("foreign_key")
        part = part or metadata.get("column")
        aliases = set()
        if rule.startswith("0006"):
            # One for each role and action.
            part = f"{quoted[1]} {quoted[2]}"
        elif rule.startswith(("0003", "0015")):
            # "Table `t` has a row level security policy `p` …"
            part = quoted[1]
        elif rule.startswith("0005"):
            part = quoted[0]
            aliases = {f"{schema}.{part}"}
        elif rule.startswith("0009"):
            aliases = {f"{schema}.{index}" for index in metadata["indexes"]}
        elif rule.startswith("0025"):
            # They name the bucket, dbtune the policy.
            aliases, part = {"storage.objects"}, metadata["policy_names"][0]
        elif rule.startswith("0022"):
            schema, thing = None, metadata["extension_name"]
        elif rule.startswith("0014"):
            schema = None
        elif rule.startswith("0026"):
            aliases = {"role anon"}
        yield Theirs(f"splinter {rule}", database, schema, thing, part, detail, aliases)


# Whose locations are no `schema.relation.part`.
OF_ROLES = {"SEC016", "SEC029", "SEC048"}
OF_SCHEMAS = {"SEC044"}


def pgrls(database):
    with connect(database) as db:
        schemas = db.execute(
            "select string_agg(nspname, ',') from pg_namespace "
            "where nspname !~ '^pg_|^information_schema$|^auth$|^lint$|^storage$|^monitoring$'"
        ).fetchone()[0]
    found = run(PGRLS, "lint", "--database-url", url(database), "--schemas", schemas, "--format", "json")
    for violation in found["violations"]:
        rule, location = violation["rule_id"], violation["location"] or ""
        schema, name, part = None, location, None
        if rule not in OF_ROLES | OF_SCHEMAS:
            indexed = re.fullmatch(r"([^.]+)\.(.+) \((.+)\)", location)
            if indexed:
                schema, name, part = indexed.groups()
            else:
                schema, name, part = (*location.split(".", 2), None, None)[:3]
        # What else the finding is about, where dbtune reports that.
        also = {"SEC025": r"references table ([\w.]+)", "SEC046": r"calls ([\w.]+)\(\)"}.get(rule)
        aliases = set(re.findall(also, violation["message"])) if also else set()
        yield Theirs(f"pgrls {rule}", database, schema, name, part, violation["message"], aliases)


@dataclasses.dataclass
class Ours:
    rule: str
    # Everything it names with its schema: its object, and what its evidence lists.
    names: set
    part: str | None
    kind: str


def dbtune(*arguments):
    found = run(DBTUNE, "audit", *arguments, "--format", "json", "--quiet")
    for finding in found["findings"]:
        thing = finding["object"]
        names = {thing["name"].removeprefix(".")} | set(strings(finding["evidence"]))
        names |= {re.sub(r"\(.*\)$", "", name) for name in names}
        if thing["kind"] == "role":
            names.add("role " + thing["name"].removeprefix("."))
        if thing["kind"] == "database":
            names.add(thing["name"].split(".")[-1])
        yield Ours(finding["rule"], names, thing.get("part"), thing["kind"])


def grown(database, folder):
    """What dbtune would say of the same schema if every table had a million rows and statistics were two months old."""
    path = folder / f"{database}.json"
    subprocess.run([DBTUNE, "snapshot", "--db", url(database), "-o", path, "--quiet"], check=True, capture_output=True)
    snapshot = json.loads(path.read_text())
    catalog = snapshot["catalog"]
    old = datetime.datetime.fromisoformat(catalog["server"]["read_at"]) - datetime.timedelta(days=60)
    catalog["server"]["stats_since"] = old.isoformat()
    for table in catalog["tables"].values():
        if table["kind"] in ("ordinary", "partitioned", "materialized_view"):
            table |= {"rows": 1e6, "pages": 20_000, "bytes": 160_000_000}
            for index in table["indexes"]:
                index["bytes"] = 40_000_000
    path.write_text(json.dumps(snapshot))
    return list(dbtune("--snapshot", str(path)))


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def same(theirs, ours):
    """Whether both speak of the same object; of the same policy, where both name one."""
    whole = f"{theirs.schema}.{theirs.name}" if theirs.schema else theirs.name
    if not ({whole} | theirs.aliases) & ours.names:
        return False
    both = theirs.part and ours.part and ours.kind == "policy"
    return not both or theirs.part == ours.part
