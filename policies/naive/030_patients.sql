-- Patients and what they are handed.

alter table insurance_providers enable row level security;
alter table patients enable row level security;
alter table patient_insurance enable row level security;
alter table handouts enable row level security;
alter table handout_deliveries enable row level security;

-- Pattern: unwrapped auth.role().
create policy providers_read on insurance_providers for select to authenticated using (auth.role() = 'authenticated');

-- Pattern: IN (sub-select over the membership table), and soft delete inside the policy.
create policy patients_staff on patients for select to authenticated
  using (
    deleted_at is null
    and location_id in (select ul.location_id from user_locations ul where ul.user_id = auth.uid())
  );

-- Pattern: a branch without a column (unwrapped claim) in a FOR ALL policy beside the SELECT policy:
-- the whole table is read and the claims are parsed for each row.
create policy patients_admin on patients for all to authenticated
  using ((auth.jwt() ->> 'app_role') = 'admin')
  with check ((auth.jwt() ->> 'app_role') = 'admin');

-- Pattern: function of a column for each row.
create policy patients_change on patients for update to authenticated
  using (deleted_at is null and user_can_access_location(location_id))
  with check (user_can_access_location(location_id));

-- Pattern: child of a guarded parent by IN (sub-select).
create policy insurance_of_patients on patient_insurance for select to authenticated
  using (patient_id in (select p.id from patients p));

-- Pattern: unwrapped auth.uid() beside a plain flag.
create policy handouts_read on handouts for select to authenticated
  using (deleted_at is null and (is_published or author_id = auth.uid()));

create policy handouts_public on handouts for select to anon using (deleted_at is null and is_published);

-- Pattern: child of a guarded parent, a correlated EXISTS that runs the parent's policies.
create policy deliveries_of_patients on handout_deliveries for select to authenticated
  using (exists (select 1 from patients p where p.id = handout_deliveries.patient_id));

-- Pattern: function of a column and an unwrapped auth.uid() for each inserted row.
create policy deliveries_add on handout_deliveries for insert to authenticated
  with check (sent_by = auth.uid() and user_can_access_location(location_id));
