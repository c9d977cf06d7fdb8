select k.conrelid as oid, k.conname::text as name, pg_get_constraintdef(k.oid) as definition
from pg_catalog.pg_constraint k
where k.contype not in ('f', 't') and k.conrelid <> 0
