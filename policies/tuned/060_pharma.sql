-- Visits of representatives, the formulary, and the authorisation of medication.

-- Pattern: row-independent call wrapped.
alter policy companies_read on pharma_companies using ((select auth.role()) = 'authenticated');
alter policy medications_read on medications using ((select auth.role()) = 'authenticated');

-- Pattern: the branch without a column is given one: every location for an admin, none otherwise.
alter policy appointments_staff on pharma_appointments
  using (
    location_id = any (array(select l.id from locations l where (select is_admin())))
    or location_id = any (array(select my_locations()))
  );

-- Pattern: the same, in two permissive policies that the planner combines.
alter policy authorizations_pharmacist on medication_authorizations
  using (location_id = any (array(select l.id from locations l where (select has_role('pharmacist')))))
  with check ((select has_role('pharmacist')));
alter policy authorizations_staff on medication_authorizations using (location_id = any (array(select my_locations())));
alter policy authorizations_request on medication_authorizations
  with check (requested_by = (select auth.uid()) and location_id = any (array(select my_locations())));

-- Pattern: left as it is. The screen asks for the events of one authorisation, and the parent's visible keys are
-- tens of thousands for a pharmacist: probing one parent is cheaper than collecting them.
