-- Slots hold back every database, prepared transactions their own.
select
    'p' as kind,
    x.gid as name,
    age(x.transaction)::int8 as xid_age,
    extract(epoch from clock_timestamp() - x.prepared)::float8 as age_s,
    false as active,
    0::int8 as kept_bytes,
    '' as wal_status
from pg_catalog.pg_prepared_xacts x
where x.database = current_database()
union all
select
    's',
    s.slot_name::text,
    coalesce(greatest(age(s.xmin), age(s.catalog_xmin)), 0)::int8,
    0,
    s.active,
    coalesce(pg_wal_lsn_diff(
        case when pg_is_in_recovery() then pg_last_wal_receive_lsn() else pg_current_wal_lsn() end, s.restart_lsn
    ), 0)::int8,
    coalesce(s.wal_status::text, '')
from pg_catalog.pg_replication_slots s
where not s.temporary
order by 1, 2
