-- For roles that may read pg_statistic itself: the view hides tables whose row-level security applies to the role.
select
    s.starelid as oid,
    a.attname::text as column,
    s.stadistinct::float8 as n_distinct,
    s.stanullfrac::float8 as null_fraction,
    s.stawidth as average_width,
    (case 3
        when s.stakind1 then s.stanumbers1[1]
        when s.stakind2 then s.stanumbers2[1]
        when s.stakind3 then s.stanumbers3[1]
        when s.stakind4 then s.stanumbers4[1]
        when s.stakind5 then s.stanumbers5[1]
    end)::float8 as correlation,
    coalesce(case 1
        when s.stakind1 then s.stanumbers1[1]
        when s.stakind2 then s.stanumbers2[1]
        when s.stakind3 then s.stanumbers3[1]
        when s.stakind4 then s.stanumbers4[1]
        when s.stakind5 then s.stanumbers5[1]
    end, 0)::float8 as top_frequency
from pg_catalog.pg_statistic s
join pg_catalog.pg_class c on c.oid = s.starelid
join pg_catalog.pg_attribute a on a.attrelid = s.starelid and a.attnum = s.staattnum and not a.attisdropped
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where s.stainherit = (c.relkind = 'p')
  and n.nspname not like 'pg\_%'
  and n.nspname <> 'information_schema'
