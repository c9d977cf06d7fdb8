-- Enums, domains, ranges and composite types; collations, operators, classes of operators and casts that users made.
select jsonb_build_object(
  'kind', 'type', 'schema', n.nspname, 'name', t.typname,
  'id', jsonb_build_array('pg_type'::regclass::oid::int8, t.oid::int8),
  'also', jsonb_build_array(jsonb_build_array('pg_type'::regclass::oid::int8, t.typarray::int8))
    || coalesce((select jsonb_agg(jsonb_build_array('pg_constraint'::regclass::oid::int8, k.oid::int8))
      from pg_constraint k where k.contypid = t.oid), '[]'),
  'facts', jsonb_strip_nulls(jsonb_build_object(
    'kind', t.typtype,
    'labels', (select string_agg(quote_literal(e.enumlabel), ', ' order by e.enumsortorder) from pg_enum e where e.enumtypid = t.oid),
    'base', case when t.typtype = 'd' then format_type(t.typbasetype, t.typtypmod) end,
    'not null', case when t.typtype = 'd' then t.typnotnull::text end,
    'default', t.typdefault,
    'constraints', (select string_agg(pg_get_constraintdef(k.oid), ' ' order by pg_get_constraintdef(k.oid))
      from pg_constraint k where k.contypid = t.oid and k.contype = 'c'),
    'range', (select concat_ws(' ', r.rngsubtype::regtype, r.rngsubopc, r.rngcanonical, r.rngsubdiff) from pg_range r
      where r.rngtypid = t.oid and r.rngsubopc < 16384),
    'input', case when t.typtype = 'b' then concat_ws(' ', t.typinput, t.typoutput) end,
    'attributes', (select string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' order by a.attnum)
      from pg_attribute a where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped))))::text
from pg_type t join pg_namespace n on n.oid = t.typnamespace left join pg_class c on c.oid = t.typrelid
where (t.typtype in ('e', 'd', 'r') or t.typtype = 'b' and t.typelem = 0 or c.relkind = 'c') and {own:pg_type:t.oid}
union all
select jsonb_build_object(
  'kind', 'collation', 'schema', n.nspname, 'name', o.collname,
  'id', jsonb_build_array('pg_collation'::regclass::oid::int8, o.oid::int8),
  'facts', jsonb_build_object('definition',
    (to_jsonb(o) - array['oid', 'collname', 'collnamespace', 'collowner', 'collversion'])::text))::text
from pg_collation o join pg_namespace n on n.oid = o.collnamespace where {own:pg_collation:o.oid}
union all
select jsonb_build_object(
  'kind', 'operator', 'schema', n.nspname, 'name', o.oprname,
  'part', concat_ws(', ', coalesce(nullif(o.oprleft, 0)::regtype::text, 'none'), coalesce(nullif(o.oprright, 0)::regtype::text, 'none')),
  'id', jsonb_build_array('pg_operator'::regclass::oid::int8, o.oid::int8),
  'facts', jsonb_build_object('definition', concat_ws('|', o.oprcode, o.oprresult::regtype, o.oprcanmerge, o.oprcanhash,
    nullif(o.oprcom, 0)::regoper, nullif(o.oprnegate, 0)::regoper)))::text
from pg_operator o join pg_namespace n on n.oid = o.oprnamespace where {own:pg_operator:o.oid}
union all
select jsonb_build_object(
  'kind', 'operator_class', 'schema', n.nspname, 'name', o.opcname, 'part', m.amname,
  'id', jsonb_build_array('pg_opclass'::regclass::oid::int8, o.oid::int8),
  'facts', jsonb_build_object('definition', concat_ws('|', o.opcintype::regtype, o.opcdefault, nullif(o.opckeytype, 0)::regtype,
    (select string_agg(concat_ws(' ', a.amopstrategy, a.amopopr::regoperator), ', ' order by a.amopstrategy, a.amopopr::regoperator::text)
      from pg_amop a where a.amopfamily = o.opcfamily),
    (select string_agg(concat_ws(' ', a.amprocnum, a.amproc::regprocedure), ', ' order by a.amprocnum, a.amproc::regprocedure::text)
      from pg_amproc a where a.amprocfamily = o.opcfamily))))::text
from pg_opclass o join pg_namespace n on n.oid = o.opcnamespace join pg_am m on m.oid = o.opcmethod where {own:pg_opclass:o.oid}
union all
select jsonb_build_object(
  'kind', 'cast', 'schema', '', 'name', c.castsource::regtype::text, 'part', c.casttarget::regtype::text,
  'id', jsonb_build_array('pg_cast'::regclass::oid::int8, c.oid::int8),
  'facts', jsonb_build_object('definition', concat_ws('|', nullif(c.castfunc, 0)::regprocedure, c.castcontext, c.castmethod)))::text
from pg_cast c
where c.oid >= 16384
  and not exists (select from pg_depend e where e.classid = 'pg_cast'::regclass and e.objid = c.oid and e.deptype = 'e')
