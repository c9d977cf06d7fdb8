with recursive member (role, above) as (
    select member, roleid from pg_catalog.pg_auth_members
    union
    select member.role, m.roleid
    from member join pg_catalog.pg_auth_members m on m.member = member.above
),
becomes (role, above) as (
    select member, roleid from pg_catalog.pg_auth_members
    where set_option -- 16+
    union
    select b.role, m.roleid
    from becomes b join pg_catalog.pg_auth_members m on m.member = b.above
        and m.set_option -- 16+
)
select
    r.rolname::text as name,
    r.rolsuper as superuser,
    r.rolbypassrls as bypass_rls,
    r.rolcanlogin as login,
    r.rolinherit as inherit,
    r.rolconnlimit as connection_limit,
    coalesce(r.rolconfig, '{}') as config,
    coalesce(s.setconfig, '{}') as database_config,
    pg_has_role(current_user, r.oid, 'member') as settable, -- <16
    pg_has_role(current_user, r.oid, 'set') as settable, -- 16+
    array(
        select a.rolname::text
        from member join pg_catalog.pg_roles a on a.oid = member.above
        where member.role = r.oid
        order by 1
    ) as member_of,
    array(
        select a.rolname::text
        from becomes b join pg_catalog.pg_roles a on a.oid = b.above
        where b.role = r.oid
        order by 1
    ) as becomes
from pg_catalog.pg_roles r
left join pg_catalog.pg_db_role_setting s
    on s.setrole = r.oid
    and s.setdatabase = (select d.oid from pg_catalog.pg_database d where d.datname = current_database())
