-- The door.

-- Pattern: IN (set-returning function) turned into a set known before the scan.
alter policy kiosks_staff on checkin_kiosks using (location_id = any (array(select my_locations())));

-- Pattern: the claim is parsed once a statement.
alter policy kiosks_self on checkin_kiosks using (id = (select (auth.jwt() ->> 'kiosk_id')::uuid));
alter policy sessions_kiosk on checkin_sessions using (kiosk_id = (select (auth.jwt() ->> 'kiosk_id')::uuid));
alter policy sessions_start on checkin_sessions with check (kiosk_id = (select (auth.jwt() ->> 'kiosk_id')::uuid));

-- Pattern: function of a column turned into a set known before the scan.
alter policy sessions_staff on checkin_sessions using (location_id = any (array(select my_locations())));
alter policy sessions_change on checkin_sessions
  using (location_id = any (array(select my_locations())))
  with check (location_id = any (array(select my_locations())));
