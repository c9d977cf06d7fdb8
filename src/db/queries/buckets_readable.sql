-- One row where there are buckets and this role sees all of them.
select c.oid
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'storage' and c.relname = 'buckets' and c.relkind = 'r'
  and has_schema_privilege(n.oid, 'USAGE') and has_table_privilege(c.oid, 'SELECT') and not row_security_active(c.oid)
  and 2 = (
      select count(*)
      from pg_catalog.pg_attribute a
      where a.attrelid = c.oid and not a.attisdropped
        and (a.attname, a.atttypid) in (('id', 'text'::regtype), ('public', 'boolean'::regtype))
  )
  and exists (
      select from pg_catalog.pg_policy p
      where p.polrelid = (
          select o.oid from pg_catalog.pg_class o where o.relnamespace = n.oid and o.relname = 'objects'
      )
  )
