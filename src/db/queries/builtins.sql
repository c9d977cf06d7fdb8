select p.proname::text as name, bool_or(p.provolatile = 'v') as volatile
from pg_catalog.pg_proc p
where p.pronamespace = 'pg_catalog'::regnamespace and p.prokind = 'f' and p.provolatile <> 'i'
group by p.proname
