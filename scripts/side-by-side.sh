#!/bin/sh
# Runs Supabase's splinter, pgrls and dbtune over the same databases and says of each finding of theirs whether dbtune has it
# as well, has it once the table is large, or leaves it out for a reason that is tested on the object; exits with 1 where one
# is none of these. Needs PostgreSQL's server programs with contrib, Python 3 with venv and pip, and splinter's SQL, of
# which nothing is part of this repository: SPLINTER_SQL=/path/to/splinter.sql, from https://github.com/supabase/splinter;
# its tests are run as well where they lie beside that file. Takes some minutes. Leaves nothing behind.
#
#   side-by-side.sh [FILE]   writes the tables into FILE, between its marks; prints them where there is none
#
#   DBTUNE       the program to run; built where not given
#   PG_BIN       folder with initdb and pg_ctl; the newest of Debian's places where not given
#   PGRLS        a pgrls program that is installed already
set -eu

cd "$(dirname "$0")/.."
if [ ! -r "${SPLINTER_SQL:-}" ]; then
    echo 'side-by-side: SPLINTER_SQL does not name a readable file; see https://github.com/supabase/splinter' >&2
    exit 2
fi
if [ -z "${DBTUNE:-}" ]; then
    cargo build --release ${CI:+--locked}
    DBTUNE=target/release/dbtune
fi
bin=${PG_BIN:-$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)}
[ -x "$bin/initdb" ] || { echo 'side-by-side: no PostgreSQL server; name its folder: PG_BIN=/opt/pg17/bin' >&2; exit 2; }

work=$(mktemp -d)
chmod 755 "$work"
# The server refuses to run as root.
if [ "$(id -u)" = 0 ]; then
    as_server() { runuser -u postgres -- "$@"; }
    chown postgres "$work"
else
    as_server() { "$@"; }
fi
stop() {
    as_server "$bin/pg_ctl" -D "$work/data" -m immediate -w stop >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if [ -z "${PGRLS:-}" ]; then
    python3 -m venv "$work/venv"
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check pgrls==0.57
    PGRLS=$work/venv/bin/pgrls
fi
as_server "$bin/initdb" -D "$work/data" -U postgres -A trust -E UTF8 --no-locale --no-sync >/dev/null
as_server "$bin/pg_ctl" -D "$work/data" -w -l "$work/log" start -o "-F -c listen_addresses='' -k $work \
    -c shared_preload_libraries=pg_stat_statements -c pg_stat_statements.max=100000" >/dev/null

export SOCKET="$work" DBTUNE PGRLS PYTHONDONTWRITEBYTECODE=1
"$(dirname "$PGRLS")/python3" scripts/side_by_side "$@"
