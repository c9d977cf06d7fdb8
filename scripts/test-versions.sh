#!/bin/sh
# Runs the integration tests on each PostgreSQL server of DBTUNE_PG_BINS: bin folders, apart by spaces. Without it, on
# every server in Debian's place for them. Goes on after a failure, and ends with a line a server.
set -u

bins=${DBTUNE_PG_BINS:-$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null)}
if [ -z "$bins" ]; then
    echo 'test-versions: no server; name their folders: make test-versions DBTUNE_PG_BINS="/opt/pg16/bin /opt/pg17/bin"' >&2
    exit 2
fi
cargo test --test it --no-run ${CI:+--locked} || exit 2
failed=0
summary=
for bin in $bins; do
    # A wrong folder must not look like a version that was tested.
    version=$("$bin/postgres" --version) || version="no server"
    printf '\n== %s (%s)\n' "$version" "$bin"
    if DBTUNE_PG_BIN=$bin cargo test --test it ${CI:+--locked}; then
        verdict=passed
    else
        verdict=FAILED
        failed=1
    fi
    summary="$summary$verdict  $version  $bin
"
done
printf '\n%s' "$summary"
exit "$failed"
