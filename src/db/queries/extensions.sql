-- After pg_upgrade the files may not know the installed version: then nothing is said of another.
select e.extname::text as name, e.extversion as version, n.nspname::text as schema, v.default_version as available
from pg_catalog.pg_extension e
join pg_catalog.pg_namespace n on n.oid = e.extnamespace
left join pg_catalog.pg_available_extensions v
    on v.name = e.extname
    and exists (
        select from pg_catalog.pg_available_extension_versions k
        where k.name = e.extname and k.version = e.extversion
    )
