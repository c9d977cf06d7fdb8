#!/bin/sh
# One folder and one database, in turn under the real sqlx-cli and under dbtune: each must take over where the other
# stopped. SQLX names the program (cargo install sqlx-cli --no-default-features --features postgres,rustls), DATABASE_URL
# an empty database that may be written to, DBTUNE the program of this project.
set -eu

sqlx=${SQLX:-sqlx}
dbtune=${DBTUNE:-target/release/dbtune}
: "${DATABASE_URL:?an empty database}"
export DATABASE_URL
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

put() {
    printf '%s\n' "$2" >"$folder/$1"
}
put 1_items.up.sql 'create table items (id int primary key, tenant int not null);'
put 1_items.down.sql 'drop table items;'
put 2_items_tenant_idx.up.sql '-- no-transaction
create index concurrently items_tenant_idx on items (tenant);'
put 2_items_tenant_idx.down.sql '-- no-transaction
drop index concurrently if exists items_tenant_idx;'
put 3_rls.up.sql 'alter table items enable row level security;
create policy own on items using (tenant = 1);'
put 3_rls.down.sql 'drop policy own on items;
alter table items disable row level security;'

failed=0
# What, the words that must be printed, the command.
expect() {
    what=$1 words=$2
    shift 2
    if said=$("$@" 2>&1) && printf '%s' "$said" | grep -q -- "$words"; then
        printf 'ok      %s\n' "$what"
    else
        printf 'FAILED  %s\n%s\n' "$what" "$said"
        failed=1
    fi
}

expect 'dbtune applies the first two' 'Applied 2' "$dbtune" apply --quiet --migrations "$folder" --to 2
expect 'sqlx sees them as installed' '2/installed' "$sqlx" migrate info --source "$folder"
expect 'sqlx sees the third as pending' '3/pending' "$sqlx" migrate info --source "$folder"
expect 'sqlx applies the third' '3/migrate' "$sqlx" migrate run --source "$folder"
expect 'dbtune has nothing left to do' 'up to date' "$dbtune" apply --quiet --migrations "$folder"
expect 'dbtune knows all three as applied' '3 applied, 0 pending' "$dbtune" status --migrations "$folder"
expect 'dbtune takes back what sqlx applied' '3_rls' "$dbtune" rollback --quiet --yes --migrations "$folder"
expect 'sqlx sees it as pending again' '3/pending' "$sqlx" migrate info --source "$folder"
expect 'sqlx takes back what dbtune applied' '2/revert' "$sqlx" migrate revert --source "$folder"
expect 'dbtune applies both again' 'Applied 2' "$dbtune" apply --quiet --migrations "$folder"
expect 'sqlx has nothing left to do' '3/installed' "$sqlx" migrate info --source "$folder"
expect 'dbtune takes all back' '1_items' "$dbtune" rollback --quiet --all --yes --migrations "$folder"
expect 'sqlx sees the first as pending' '1/pending' "$sqlx" migrate info --source "$folder"
exit "$failed"
