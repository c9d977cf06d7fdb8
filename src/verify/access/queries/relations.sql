-- Tables and views: owner, guard, grants, parents and what a view shows.
select jsonb_build_object(
  'kind', case c.relkind when 'v' then 'view' when 'm' then 'materialized_view' else 'table' end,
  'schema', n.nspname, 'name', c.relname,
  'id', jsonb_build_array('pg_class'::regclass::oid::int8, c.oid::int8),
  'also', coalesce((select jsonb_agg(jsonb_build_array('pg_rewrite'::regclass::oid::int8, r.oid::int8))
      from pg_rewrite r where r.ev_class = c.oid and r.rulename = '_RETURN'), '[]')
    || jsonb_build_array(jsonb_build_array('pg_type'::regclass::oid::int8, c.reltype::int8)),
  'facts', jsonb_strip_nulls(jsonb_build_object(
    'owner', pg_get_userbyid(c.relowner),
    'kind', c.relkind,
    'row security', case when c.relkind in ('r', 'p') then case when c.relrowsecurity then 'on' else 'off' end end,
    'forced', case when c.relkind in ('r', 'p') then case when c.relforcerowsecurity then 'on' else 'off' end end,
    'foreign table', (select md5(concat_ws('|', s.srvname, f.ftoptions::text))
      from pg_foreign_table f join pg_foreign_server s on s.oid = f.ftserver where f.ftrelid = c.oid),
    'definition', case when c.relkind in ('v', 'm') then pg_get_viewdef(c.oid) end))
    || {grants}
    || coalesce((select jsonb_object_agg('grant ' || g.privilege_type || ' (' || g.attname || ') to ' || g.who, g.how)
      from (select a.attname, x.privilege_type,
          case x.grantee when 0 then 'PUBLIC' when c.relowner then '(owner)' else pg_get_userbyid(x.grantee)::text end as who,
          case when bool_or(x.is_grantable) then 'with grant option' else 'plain' end as how
        from pg_attribute a cross join lateral aclexplode(a.attacl) x
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attacl is not null
        group by 1, 2, 3) g), '{}')
    || coalesce((select jsonb_object_agg('child of ' || pn.nspname || '.' || p.relname, coalesce(pg_get_expr(c.relpartbound, c.oid), ''))
      from pg_inherits i join pg_class p on p.oid = i.inhparent join pg_namespace pn on pn.oid = p.relnamespace
      where i.inhrelid = c.oid), '{}')
    || coalesce((select jsonb_object_agg('option ' || split_part(o, '=', 1), lower(substr(o, strpos(o, '=') + 1)))
      from unnest(c.reloptions) o where c.relkind in ('v', 'm') and o ~ '^(security_|check_option)'), '{}'),
  'trees', jsonb_strip_nulls(jsonb_build_object(
    'definition', (select md5({tree:r.ev_action})
      from pg_rewrite r where r.ev_class = c.oid and r.rulename = '_RETURN'))))::text
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'f', 'v', 'm') and c.relpersistence <> 't' and c.relname <> '_sqlx_migrations'
  and {own:pg_class:c.oid}
