-- Stored policy expressions name each function they call by its oid, built-in ones too (pg_depend leaves those out).
with called as materialized (
    select distinct f.oid[1]::oid as oid
    from pg_catalog.pg_policy p
    cross join lateral unnest(array[p.polqual::text, p.polwithcheck::text]) e (tree)
    cross join lateral regexp_matches(e.tree, ':funcid (\d+)', 'g') f (oid)
)
select
    p.oid,
    n.nspname::text as schema,
    p.proname::text as name,
    pg_get_function_identity_arguments(p.oid) as arguments,
    array(
        select format_type(u.type, null)
        from unnest(p.proargtypes::oid[]) with ordinality u (type, position)
        order by u.position
    ) as argument_types,
    array(
        select coalesce(p.proargnames[u.position], '')
        from unnest(coalesce(p.proargmodes::text[], array_fill('i'::text, array[p.pronargs::int])))
            with ordinality u (mode, position)
        where u.mode in ('i', 'b', 'v')
        order by u.position
    ) as argument_names,
    format_type(p.prorettype, null) as returns,
    p.proretset as returns_set,
    l.lanname::text as language,
    p.provolatile::text as volatility,
    p.proparallel::text as parallel,
    p.proleakproof as leakproof,
    p.proisstrict as strict,
    p.prosecdef as security_definer,
    pg_get_userbyid(p.proowner)::text as owner,
    coalesce(p.proconfig, '{}') as config,
    case
        when l.lanname in ('c', 'internal') then ''
        when p.prosqlbody is not null then pg_get_function_sqlbody(p.oid) -- 14+
        else p.prosrc
    end as body,
    array(
        select case a.grantee when 0 then 'public' else pg_get_userbyid(a.grantee)::text end
        from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
        where a.privilege_type = 'EXECUTE'
        order by 1
    ) as executors,
    e.extname::text as extension,
    p.pronargdefaults::int as defaults,
    p.provariadic <> 0 as variadic,
    coalesce(p.proargmodes::text[] && array['o', 'b', 't'], false) as outputs,
    exists (
        select from pg_catalog.pg_type t
        where t.typtype = 'p' and t.oid = any (array[p.prorettype] || p.proargtypes::oid[])
          and t.typname not in ('void', 'trigger', 'event_trigger', 'record')
    ) as polymorphic
from pg_catalog.pg_proc p
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
join pg_catalog.pg_language l on l.oid = p.prolang
left join pg_catalog.pg_depend d
    on d.classid = 'pg_catalog.pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'
left join pg_catalog.pg_extension e on e.oid = d.refobjid
where p.prokind = 'f'
  and (p.oid in (select oid from called)
       or (n.nspname not like 'pg\_%' and n.nspname <> 'information_schema'))
order by n.nspname, p.proname, p.oid
