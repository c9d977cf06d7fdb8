select
    i.indrelid as oid,
    i.indexrelid as index_oid,
    n.nspname::text as schema,
    c.relname::text as name,
    m.amname::text as method,
    i.indisunique as unique,
    i.indisprimary as primary,
    i.indisvalid as valid,
    i.indisready as ready,
    i.indislive as live,
    not i.indisvalid and exists (
        select from pg_catalog.pg_locks l
        where l.relation = i.indrelid and l.mode = 'ShareUpdateExclusiveLock' and l.granted
          and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = current_database())
    ) as building,
    i.indisexclusion as exclusion,
    i.indisreplident as replica_identity,
    i.indisclustered as clustered,
    false as nulls_not_distinct, -- <15
    i.indnullsnotdistinct as nulls_not_distinct, -- 15+
    con.conname::text as constraint,
    pg_get_expr(i.indpred, i.indrelid) as predicate,
    pg_get_indexdef(i.indexrelid) as definition,
    case when c.relkind = 'i' then pg_relation_size(c.oid) else 0 end as bytes, -- exact
    c.relpages::int8 * current_setting('block_size')::int8 as bytes, -- estimated
    pg_stat_get_numscans(i.indexrelid) as scans,
    pg_stat_get_blocks_hit(i.indexrelid) as hit,
    pg_stat_get_blocks_fetched(i.indexrelid) - pg_stat_get_blocks_hit(i.indexrelid) as read,
    null::timestamptz as last_scan, -- <16
    pg_stat_get_lastscan(i.indexrelid) as last_scan, -- 16+
    case when c.relispartition then (
        select h.inhparent from pg_catalog.pg_inherits h where h.inhrelid = c.oid
    ) end as parent,
    k.columns,
    k.expressions,
    k.opclasses,
    k.collations,
    k.options,
    array(
        select a.attname::text
        from pg_catalog.pg_attribute a
        where a.attrelid = i.indexrelid and a.attnum > i.indnkeyatts
        order by a.attnum
    ) as include
from pg_catalog.pg_index i
join pg_catalog.pg_class c on c.oid = i.indexrelid
join pg_catalog.pg_class r on r.oid = i.indrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_am m on m.oid = c.relam
left join pg_catalog.pg_constraint con
    on con.conindid = i.indexrelid and con.conrelid = i.indrelid and con.contype in ('p', 'u', 'x')
cross join lateral (
    select
        array_agg(a.attname::text order by x.position) as columns,
        array_agg(case when i.indkey[x.position - 1] = 0
            then pg_get_indexdef(i.indexrelid, x.position, false) end order by x.position) as expressions,
        array_agg(case when not o.opcdefault
            then quote_ident(os.nspname) || '.' || quote_ident(o.opcname) end order by x.position) as opclasses,
        array_agg(case when l.oid <> coalesce(a.attcollation, ia.attcollation)
            then quote_ident(ls.nspname) || '.' || quote_ident(l.collname) end order by x.position) as collations,
        array_agg(i.indoption[x.position - 1]::int order by x.position) as options
    from generate_series(1, i.indnkeyatts) x (position)
    left join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[x.position - 1]
    left join pg_catalog.pg_attribute ia on ia.attrelid = i.indexrelid and ia.attnum = x.position
    left join pg_catalog.pg_opclass o on o.oid = i.indclass[x.position - 1]
    left join pg_catalog.pg_namespace os on os.oid = o.opcnamespace
    left join pg_catalog.pg_collation l on l.oid = i.indcollation[x.position - 1]
    left join pg_catalog.pg_namespace ls on ls.oid = l.collnamespace
) k
where r.relpersistence <> 't'
  and r.relkind in ('r', 'p', 'm')
  and n.nspname not like 'pg\_%'
  and n.nspname <> 'information_schema'
order by i.indrelid, c.relname
