select jsonb_build_object(
  'kind', 'function', 'schema', n.nspname, 'name', p.proname, 'part', pg_get_function_identity_arguments(p.oid),
  'id', jsonb_build_array('pg_proc'::regclass::oid::int8, p.oid::int8),
  'facts', jsonb_strip_nulls(jsonb_build_object(
    'owner', pg_get_userbyid(p.proowner),
    'kind', p.prokind,
    'language', l.lanname,
    'arguments', pg_get_function_arguments(p.oid),
    'result', pg_get_function_result(p.oid),
    'set', case when p.proretset or t.typtype in ('c', 'p') and t.typname <> 'void' then 'rows' else 'scalar' end,
    'volatility', p.provolatile,
    'strict', p.proisstrict::text,
    'leakproof', p.proleakproof::text,
    'parallel', p.proparallel,
    'security', case when p.prosecdef then 'definer' else 'invoker' end,
    'settings', (select string_agg(s, E'\n' order by s) from unnest(p.proconfig) s),
    'body', case when {sqlbody} is null then p.prosrc || coalesce(E'\n' || p.probin, '') else pg_get_functiondef(p.oid) end,
    'aggregate', (select concat_ws('|', g.aggkind, g.aggtransfn, g.aggfinalfn, g.aggcombinefn, g.aggtranstype::regtype, g.agginitval,
        g.aggmtransfn, g.aggminvtransfn, g.aggmfinalfn, g.aggsortop::regoper)
      from pg_aggregate g where g.aggfnoid = p.oid)))
    || {grants},
  'trees', jsonb_strip_nulls(jsonb_build_object(
    'arguments', md5(concat_ws('|', p.proargtypes, p.proallargtypes, p.proargmodes::text, p.proargnames::text,
      {tree:p.proargdefaults})),
    'result', p.prorettype::text,
    'body', md5(p.prosrc || {tree:({sqlbody})}))))::text
from pg_proc p
join pg_namespace n on n.oid = p.pronamespace
join pg_language l on l.oid = p.prolang
join pg_type t on t.oid = p.prorettype
where {own:pg_proc:p.oid}
