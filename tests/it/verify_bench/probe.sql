-- One statement as one role: what came of it, and what it left behind where `look` asks. Nothing stays.
create function pg_temp.attempt(who text, said text, look text, is_read boolean) returns text language plpgsql as $$
declare
  came text;
  left_behind text;
  rows bigint;
begin
  begin
    perform set_config('role', who, true);
    if is_read then
      execute said into came;
    else
      execute said;
      get diagnostics rows = row_count;
      came := rows || ' rows';
    end if;
    perform set_config('role', 'none', true);
    if look is not null then
      execute look into left_behind;
      came := came || ' ' || coalesce(left_behind, '');
    end if;
    raise exception using errcode = 'ZZ001', message = coalesce(came, 'null');
  exception
    when sqlstate 'ZZ001' then return sqlerrm;
    when others then return 'error ' || sqlstate;
  end;
end
$$;

-- Statements in turn, each on the data as it was; first `prepare` makes the data so, without triggers.
create function pg_temp.sweep(who text, prepare text, said text[], look text[], is_read boolean[]) returns text[] language plpgsql as $$
declare
  came text[] := '{}';
begin
  begin
    if prepare is not null then
      perform set_config('session_replication_role', 'replica', true);
      execute prepare;
      perform set_config('session_replication_role', 'origin', true);
    end if;
    for i in 1..cardinality(said) loop
      came := came || pg_temp.attempt(who, said[i], look[i], is_read[i]);
    end loop;
    raise exception using errcode = 'ZZ002';
  exception
    when sqlstate 'ZZ002' then return came;
    -- What the state of the data is made of is gone.
    when others then return array_fill('error ' || sqlstate, array[cardinality(said)]);
  end;
end
$$;
