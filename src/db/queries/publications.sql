select
    pubname::text as name,
    array_agg(schemaname::text order by schemaname, tablename) as schemas,
    array_agg(tablename::text order by schemaname, tablename) as tables
from pg_catalog.pg_publication_tables
group by pubname
