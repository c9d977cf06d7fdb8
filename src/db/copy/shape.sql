-- One JSON text a table. A name is written as [schema, name], which survives dots inside.
select json_build_object(
  'name', json_build_array(n.nspname, c.relname)::text,
  'columns', (
    select coalesce(json_agg(json_build_object(
      'name', a.attname,
      'type_name', base.typname,
      'full_type', format_type(a.atttypid, a.atttypmod),
      'array', whole.typcategory = 'A',
      'labels', (
        select coalesce(json_agg(e.enumlabel order by e.enumsortorder), '[]')
        from pg_catalog.pg_enum e where e.enumtypid = base.oid
      ),
      'not_null', a.attnotnull,
      'has_default', a.atthasdef or a.attidentity <> '',
      'generated', a.attgenerated <> ''
    ) order by a.attnum), '[]')
    from pg_catalog.pg_attribute a
    join pg_catalog.pg_type whole on whole.oid = a.atttypid
    left join pg_catalog.pg_type element on whole.typcategory = 'A' and element.oid = whole.typelem
    join pg_catalog.pg_type base on base.oid = coalesce(
      nullif(coalesce(element.typbasetype, whole.typbasetype), 0), element.oid, whole.oid)
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  ),
  'references', (
    select coalesce(json_agg(json_build_object(
      'name', k.conname,
      'columns', (
        select json_agg(a.attname order by u.place)
        from unnest(k.conkey) with ordinality u(attnum, place)
        join pg_catalog.pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.attnum
      ),
      'table', json_build_array(rn.nspname, r.relname)::text,
      'referenced', (
        select json_agg(a.attname order by u.place)
        from unnest(k.confkey) with ordinality u(attnum, place)
        join pg_catalog.pg_attribute a on a.attrelid = k.confrelid and a.attnum = u.attnum
      )
    ) order by k.conname), '[]')
    from pg_catalog.pg_constraint k
    join pg_catalog.pg_class r on r.oid = k.confrelid
    join pg_catalog.pg_namespace rn on rn.oid = r.relnamespace
    where k.conrelid = c.oid and k.contype = 'f'
  ),
  'unique', (
    select coalesce(json_agg((
      select json_agg(a.attname order by u.place)
      from unnest(string_to_array(i.indkey::text, ' ')::int2[]) with ordinality u(attnum, place)
      join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = u.attnum
      where u.place <= i.indnkeyatts
    ) order by i.indexrelid), '[]')
    from pg_catalog.pg_index i
    where i.indrelid = c.oid and i.indisunique and i.indpred is null and i.indexprs is null
  ),
  'checks', (
    select coalesce(json_agg(k.conname order by k.conname), '[]')
    from pg_catalog.pg_constraint k
    where k.conrelid = c.oid and k.contype in ('c', 'x')
  )
)::text
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p')
  and not c.relispartition
  and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  and not exists (
    select from pg_catalog.pg_depend d
    where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
  )
order by n.nspname, c.relname
