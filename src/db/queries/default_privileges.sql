select
    pg_get_userbyid(d.defaclrole)::text as owner,
    n.nspname::text as schema,
    d.defaclobjtype::text as kind,
    case a.grantee when 0 then 'public' else pg_get_userbyid(a.grantee)::text end as grantee,
    array_agg(a.privilege_type order by a.privilege_type) as privileges
from pg_catalog.pg_default_acl d
left join pg_catalog.pg_namespace n on n.oid = d.defaclnamespace
cross join lateral aclexplode(d.defaclacl) a
group by d.defaclrole, n.nspname, d.defaclobjtype, a.grantee
order by 1, 2, 3, 4
