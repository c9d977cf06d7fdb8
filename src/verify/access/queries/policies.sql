select jsonb_build_object(
  'kind', 'policy', 'schema', n.nspname, 'name', c.relname, 'part', p.polname,
  'id', jsonb_build_array('pg_policy'::regclass::oid::int8, p.oid::int8),
  'facts', jsonb_strip_nulls(jsonb_build_object(
    'command', p.polcmd,
    'kind', case when p.polpermissive then 'permissive' else 'restrictive' end,
    'roles', (select string_agg(r.name, ', ' order by r.name) from (
      select case o when 0 then 'PUBLIC' else pg_get_userbyid(o)::text end as name from unnest(p.polroles) o) r),
    'USING', pg_get_expr(p.polqual, p.polrelid),
    'WITH CHECK', pg_get_expr(p.polwithcheck, p.polrelid))),
  'trees', jsonb_strip_nulls(jsonb_build_object(
    'USING', md5({tree:p.polqual}), 'WITH CHECK', md5({tree:p.polwithcheck}))))::text
from pg_policy p join pg_class c on c.oid = p.polrelid join pg_namespace n on n.oid = c.relnamespace
where {own:pg_class:c.oid}
