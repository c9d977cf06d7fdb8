-- How many are public, and the names of those that policies on files name anyway.
with said as (
    select pg_get_expr(p.polqual, p.polrelid) as condition
    from pg_catalog.pg_policy p
    join pg_catalog.pg_class c on c.oid = p.polrelid
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'storage' and c.relname = 'objects'
), open as (
    select b.id from storage.buckets b where b.public
)
select
    (select count(*) from open) as public,
    o.id as named
from (select) nothing
left join open o on exists (select from said s where strpos(s.condition, '''' || replace(o.id, '''', '''''') || '''') > 0)
