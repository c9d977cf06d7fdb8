select
    s.xact_commit as commits,
    s.xact_rollback as rollbacks,
    s.blks_hit as blocks_hit,
    s.blks_read as blocks_read,
    s.temp_files,
    s.temp_bytes,
    s.deadlocks,
    s.conflicts,
    age(d.datfrozenxid)::int8 as xid_age,
    mxid_age(d.datminmxid)::int8 as multixact_age,
    d.datconnlimit as connection_limit,
    coalesce((
        select c.setconfig from pg_catalog.pg_db_role_setting c where c.setdatabase = d.oid and c.setrole = 0
    ), '{}') as config
from pg_catalog.pg_database d
join pg_catalog.pg_stat_database s on s.datid = d.oid
where d.datname = current_database()
