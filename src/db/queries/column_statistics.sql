-- The view shows what the role may select and is not filtered by row-level security.
select
    c.oid,
    s.attname::text as column,
    s.n_distinct::float8,
    s.null_frac::float8 as null_fraction,
    s.avg_width as average_width,
    s.correlation::float8,
    coalesce(s.most_common_freqs[1], 0)::float8 as top_frequency
from pg_catalog.pg_stats s
join pg_catalog.pg_namespace n on n.nspname = s.schemaname
join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = s.tablename
where s.inherited = (c.relkind = 'p')
  and n.nspname not like 'pg\_%'
  and n.nspname <> 'information_schema'
