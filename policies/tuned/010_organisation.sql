-- Who works where.

-- Pattern: row-independent call wrapped, evaluated once a statement.
alter policy locations_admin on locations using ((select is_admin())) with check ((select is_admin()));
alter policy users_self on users using (id = (select auth.uid()));
alter policy users_directory on users
  using (deleted_at is null and ((select has_role('manager')) or (select has_role('admin'))));
alter policy user_locations_own on user_locations using (user_id = (select auth.uid()));
alter policy user_roles_own on user_roles using ((select auth.uid()) = user_id);
