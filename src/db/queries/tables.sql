select
    c.oid,
    n.nspname::text as schema,
    c.relname::text as name,
    c.relkind::text as kind,
    pg_get_userbyid(c.relowner)::text as owner,
    c.relrowsecurity as rls_enabled,
    c.relforcerowsecurity as rls_forced,
    case when c.reltuples >= 0 then c.reltuples::float8 end as rows, -- 14+
    case when c.reltuples > 0 or c.relpages > 0 then c.reltuples::float8 end as rows, -- <14
    c.relpages::int8 as pages,
    case when c.relkind in ('r', 'm') then pg_table_size(c.oid) else 0 end as bytes, -- exact
    (c.relpages + coalesce(toast.relpages, 0))::int8 * current_setting('block_size')::int8 as bytes, -- estimated
    pg_stat_get_numscans(c.oid) as seq_scans,
    pg_stat_get_tuples_returned(c.oid) as seq_rows,
    pg_stat_get_tuples_inserted(c.oid) as inserted,
    pg_stat_get_tuples_updated(c.oid) as updated,
    pg_stat_get_tuples_hot_updated(c.oid) as hot_updated,
    pg_stat_get_tuples_deleted(c.oid) as deleted,
    pg_stat_get_live_tuples(c.oid) as live,
    pg_stat_get_dead_tuples(c.oid) as dead,
    greatest(pg_stat_get_last_vacuum_time(c.oid), pg_stat_get_last_autovacuum_time(c.oid)) as last_vacuum,
    greatest(pg_stat_get_last_analyze_time(c.oid), pg_stat_get_last_autoanalyze_time(c.oid)) as last_analyze,
    pg_stat_get_last_autovacuum_time(c.oid) as last_autovacuum,
    pg_stat_get_mod_since_analyze(c.oid) as modified_since_analyze,
    pg_stat_get_ins_since_vacuum(c.oid) as inserted_since_vacuum,
    pg_stat_get_blocks_hit(c.oid) as heap_hit,
    pg_stat_get_blocks_fetched(c.oid) - pg_stat_get_blocks_hit(c.oid) as heap_read,
    case when c.relkind in ('r', 'm') then age(c.relfrozenxid)::int8 else 0 end as xid_age,
    case when c.relkind in ('r', 'm') then mxid_age(c.relminmxid)::int8 else 0 end as multixact_age,
    c.relreplident = 'f' as replica_identity_full,
    has_table_privilege(c.oid, 'select') and not row_security_active(c.oid) as statistics_readable,
    case when c.relispartition then (
        select i.inhparent from pg_catalog.pg_inherits i where i.inhrelid = c.oid
    ) end as parent,
    case when c.relkind = 'p' then pg_get_partkeydef(c.oid) end as partition_key,
    e.extname::text as extension,
    coalesce(c.reloptions, '{}') as options,
    exists (select from pg_catalog.pg_rewrite r where r.ev_class = c.oid and r.ev_type <> '1') as ruled,
    c.relkind <> 'p' and exists (select from pg_catalog.pg_inherits i where i.inhparent = c.oid) as inherited
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join pg_catalog.pg_class toast on toast.oid = c.reltoastrelid
left join pg_catalog.pg_depend d
    on d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid and d.objsubid = 0 and d.deptype = 'e'
left join pg_catalog.pg_extension e on e.oid = d.refobjid
where c.relkind in ('r', 'p', 'v', 'm', 'f')
  and c.relpersistence <> 't'
  and n.nspname not like 'pg\_%'
  and n.nspname <> 'information_schema'
