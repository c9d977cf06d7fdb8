#!/bin/sh
# The steps of docs/ci.md, in a clone of a repository with migrations: run it there with DATABASE_URL pointing to an empty
# database. A test compares each step with the page and runs them all.
set -eu

: "${DATABASE_URL:?an empty database}" "${DBTUNE:=dbtune}" "${MIGRATIONS:=migrations}" "${SEED:=seed.sql}"
: "${WORKLOAD:=benchmarks/workload.yaml}" "${DURATION:=60s}" "${BASE_REF:=}"

# step: Audit what the migrations make
"$DBTUNE" audit --migrations "$MIGRATIONS" --format github

# step: What the pull request starts from
base=${BASE_REF:+origin/$BASE_REF}
mkdir -p base
git archive "${base:-HEAD~1}" "$MIGRATIONS" | tar -x -C base
"$DBTUNE" --db "$DATABASE_URL" apply --migrations "base/$MIGRATIONS"
psql "$DATABASE_URL" --quiet --set ON_ERROR_STOP=1 --file "$SEED"

# step: Benchmark before and after
base=${BASE_REF:+origin/$BASE_REF}
code=0
"$DBTUNE" --db "$DATABASE_URL" --format github bench --before "${base:-HEAD~1}" --after HEAD --gate \
  --workload "$WORKLOAD" --migrations "$MIGRATIONS" --duration "$DURATION" \
  -o bench.html -o bench.md -o bench.xml || code=$?
cat bench.md >> "${GITHUB_STEP_SUMMARY:-/dev/stdout}"
exit "$code"
