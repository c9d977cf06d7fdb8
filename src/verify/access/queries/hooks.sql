-- Triggers, and rules other than those of views.
select jsonb_build_object(
  'kind', 'trigger', 'schema', n.nspname, 'name', c.relname, 'part', g.tgname,
  'id', jsonb_build_array('pg_trigger'::regclass::oid::int8, g.oid::int8),
  'facts', jsonb_strip_nulls(jsonb_build_object(
    'events', g.tgtype::text,
    'enabled', g.tgenabled,
    'function', g.tgfoid::regprocedure::text,
    'columns', (select string_agg(a.attname, ', ' order by a.attname) from pg_attribute a
      where a.attrelid = c.oid and a.attnum = any (g.tgattr)),
    'condition', substring(pg_get_triggerdef(g.oid) from ' WHEN \((.*)\) EXECUTE (?:FUNCTION|PROCEDURE) '),
    'arguments', encode(g.tgargs, 'hex'),
    'transition tables', nullif(concat_ws(', ', g.tgoldtable, g.tgnewtable), ''),
    'deferral', concat_ws(' ', g.tgdeferrable::text, g.tginitdeferred::text))),
  'trees', jsonb_strip_nulls(jsonb_build_object(
    'function', g.tgfoid::oid::text, 'columns', nullif(g.tgattr::text, ''), 'condition', md5({tree:g.tgqual}))))::text
from pg_trigger g join pg_class c on c.oid = g.tgrelid join pg_namespace n on n.oid = c.relnamespace
where not g.tgisinternal and c.relpersistence <> 't' and {own:pg_class:c.oid}
union all
select jsonb_build_object(
  'kind', 'rule', 'schema', n.nspname, 'name', c.relname, 'part', r.rulename,
  'id', jsonb_build_array('pg_rewrite'::regclass::oid::int8, r.oid::int8),
  'facts', jsonb_build_object('definition', pg_get_ruledef(r.oid), 'enabled', r.ev_enabled),
  'trees', jsonb_build_object('definition', md5(concat_ws('|', r.ev_type, r.is_instead, {tree:r.ev_qual}, {tree:r.ev_action}))))::text
from pg_rewrite r join pg_class c on c.oid = r.ev_class join pg_namespace n on n.oid = c.relnamespace
where r.rulename <> '_RETURN' and c.relpersistence <> 't' and {own:pg_class:c.oid}
