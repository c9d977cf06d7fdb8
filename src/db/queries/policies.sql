select
    p.polrelid as oid,
    p.polname::text as name,
    p.polpermissive as permissive,
    p.polcmd::text as command,
    array(
        select case r when 0 then 'public' else pg_get_userbyid(r)::text end
        from unnest(p.polroles) r
        order by 1
    ) as roles,
    pg_get_expr(p.polqual, p.polrelid) as using,
    pg_get_expr(p.polwithcheck, p.polrelid) as check
from pg_catalog.pg_policy p
order by p.polrelid, p.polname
