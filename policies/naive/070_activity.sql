-- The bell and the audit trail.

alter table notifications enable row level security;
alter table audit_log enable row level security;

-- Pattern: unwrapped auth.uid(), constant on the left.
create policy notifications_own on notifications for select to authenticated using (auth.uid() = user_id);

-- Pattern: unwrapped auth.uid() twice for each row that is updated.
create policy notifications_mark on notifications for update to authenticated
  using (auth.uid() = user_id) with check (auth.uid() = user_id);

-- Pattern: role check and function of a column for each row of every partition.
create policy audit_managers on audit_log for select to authenticated
  using (has_role('manager') and user_can_access_location(location_id));
