-- Types that an equality of another schema takes: which operator `=` means for them depends on the search path.
select distinct format_type(t.oid, null) as type
from pg_catalog.pg_operator o
join pg_catalog.pg_namespace n on n.oid = o.oprnamespace
cross join lateral unnest(array[o.oprleft, o.oprright]) t (oid)
where n.nspname <> 'pg_catalog' and o.oprname in ('=', '<>') and t.oid <> 0
order by 1
