-- The door: staff watch the waiting room, a kiosk sees its own sessions.

alter table checkin_kiosks enable row level security;
alter table checkin_sessions enable row level security;

-- Pattern: IN (set-returning function).
create policy kiosks_staff on checkin_kiosks for select to authenticated using (location_id in (select my_locations()));

-- Pattern: unwrapped claim.
create policy kiosks_self on checkin_kiosks for select to anon using (id = (auth.jwt() ->> 'kiosk_id')::uuid);

-- Pattern: security-definer function of a column, called for each row.
create policy sessions_staff on checkin_sessions for select to authenticated using (user_can_access_location(location_id));

-- Pattern: the same function twice for each row that is updated.
create policy sessions_change on checkin_sessions for update to authenticated
  using (user_can_access_location(location_id)) with check (user_can_access_location(location_id));

-- Pattern: unwrapped claim, parsed for each row.
create policy sessions_kiosk on checkin_sessions for select to anon using (kiosk_id = (auth.jwt() ->> 'kiosk_id')::uuid);

create policy sessions_start on checkin_sessions for insert to anon
  with check (kiosk_id = (auth.jwt() ->> 'kiosk_id')::uuid);
