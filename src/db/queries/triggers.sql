-- The bits of tgtype are those of PostgreSQL's pg_trigger.
select
    t.tgrelid as oid,
    t.tgname::text as name,
    n.nspname::text as schema,
    p.proname::text as function,
    t.tgenabled <> 'D' as enabled,
    array_remove(array[
        case when t.tgtype & 4 <> 0 then 'INSERT' end,
        case when t.tgtype & 16 <> 0 then 'UPDATE' end,
        case when t.tgtype & 8 <> 0 then 'DELETE' end,
        case when t.tgtype & 32 <> 0 then 'TRUNCATE' end
    ], null) as events
from pg_catalog.pg_trigger t
join pg_catalog.pg_proc p on p.oid = t.tgfoid
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where not t.tgisinternal
order by t.tgrelid, t.tgname
