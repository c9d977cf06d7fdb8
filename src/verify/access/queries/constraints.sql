-- What bounds the rows that can exist.
select jsonb_build_object(
  'kind', 'constraint', 'schema', n.nspname, 'name', c.relname, 'part', k.conname,
  'id', jsonb_build_array('pg_constraint'::regclass::oid::int8, k.oid::int8),
  'facts', jsonb_strip_nulls(jsonb_build_object(
    'definition', pg_get_constraintdef(k.oid),
    'columns', (select string_agg(a.attname, ', ' order by a.attnum) from pg_attribute a
      where a.attrelid = k.conrelid and a.attnum = any (k.conkey)),
    'follows', case when k.contype = 'f' then nullif(concat_ws(', ',
      case k.confdeltype when 'c' then 'delete cascades' when 'n' then 'delete sets null' when 'd' then 'delete sets default' end,
      case k.confupdtype when 'c' then 'update cascades' when 'n' then 'update sets null' when 'd' then 'update sets default' end), '') end)),
  'trees', jsonb_build_object(
    'definition', md5(concat_ws('|', k.contype, k.conkey::text, k.confrelid, k.confkey::text, {tree:k.conbin}, k.condeferrable,
      k.condeferred, k.confupdtype, k.confdeltype, k.confmatchtype, k.convalidated, k.conexclop::text, k.conpfeqop::text,
      to_jsonb(k) ->> 'conenforced', to_jsonb(k) ->> 'confdelsetcols', to_jsonb(k) ->> 'conperiod')),
    'columns', coalesce(k.conkey::text, '')))::text
from pg_constraint k join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace
where k.contype in ('c', 'u', 'p', 'x', 'f') and c.relpersistence <> 't' and c.relname <> '_sqlx_migrations'
  and k.conparentid = 0 and {own:pg_class:c.oid}
union all
select jsonb_build_object(
  'kind', 'index', 'schema', n.nspname, 'name', c.relname, 'part', x.relname,
  'id', jsonb_build_array('pg_class'::regclass::oid::int8, x.oid::int8),
  'facts', jsonb_build_object('definition', regexp_replace(pg_get_indexdef(x.oid), '^.*? USING ', '')),
  'trees', jsonb_build_object('definition', md5(concat_ws('|', i.indkey, i.indclass, i.indcollation,
    {tree:i.indexprs}, {tree:i.indpred}, to_jsonb(i) ->> 'indnullsnotdistinct'))))::text
from pg_index i join pg_class x on x.oid = i.indexrelid join pg_class c on c.oid = i.indrelid
join pg_namespace n on n.oid = c.relnamespace
where i.indisunique and c.relkind in ('r', 'p', 'm') and c.relpersistence <> 't' and c.relname <> '_sqlx_migrations'
  and not exists (select from pg_constraint k where k.conindid = x.oid and k.contype in ('p', 'u', 'x'))
  and not x.relispartition and {own:pg_class:c.oid}
