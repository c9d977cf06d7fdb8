select
    current_setting('server_version_num')::int as version_num,
    current_database()::text as database,
    current_user::text as user,
    (select rolsuper from pg_catalog.pg_roles where rolname = current_user) as superuser,
    pg_is_in_recovery() as in_recovery,
    pg_postmaster_start_time() as started_at,
    pg_stat_get_db_stat_reset_time(d.oid) as stats_reset,
    now() as read_at,
    case when has_database_privilege(d.oid, 'connect') then pg_database_size(d.oid) else 0 end as bytes,
    current_schemas(false)::text[] as search_path
from pg_catalog.pg_database d
where d.datname = current_database()
