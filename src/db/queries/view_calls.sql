select distinct w.ev_class as oid, n.nspname::text as schema, p.proname::text as name
from pg_catalog.pg_rewrite w
join pg_catalog.pg_depend d
    on d.classid = 'pg_catalog.pg_rewrite'::regclass and d.objid = w.oid
    and d.refclassid = 'pg_catalog.pg_proc'::regclass
join pg_catalog.pg_proc p on p.oid = d.refobjid
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where w.rulename = '_RETURN' and n.nspname <> 'pg_catalog'
order by w.ev_class, schema, name
