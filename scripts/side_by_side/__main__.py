"""The comparing half of side-by-side.sh: databases, the three tools over each, and who found what, finding by finding.

Arguments: the file to write the tables into, between its two marks; none to print them.
"""

import collections
import concurrent.futures
import os
import pathlib
import sys
import tempfile

import psycopg

import databases
import reasons
import tools
from server import DBTUNE, run, url

# Of these two, the first counts on a small database already.
FOUND, GROWN, LEFT, UNEXPLAINED = "found", "grown", "left", "unexplained"
MARKS = ("<!-- from here on written by make side-by-side -->", "<!-- up to here -->")


def judge(database, also, folder):
    """Each finding of theirs with an outcome, and the rule of dbtune's or the reason behind it."""
    ours = list(tools.dbtune("--db", url(database)))
    theirs = [*tools.splinter(database), *tools.pgrls(database)]
    result, rest = [], []
    for finding in theirs:
        rule = matching(finding, ours, also)
        result.append((finding, FOUND, rule)) if rule else rest.append(finding)
    if not rest:
        return result
    grown = tools.grown(database, folder)
    with psycopg.connect(url(database), autocommit=True) as db:
        db.execute("set search_path = ''")
        for finding in rest:
            rule = matching(finding, grown, also)
            if rule:
                result.append((finding, GROWN, rule))
                continue
            words = reasons.why(reasons.Case(finding, [*ours, *grown], db))
            result.append((finding, LEFT if words else UNEXPLAINED, words))
    return result


def matching(finding, ours, also):
    """The rule under which dbtune says the same of the same object."""
    return next((o.rule for o in ours if finding.rule in also[o.rule] and tools.same(finding, o)), None)


def once(findings):
    """Roles belong to the whole server: what is said of one in each database counts once, for the best or the worst."""
    roles, result = {}, []
    order = [UNEXPLAINED, LEFT, GROWN, FOUND]
    for finding, outcome, why in findings:
        if finding.rule not in ("pgrls SEC016", "pgrls SEC029", "pgrls SEC048"):
            result.append((finding, outcome, why))
            continue
        key = finding.rule, finding.name
        known = roles.get(key)
        if known is None or order.index(known[1]) < order.index(outcome) and known[1] != UNEXPLAINED or outcome == UNEXPLAINED:
            roles[key] = (finding, outcome, why)
    return [*result, *roles.values()]


def tables(kinds, findings):
    counted = collections.Counter(kinds)
    total = collections.Counter(outcome for _, outcome, _ in findings)
    yield f"{len(kinds)} databases: " + ", ".join(f"{n} of {kind}" for kind, n in counted.items()) + "."
    yield (
        f"{len(findings)} findings of theirs: {total[FOUND]} are dbtune's as well, {total[GROWN]} as soon as the table "
        f"is large, {total[LEFT]} are left out for a reason that is tested, {total[UNEXPLAINED]} are unexplained.\n"
    )
    yield "| their rule | findings | found | by | when large | left out | unexplained |"
    yield "| --- | ---: | ---: | --- | ---: | ---: | ---: |"
    by_rule = collections.defaultdict(list)
    for finding, outcome, why in findings:
        by_rule[finding.rule].append((outcome, why))
    for rule in sorted(by_rule):
        own = by_rule[rule]
        number = collections.Counter(outcome for outcome, _ in own)
        names = sorted({why for outcome, why in own if outcome in (FOUND, GROWN)})
        names = ", ".join(f"`{name}`" for name in names)
        yield (
            f"| {rule} | {len(own)} | {number[FOUND]} | {names} | {number[GROWN]} | {number[LEFT]} | {number[UNEXPLAINED]} |"
        )
    yield "\n| their rule | left out | because |"
    yield "| --- | ---: | --- |"
    for rule in sorted(by_rule):
        left = collections.Counter(why for outcome, why in by_rule[rule] if outcome == LEFT)
        for words, number in left.most_common():
            yield f"| {rule} | {number} | {words} |"


def main():
    also = {rule["id"]: set(rule["also"]) for rule in run(DBTUNE, "rules", "--format", "json")["data"]}
    all_of_them = [one for fill in databases.ALL for one in fill()]
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        judged = pool.map(lambda one: judge(one[0], also, pathlib.Path(folder)), all_of_them)
        findings = once(finding for some in judged for finding in some)
    text = "\n".join(tables([kind for _, kind in all_of_them], findings))
    if len(sys.argv) > 1:
        path = pathlib.Path(sys.argv[1])
        before, _, rest = path.read_text().partition(MARKS[0])
        _, _, after = rest.partition(MARKS[1])
        path.write_text(f"{before}{MARKS[0]}\n\n{text}\n\n{MARKS[1]}{after}")
    else:
        print(text)
    unexplained = [finding for finding, outcome, _ in findings if outcome == UNEXPLAINED]
    for finding in unexplained:
        where = ".".join(filter(None, (finding.schema, finding.name, finding.part)))
        print(f"unexplained: {finding.rule} · {finding.database} · {where}: {finding.words[:200]}", file=sys.stderr)
    sys.exit(1 if unexplained else 0)


if __name__ == "__main__":
    main()
