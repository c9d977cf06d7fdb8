select
    format_type(t.oid, null) as name,
    case b.typtype when 'd' then format_type(b.oid, null) end as base,
    c.conname::text as constraint,
    pg_get_constraintdef(c.oid) as definition
from pg_catalog.pg_type t
join pg_catalog.pg_namespace n on n.oid = t.typnamespace
left join pg_catalog.pg_type b on b.oid = t.typbasetype
left join pg_catalog.pg_constraint c on c.contypid = t.oid and c.contype = 'c'
where t.typtype = 'd' and n.nspname not like 'pg\_%' and n.nspname <> 'information_schema'
order by t.oid, c.conname
