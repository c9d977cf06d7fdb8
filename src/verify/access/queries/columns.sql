-- Columns of tables: what an INSERT makes of a row depends on them.
select jsonb_build_object(
  'kind', 'columns', 'schema', n.nspname, 'name', c.relname,
  'id', jsonb_build_array('pg_attribute'::regclass::oid::int8, c.oid::int8),
  'also', coalesce((select jsonb_agg(jsonb_build_array('pg_attrdef'::regclass::oid::int8, d.oid::int8))
    from pg_attrdef d where d.adrelid = c.oid), '[]'),
  'facts', coalesce(jsonb_object_agg('column ' || a.attname, concat_ws(' ',
      format_type(a.atttypid, a.atttypmod),
      case when a.attcollation <> t.typcollation then 'collate ' || a.attcollation::regcollation::text end,
      case when a.attnotnull then 'not null' end,
      case a.attidentity when 'a' then 'identity always' when 'd' then 'identity by default' end,
      case a.attgenerated when '' then 'default' when 's' then 'generated stored' else 'generated virtual' end
        || ' ' || pg_get_expr(d.adbin, d.adrelid))) filter (where a.attname is not null), '{}'),
  'trees', coalesce(jsonb_object_agg('column ' || a.attname, a.attnum || ':' || md5(concat_ws('|',
      a.atttypid, a.atttypmod, a.attcollation, a.attnotnull, a.attidentity, a.attgenerated,
      {tree:d.adbin}))) filter (where a.attname is not null), '{}'))::text
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
left join pg_type t on t.oid = a.atttypid
left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where c.relkind in ('r', 'p', 'f') and c.relpersistence <> 't' and c.relname <> '_sqlx_migrations'
  and {own:pg_class:c.oid}
group by n.nspname, c.relname, c.oid
