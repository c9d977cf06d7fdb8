-- The view shows what the role may select and is not filtered by row-level security.
select
    c.oid,
    s.attname::text as column,
    s.most_common_vals::text as most_common,
    coalesce(s.most_common_freqs, '{}')::float4[] as frequencies,
    s.histogram_bounds::text as histogram
from pg_catalog.pg_stats s
join pg_catalog.pg_namespace n on n.nspname = s.schemaname
join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = s.tablename
where s.inherited = (c.relkind = 'p')
  and n.nspname not like 'pg\_%'
  and n.nspname <> 'information_schema'
