-- Without the copies that partitioning makes on either side.
select
    k.conrelid as oid,
    k.conname::text as name,
    array(
        select a.attname::text
        from unnest(k.conkey) with ordinality u (number, position)
        join pg_catalog.pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.number
        order by u.position
    ) as columns,
    n.nspname::text as schema,
    r.relname::text as table,
    array(
        select a.attname::text
        from unnest(k.confkey) with ordinality u (number, position)
        join pg_catalog.pg_attribute a on a.attrelid = k.confrelid and a.attnum = u.number
        order by u.position
    ) as referenced_columns,
    k.confdeltype::text as on_delete,
    k.confupdtype::text as on_update,
    k.convalidated and not k.condeferrable and not exists (
        select from pg_catalog.pg_trigger t where t.tgconstraint = k.oid and t.tgenabled not in ('O', 'A')
    ) as enforced
from pg_catalog.pg_constraint k
join pg_catalog.pg_class r on r.oid = k.confrelid
join pg_catalog.pg_namespace n on n.oid = r.relnamespace
where k.contype = 'f' and k.conparentid = 0
order by k.conrelid, k.conname
