-- Stock room.

-- Pattern: row-independent call wrapped.
alter policy categories_read on inventory_categories using ((select auth.role()) = 'authenticated');
alter policy suppliers_read on suppliers using ((select has_role('manager')));

-- Pattern: function of a column turned into a set known before the scan.
alter policy items_read on inventory_items using (location_id = any (array(select my_locations())));
alter policy items_add on inventory_items with check (location_id = any (array(select my_locations())));
alter policy items_change on inventory_items
  using (location_id = any (array(select my_locations())))
  with check (location_id = any (array(select my_locations())));

-- Pattern: correlated EXISTS turned into a set known before the scan.
alter policy transactions_read on inventory_transactions
  using (location_id = any (array(select ul.location_id from user_locations ul where ul.user_id = (select auth.uid()))));
alter policy transactions_add on inventory_transactions
  with check (user_id = (select auth.uid()) and location_id = any (array(select my_locations())));

-- Pattern: both branches have an index each, so that the planner can combine them.
alter policy orders_manage on purchase_orders
  using ((select has_role('manager')) and location_id = any (array(select my_locations())))
  with check ((select has_role('manager')) and location_id = any (array(select my_locations())));
alter policy orders_own on purchase_orders using (ordered_by = (select auth.uid()));

-- Pattern: the parent's visible keys, found once.
alter policy lines_of_orders on purchase_order_lines
  using (purchase_order_id = any (array(select po.id from purchase_orders po)));
