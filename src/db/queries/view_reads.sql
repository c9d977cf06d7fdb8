select distinct w.ev_class as oid, n.nspname::text as schema, c.relname::text as name
from pg_catalog.pg_rewrite w
join pg_catalog.pg_depend d
    on d.classid = 'pg_catalog.pg_rewrite'::regclass and d.objid = w.oid
    and d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjid <> w.ev_class
join pg_catalog.pg_class c on c.oid = d.refobjid and c.relkind in ('r', 'p', 'v', 'm', 'f')
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where w.rulename = '_RETURN'
order by w.ev_class, schema, name
