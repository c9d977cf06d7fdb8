-- Visits of representatives, the formulary, and the authorisation of medication.

alter table pharma_companies enable row level security;
alter table pharma_reps enable row level security;
alter table pharma_appointments enable row level security;
alter table medications enable row level security;
alter table medication_authorizations enable row level security;
alter table authorization_events enable row level security;

-- Pattern: unwrapped auth.role().
create policy companies_read on pharma_companies for select to authenticated using (auth.role() = 'authenticated');

-- Pattern: soft delete inside the policy, and nothing else.
create policy reps_read on pharma_reps for select to authenticated using (deleted_at is null);

-- Pattern: a branch without a column, called for each row, beside a function of a column.
create policy appointments_staff on pharma_appointments for select to authenticated
  using (is_admin() or user_can_access_location(location_id));

-- Pattern: unwrapped auth.role().
create policy medications_read on medications for select to authenticated using (auth.role() = 'authenticated');

-- Pattern: a FOR ALL policy without a column, called for each row ...
create policy authorizations_pharmacist on medication_authorizations for all to authenticated
  using (has_role('pharmacist')) with check (has_role('pharmacist'));

-- ... beside a SELECT policy with a function of a column.
create policy authorizations_staff on medication_authorizations for select to authenticated
  using (user_can_access_location(location_id));

-- Pattern: function of a column and an unwrapped auth.uid() for each inserted row.
create policy authorizations_request on medication_authorizations for insert to authenticated
  with check (requested_by = auth.uid() and user_can_access_location(location_id));

-- Pattern: child of a guarded parent, a correlated EXISTS that runs the parent's policies.
create policy events_of_authorizations on authorization_events for select to authenticated
  using (exists (
    select 1 from medication_authorizations a where a.id = authorization_events.authorization_id
  ));
