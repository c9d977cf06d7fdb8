-- Stock room.

alter table inventory_categories enable row level security;
alter table inventory_items enable row level security;
alter table inventory_transactions enable row level security;
alter table purchase_orders enable row level security;
alter table purchase_order_lines enable row level security;

-- Pattern: unwrapped auth.role().
create policy categories_read on inventory_categories for select to authenticated using (auth.role() = 'authenticated');

-- Pattern: a policy on a table where row-level security was never switched on: it guards nothing.
create policy suppliers_read on suppliers for select to authenticated using (has_role('manager'));

-- Pattern: security-definer function of a column, called for each row.
create policy items_read on inventory_items for select to authenticated using (user_can_access_location(location_id));

-- Pattern: the same function in WITH CHECK, called for each row of a bulk insert.
create policy items_add on inventory_items for insert to authenticated with check (user_can_access_location(location_id));

-- Pattern: the same function twice for each row that is updated.
create policy items_change on inventory_items for update to authenticated
  using (user_can_access_location(location_id)) with check (user_can_access_location(location_id));

-- Pattern: correlated EXISTS over the membership table, itself guarded by a policy.
create policy transactions_read on inventory_transactions for select to authenticated
  using (exists (
    select 1 from user_locations ul
    where ul.location_id = inventory_transactions.location_id and ul.user_id = auth.uid()
  ));

-- Pattern: function of a column and an unwrapped auth.uid() for each inserted row.
create policy transactions_add on inventory_transactions for insert to authenticated
  with check (user_id = auth.uid() and user_can_access_location(location_id));

-- Pattern: FOR ALL policy with a role check and a function of a column for each row ...
create policy orders_manage on purchase_orders for all to authenticated
  using (has_role('manager') and user_can_access_location(location_id))
  with check (has_role('manager') and user_can_access_location(location_id));

-- ... beside a SELECT policy, so that every read evaluates both.
create policy orders_own on purchase_orders for select to authenticated using (ordered_by = auth.uid());

-- Pattern: child of a guarded parent, a correlated EXISTS that runs the parent's policy.
create policy lines_of_orders on purchase_order_lines for select to authenticated
  using (exists (select 1 from purchase_orders po where po.id = purchase_order_lines.purchase_order_id));
