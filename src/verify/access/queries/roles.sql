-- Roles that this database names, those that become one of them, and those that no policy holds.
with recursive here as (select d.oid from pg_database d where d.datname = current_database()),
named as (
  select s.refobjid as oid from pg_shdepend s join here on s.dbid = here.oid where s.refclassid = 'pg_authid'::regclass
  union select r.oid from pg_roles r where r.rolsuper or r.rolbypassrls
  union select r.oid from pg_roles r where r.rolname in ('pg_read_all_data', 'pg_write_all_data', 'pg_database_owner', 'pg_maintain')
  union select s.setrole from pg_db_role_setting s join here on s.setdatabase = here.oid where s.setrole <> 0
),
concerned (oid) as (
  select oid from named
  union select m.member from pg_auth_members m join concerned c on c.oid = m.roleid
)
select jsonb_build_object(
  'kind', 'role', 'schema', '', 'name', r.rolname,
  'id', jsonb_build_array('pg_authid'::regclass::oid::int8, r.oid::int8),
  'facts', jsonb_build_object(
    'SUPERUSER', r.rolsuper::text, 'BYPASSRLS', r.rolbypassrls::text, 'INHERIT', r.rolinherit::text,
    'CREATEROLE', r.rolcreaterole::text, 'CREATEDB', r.rolcreatedb::text, 'REPLICATION', r.rolreplication::text,
    'LOGIN', r.rolcanlogin::text)
    || coalesce((select jsonb_object_agg('member of ' || x.name, x.how) from (
        select pg_get_userbyid(m.roleid)::text as name, concat_ws(' ',
          case when bool_or(m.admin_option) then 'admin' end,
          case when bool_or(coalesce((to_jsonb(m) ->> 'inherit_option')::boolean, r.rolinherit)) then 'inherit' end,
          case when bool_or(coalesce((to_jsonb(m) ->> 'set_option')::boolean, true)) then 'set' end) as how
        from pg_auth_members m where m.member = r.oid group by 1) x), '{}')
    || coalesce((select jsonb_object_agg('setting ' || split_part(s, '=', 1) || x.at, md5(s)) from (
        select d.setconfig, case d.setdatabase when 0 then '' else ' in this database' end as at
        from pg_db_role_setting d where d.setrole = r.oid and (d.setdatabase = 0 or d.setdatabase in (select oid from here))) x
        cross join lateral unnest(x.setconfig) s), '{}'),
  'mentions', coalesce((select jsonb_agg(jsonb_build_array('pg_authid'::regclass::oid::int8, m.member::int8))
    from pg_auth_members m where m.roleid = r.oid), '[]'))::text
from pg_roles r where r.oid in (select oid from concerned)
