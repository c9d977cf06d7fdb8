select distinct t.relid as oid
from pg_catalog.pg_publication p
cross join lateral pg_get_publication_tables(p.pubname::text) t
where p.pubupdate or p.pubdelete
