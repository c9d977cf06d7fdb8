-- What PostgREST may keep in the database: which schemas it serves, and as whom who has not signed in.
with stored as (
    select split_part(c.setting, '=', 1) as name, substr(c.setting, strpos(c.setting, '=') + 1) as value
    from pg_catalog.pg_db_role_setting s
    cross join lateral unnest(s.setconfig) c (setting)
    where s.setdatabase in (0, (select d.oid from pg_catalog.pg_database d where d.datname = current_database()))
)
select n.name, coalesce(nullif(current_setting(n.name, true), ''), max(s.value)) as value
from unnest(array['pgrst.db_schemas', 'pgrst.db_anon_role']) n (name)
left join stored s on s.name = n.name
group by n.name
having coalesce(nullif(current_setting(n.name, true), ''), max(s.value)) is not null
