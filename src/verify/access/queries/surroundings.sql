-- Schemas, the database's settings, default privileges, extensions, publications, event triggers.
select jsonb_build_object(
  'kind', 'schema', 'schema', '', 'name', n.nspname,
  'id', jsonb_build_array('pg_namespace'::regclass::oid::int8, n.oid::int8),
  'facts', jsonb_build_object('owner', pg_get_userbyid(n.nspowner)) || {grants})::text
from pg_namespace n where {own:pg_namespace:n.oid}
union all
select jsonb_build_object(
  'kind', 'database', 'schema', '', 'name', '',
  'id', jsonb_build_array('pg_database'::regclass::oid::int8, 0),
  'facts', coalesce((select jsonb_object_agg('setting ' || split_part(s, '=', 1), md5(substr(s, strpos(s, '=') + 1)))
    from pg_db_role_setting d cross join lateral unnest(d.setconfig) s
    where d.setrole = 0 and d.setdatabase = (select oid from pg_database where datname = current_database())), '{}'))::text
union all
select jsonb_build_object(
  'kind', 'default_privileges', 'schema', coalesce(n.nspname, ''), 'name', pg_get_userbyid(d.defaclrole), 'part',
  case d.defaclobjtype when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'functions' when 'T' then 'types'
    when 'n' then 'schemas' else d.defaclobjtype::text end,
  'id', jsonb_build_array('pg_default_acl'::regclass::oid::int8, d.oid::int8),
  'facts', coalesce((select jsonb_object_agg('grant ' || x.privilege_type || ' to ' || x.who, x.how) from (
      select a.privilege_type,
        case a.grantee when 0 then 'PUBLIC' when d.defaclrole then '(owner)' else pg_get_userbyid(a.grantee)::text end as who,
        case when bool_or(a.is_grantable) then 'with grant option' else 'plain' end as how
      from aclexplode(d.defaclacl) a group by 1, 2) x), '{}'))::text
from pg_default_acl d left join pg_namespace n on n.oid = d.defaclnamespace
union all
select jsonb_build_object(
  'kind', 'extension', 'schema', '', 'name', e.extname,
  'id', jsonb_build_array('pg_extension'::regclass::oid::int8, e.oid::int8),
  'facts', jsonb_build_object('version', e.extversion, 'schema', e.extnamespace::regnamespace::text))::text
from pg_extension e
union all
select jsonb_build_object(
  'kind', 'publication', 'schema', '', 'name', p.pubname,
  'id', jsonb_build_array('pg_publication'::regclass::oid::int8, p.oid::int8),
  'facts', jsonb_build_object(
    'operations', (to_jsonb(p) - array['oid', 'pubname', 'pubowner'])::text)
    || coalesce((select jsonb_object_agg('publishes ' || n.nspname || '.' || c.relname,
        concat_ws(' ', to_jsonb(r) ->> 'prattrs', md5(to_jsonb(r) ->> 'prqual')))
      from pg_publication_rel r join pg_class c on c.oid = r.prrelid join pg_namespace n on n.oid = c.relnamespace
      where r.prpubid = p.oid), '{}') || {schemas})::text
from pg_publication p
union all
select jsonb_build_object(
  'kind', 'event_trigger', 'schema', '', 'name', e.evtname,
  'id', jsonb_build_array('pg_event_trigger'::regclass::oid::int8, e.oid::int8),
  'facts', jsonb_build_object('definition', concat_ws('|', e.evtevent, e.evtfoid::regprocedure, array_to_string(e.evttags, ',')),
    'enabled', e.evtenabled))::text
from pg_event_trigger e
where not exists (select from pg_depend x where x.classid = 'pg_event_trigger'::regclass and x.objid = e.oid and x.deptype = 'e')
