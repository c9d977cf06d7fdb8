-- A default that draws from a sequence depends on it; identity columns have no default.
select
    a.attrelid as oid,
    a.attname::text as column,
    n.nspname::text as schema,
    s.relname::text as name,
    pg_get_userbyid(s.relowner)::text as owner,
    array(
        select distinct case x.grantee when 0 then 'public' else pg_get_userbyid(x.grantee)::text end
        from aclexplode(coalesce(s.relacl, acldefault('s', s.relowner))) x
        where x.privilege_type in ('USAGE', 'UPDATE')
        order by 1
    ) as users
from pg_catalog.pg_attrdef f
join pg_catalog.pg_attribute a on a.attrelid = f.adrelid and a.attnum = f.adnum
join pg_catalog.pg_depend d
    on d.classid = 'pg_catalog.pg_attrdef'::regclass and d.objid = f.oid
    and d.refclassid = 'pg_catalog.pg_class'::regclass
join pg_catalog.pg_class s on s.oid = d.refobjid and s.relkind = 'S'
join pg_catalog.pg_namespace n on n.oid = s.relnamespace
order by a.attrelid, a.attname, n.nspname, s.relname
