select
    checkpoints_timed as timed, -- <17
    checkpoints_req as requested, -- <17
    buffers_checkpoint as buffers_written -- <17
from pg_catalog.pg_stat_bgwriter -- <17
    num_timed as timed, -- 17+
    num_requested as requested, -- 17+
    buffers_written -- 17+
from pg_catalog.pg_stat_checkpointer -- 17+
