-- Who works where. The membership tables that every other policy asks: each person sees their own rows.

alter table locations enable row level security;
alter table users enable row level security;
alter table user_locations enable row level security;
alter table user_roles enable row level security;

create policy locations_read on locations for select to authenticated using (true);

-- Pattern: row-independent function called for each row, and a FOR ALL policy that joins every SELECT.
create policy locations_admin on locations for all to authenticated using (is_admin()) with check (is_admin());

-- Pattern: unwrapped auth.uid().
create policy users_self on users for select to authenticated using (id = auth.uid());

-- Pattern: two unwrapped role checks in a second permissive policy.
create policy users_directory on users for select to authenticated
  using (deleted_at is null and (has_role('manager') or has_role('admin')));

-- Pattern: unwrapped auth.uid().
create policy user_locations_own on user_locations for select to authenticated using (user_id = auth.uid());

-- Pattern: unwrapped auth.uid(), constant on the left.
create policy user_roles_own on user_roles for select to authenticated using (auth.uid() = user_id);
