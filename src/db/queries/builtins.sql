-- The worst volatility of a name's overloads; immutable functions are left out.
select proname::text as name, max(provolatile)::text as volatility
from pg_proc
where pronamespace = 'pg_catalog'::regnamespace and prokind = 'f' and provolatile <> 'i'
group by 1
order by 1
