select
    c.oid,
    case a.grantee when 0 then 'public' else pg_get_userbyid(a.grantee)::text end as role,
    array_agg(distinct a.privilege_type order by a.privilege_type) as privileges
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
cross join lateral aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a
where c.relkind in ('r', 'p', 'v', 'm', 'f')
  and c.relpersistence <> 't'
  and n.nspname not like 'pg\_%'
  and n.nspname <> 'information_schema'
group by c.oid, a.grantee
