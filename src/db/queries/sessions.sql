-- Whose session it is shows to everybody, what it does and of what kind it is only to its own role and pg_read_all_stats.
select
    coalesce(a.datname = current_database(), false) as here,
    a.usename::text as role,
    coalesce(a.application_name, '') as application,
    coalesce(a.state, '') as state,
    count(*) as count,
    coalesce(max(extract(epoch from clock_timestamp() - a.state_change)), 0)::float8 as longest_state_s,
    coalesce(max(extract(epoch from clock_timestamp() - a.xact_start)), 0)::float8 as oldest_transaction_s,
    count(*) filter (where a.backend_xmin is not null or a.backend_xid is not null) as holding,
    count(*) filter (where a.backend_type is null) as hidden
from pg_catalog.pg_stat_activity a
where a.pid <> pg_backend_pid()
  and a.usename is not null
  and coalesce(a.backend_type, 'client backend') = 'client backend'
group by 1, 2, 3, 4
order by 1, 2, 3, 4
