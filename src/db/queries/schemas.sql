select
    n.nspname::text as name,
    pg_get_userbyid(n.nspowner)::text as owner,
    array(
        select case a.grantee when 0 then 'public' else pg_get_userbyid(a.grantee)::text end
        from aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
        where a.privilege_type = 'USAGE'
        order by 1
    ) as usage,
    array(
        select case a.grantee when 0 then 'public' else pg_get_userbyid(a.grantee)::text end
        from aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
        where a.privilege_type = 'CREATE'
        order by 1
    ) as create
from pg_catalog.pg_namespace n
where n.nspname not like 'pg\_%' and n.nspname <> 'information_schema'
