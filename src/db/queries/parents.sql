-- Plain inheritance; partitions know their parent from elsewhere.
select i.inhrelid as oid, i.inhparent as parent
from pg_catalog.pg_inherits i
join pg_catalog.pg_class c on c.oid = i.inhrelid
where c.relkind in ('r', 'f') and not c.relispartition
order by i.inhrelid, i.inhseqno
