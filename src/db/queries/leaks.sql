-- For each index key, the operators its class can search for that are not leakproof, parted by spaces.
-- Where all are, the index is left out.
with leaky as materialized (
    select o.oid, string_agg(distinct p.oprname::text, ' ' order by p.oprname::text) as operators
    from pg_catalog.pg_opclass o
    join pg_catalog.pg_amop a
        on a.amopfamily = o.opcfamily and a.amoplefttype = o.opcintype and a.amoppurpose = 's'
    join pg_catalog.pg_operator p on p.oid = a.amopopr
    join pg_catalog.pg_proc f on f.oid = p.oprcode
    where not f.proleakproof
    group by o.oid
)
select
    i.indrelid as oid,
    i.indexrelid as index_oid,
    array_agg(coalesce(l.operators, '') order by u.position) as operators
from pg_catalog.pg_index i
join pg_catalog.pg_class c on c.oid = i.indexrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
cross join lateral unnest(i.indclass::oid[]) with ordinality u (class, position)
left join leaky l on l.oid = u.class
where n.nspname not like 'pg\_%' and n.nspname <> 'information_schema'
group by i.indrelid, i.indexrelid
having bool_or(l.oid is not null)
