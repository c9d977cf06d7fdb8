-- pg_settings leaves out what the role may not see. Time limits are as a new session of this role has them: dbtune sets
-- its own while it reads.
select name,
    case when name like '%timeout'
        then case when reset_val = '0' then reset_val else reset_val || coalesce(unit, '') end
        else current_setting(name)
    end as value
from pg_catalog.pg_settings
where name = any ('{autovacuum,autovacuum_analyze_scale_factor,autovacuum_analyze_threshold,autovacuum_freeze_max_age,
    autovacuum_max_workers,autovacuum_multixact_freeze_max_age,autovacuum_vacuum_scale_factor,
    autovacuum_vacuum_threshold,block_size,checkpoint_timeout,default_statistics_target,effective_cache_size,
    effective_io_concurrency,hash_mem_multiplier,idle_in_transaction_session_timeout,idle_session_timeout,
    jit,lock_timeout,maintenance_work_mem,max_connections,max_parallel_workers_per_gather,max_slot_wal_keep_size,max_wal_size,
    max_worker_processes,pg_stat_statements.track,pg_stat_statements.track_planning,plan_cache_mode,random_page_cost,
    reserved_connections,row_security,seq_page_cost,server_version,shared_buffers,shared_preload_libraries,
    statement_timeout,superuser_reserved_connections,track_activity_query_size,track_counts,track_functions,
    track_io_timing,transaction_timeout,work_mem}')
