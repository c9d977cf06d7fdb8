-- What may stand before parentheses beside functions: aggregates, window functions, procedures, types.
select n.nspname::text as schema, p.proname::text as name
from pg_catalog.pg_proc p
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where p.prokind <> 'f' and n.nspname not like 'pg\_%' and n.nspname <> 'information_schema'
union
select n.nspname::text, t.typname::text
from pg_catalog.pg_type t
join pg_catalog.pg_namespace n on n.oid = t.typnamespace
left join pg_catalog.pg_class c on c.oid = t.typrelid
where (t.typtype <> 'c' or c.relkind = 'c') and t.typcategory <> 'A'
  and n.nspname not like 'pg\_%' and n.nspname <> 'information_schema'
