-- Leakproofness comes from the type's default btree operator class, found as the server finds it:
-- domains stand for their base type; enums, arrays, ranges and composites share one polymorphic class;
-- others may borrow the class of a type they are binary-coercible to (varchar borrows text's).
with recursive
own as materialized (
    select c.oid
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'f')
      and c.relpersistence <> 't'
      and n.nspname not like 'pg\_%'
      and n.nspname <> 'information_schema'
),
used as materialized (
    select distinct a.atttypid as oid
    from pg_catalog.pg_attribute a join own on own.oid = a.attrelid
    where a.attnum > 0 and not a.attisdropped
),
base (oid, base) as (
    select oid, oid from used
    union all
    select b.oid, t.typbasetype
    from base b join pg_catalog.pg_type t on t.oid = b.base
    where t.typtype = 'd'
),
keyed as (
    select b.oid,
        case
            when t.typtype = 'e' then 'anyenum'::regtype
            when t.typtype = 'r' then 'anyrange'::regtype
            when t.typtype = 'm' then 'anymultirange'::regtype -- 14+
            when t.typtype = 'c' then 'record'::regtype
            when t.typlen = -1 and t.typelem <> 0 and t.typcategory = 'A' then 'anyarray'::regtype
            else t.oid
        end as key
    from base b join pg_catalog.pg_type t on t.oid = b.base
    where t.typtype <> 'd'
),
classed as (
    select distinct on (k.oid) k.oid, o.opcfamily, o.opcintype
    from keyed k
    join pg_catalog.pg_opclass o on o.opcdefault
    join pg_catalog.pg_am m on m.oid = o.opcmethod and m.amname = 'btree'
    join pg_catalog.pg_type t on t.oid = o.opcintype
    where o.opcintype = k.key
       or exists (
           select from pg_catalog.pg_cast c
           where c.castsource = k.key and c.casttarget = o.opcintype
             and c.castmethod = 'b' and c.castcontext = 'i'
       )
    order by k.oid, o.opcintype = k.key desc, t.typispreferred desc
),
leak as materialized (
    select c.oid,
        bool_and(p.proleakproof) filter (where a.amopstrategy = 3) as equality,
        bool_and(p.proleakproof) filter (where a.amopstrategy = 1) as ordering
    from classed c
    join pg_catalog.pg_amop a
        on a.amopfamily = c.opcfamily and a.amoplefttype = c.opcintype and a.amoprighttype = c.opcintype
        and a.amopstrategy in (1, 3)
    join pg_catalog.pg_operator o on o.oid = a.amopopr
    join pg_catalog.pg_proc p on p.oid = o.oprcode
    group by c.oid
)
select
    a.attrelid as oid,
    a.attname::text as name,
    format_type(a.atttypid, a.atttypmod) as type_name,
    t.typtype::text as type_kind,
    t.typcategory::text as type_category,
    a.attnotnull as not_null, -- <18
    a.attnotnull and not exists ( -- 18+
        select from pg_catalog.pg_constraint k -- 18+
        where k.conrelid = a.attrelid and k.contype = 'n' and k.conkey[1] = a.attnum and not k.convalidated -- 18+
    ) as not_null, -- 18+
    pg_get_expr(d.adbin, d.adrelid) as default,
    a.attgenerated <> '' as generated,
    a.attidentity <> '' as identity,
    case
        when a.attcollation = 0 then 'n'
        when a.attcollation = 'pg_catalog."default"'::regcollation then 'd'
        when (select c.collisdeterministic from pg_catalog.pg_collation c where c.oid = a.attcollation) then 's'
        else 'v'
    end as collation,
    l.equality,
    l.ordering
from pg_catalog.pg_attribute a
join own on own.oid = a.attrelid
join pg_catalog.pg_type t on t.oid = a.atttypid
left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
left join leak l on l.oid = a.atttypid
where a.attnum > 0 and not a.attisdropped
order by a.attrelid, a.attnum
