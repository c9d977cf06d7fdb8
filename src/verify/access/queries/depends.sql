-- Who refers to whom, as the server knows it.
select distinct jsonb_build_array(d.classid::int8, d.objid::int8, d.refclassid::int8, d.refobjid::int8)::text
from pg_depend d
where d.objid >= 16384 and (d.refobjid >= 16384 or d.refclassid = 'pg_namespace'::regclass) and d.deptype in ('n', 'a', 'i')
union
select jsonb_build_array(s.classid::int8, s.objid::int8, s.refclassid::int8, s.refobjid::int8)::text
from pg_shdepend s
where s.refclassid = 'pg_authid'::regclass
  and s.dbid = (select oid from pg_database where datname = current_database())
