-- The worst volatility of a name's overloads, and whether every one of them is leakproof.
select proname::text as name, max(provolatile)::text as volatility, bool_and(proleakproof) as leakproof
from pg_proc
where pronamespace = 'pg_catalog'::regnamespace
group by 1
order by 1
