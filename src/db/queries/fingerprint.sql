-- Changes when another session changes what the other queries read. Temporary tables do not count.
-- ANALYZE and VACUUM update pg_class in place and leave xmin alone, so they do not count either.
with own as materialized (
    select c.oid, c.xmin, c.ctid
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relpersistence <> 't'
      and n.nspname not like 'pg\_%'
      and n.nspname <> 'information_schema'
)
select concat_ws('/',
    (select count(*) || ':' || coalesce(sum(hashtext(xmin::text || ctid::text)), 0) from own),
    (select count(*) || ':' || coalesce(sum(hashtext(a.xmin::text || a.ctid::text)), 0)
     from pg_catalog.pg_attribute a join own on own.oid = a.attrelid where a.attnum > 0),
    (select count(*) || ':' || coalesce(sum(hashtext(xmin::text || ctid::text)), 0) from pg_catalog.pg_policy),
    (select count(*) || ':' || coalesce(sum(hashtext(i.xmin::text || i.ctid::text)), 0)
     from pg_catalog.pg_index i join own on own.oid = i.indrelid),
    (select count(*) || ':' || coalesce(sum(hashtext(xmin::text || ctid::text)), 0)
     from pg_catalog.pg_constraint where conrelid in (select oid from own)),
    (select count(*) || ':' || coalesce(sum(hashtext(xmin::text || ctid::text)), 0)
     from pg_catalog.pg_proc where oid >= 16384),
    (select count(*) || ':' || coalesce(sum(hashtext(xmin::text || ctid::text)), 0) from pg_catalog.pg_auth_members),
    (select count(*) || ':' || coalesce(sum(hashtext(xmin::text || ctid::text)), 0) from pg_catalog.pg_namespace
     where nspname not like 'pg\_%'),
    (select count(*) || ':' || coalesce(sum(hashtext(xmin::text || ctid::text)), 0)
     from pg_catalog.pg_rewrite where oid >= 16384),
    (select count(*) || ':' || coalesce(sum(hashtext(xmin::text || ctid::text)), 0)
     from pg_catalog.pg_trigger where tgrelid in (select oid from own)),
    (select count(*) || ':' || coalesce(sum(hashtext(xmin::text || ctid::text)), 0) from pg_catalog.pg_default_acl),
    (select count(*) || ':' || coalesce(sum(hashtext(xmin::text || ctid::text)), 0) from pg_catalog.pg_publication_rel)
) as fingerprint
