-- The bell and the audit trail.

-- Pattern: row-independent call wrapped.
alter policy notifications_own on notifications using ((select auth.uid()) = user_id);
alter policy notifications_mark on notifications
  using ((select auth.uid()) = user_id) with check ((select auth.uid()) = user_id);

-- Pattern: function of a column turned into a set known before the scan, in every partition.
alter policy audit_managers on audit_log
  using ((select has_role('manager')) and location_id = any (array(select my_locations())));
