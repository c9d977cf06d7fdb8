select
    c.oid,
    case a.grantee when 0 then 'public' else pg_get_userbyid(a.grantee)::text end as role,
    array_agg(distinct a.privilege_type order by a.privilege_type) as privileges
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
cross join lateral (
    select x.grantee, x.privilege_type
    from aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) x
    union
    select x.grantee, x.privilege_type || ' (columns)'
    from pg_catalog.pg_attribute t, aclexplode(t.attacl) x
    where t.attrelid = c.oid and t.attacl is not null
) a
where c.relkind in ('r', 'p', 'v', 'm', 'f')
  and c.relpersistence <> 't'
  and n.nspname not like 'pg\_%'
  and n.nspname <> 'information_schema'
group by c.oid, a.grantee
