select
    a.attrelid as oid,
    a.attname::text as column,
    case x.grantee when 0 then 'public' else pg_get_userbyid(x.grantee)::text end as role,
    array_agg(distinct x.privilege_type order by x.privilege_type) as privileges
from pg_catalog.pg_attribute a
cross join lateral aclexplode(a.attacl) x
where a.attacl is not null and a.attnum > 0 and not a.attisdropped
group by a.attrelid, a.attname, x.grantee
