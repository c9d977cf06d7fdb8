-- pg_settings leaves out what the role may not see.
select name, current_setting(name) as value
from pg_catalog.pg_settings
where name = any ('{autovacuum,block_size,default_statistics_target,effective_cache_size,effective_io_concurrency,
    jit,max_connections,max_parallel_workers_per_gather,max_worker_processes,plan_cache_mode,random_page_cost,
    row_security,seq_page_cost,server_version,shared_buffers,shared_preload_libraries,track_activity_query_size,
    track_counts,track_functions,track_io_timing,work_mem}')
