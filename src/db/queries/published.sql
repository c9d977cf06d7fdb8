select distinct t.relid as oid
from pg_catalog.pg_publication p
cross join lateral pg_get_publication_tables(p.pubname) t
where p.pubupdate or p.pubdelete
