-- Patients and what they are handed.

-- Pattern: row-independent call wrapped.
alter policy providers_read on insurance_providers using ((select auth.role()) = 'authenticated');

-- Pattern: IN (sub-select) turned into a set known before the scan; the soft delete lets the index be partial.
alter policy patients_staff on patients
  using (
    deleted_at is null
    and location_id = any (array(select ul.location_id from user_locations ul where ul.user_id = (select auth.uid())))
  );

-- Pattern: the branch without a column is given one. Everybody can read every location, and a patient always has
-- one, so that an admin still sees the same rows and everybody else's index stays in reach.
alter policy patients_admin on patients
  using (location_id = any (array(select l.id from locations l where (select (auth.jwt() ->> 'app_role') = 'admin'))))
  with check ((select (auth.jwt() ->> 'app_role') = 'admin'));

alter policy patients_change on patients
  using (deleted_at is null and location_id = any (array(select my_locations())))
  with check (location_id = any (array(select my_locations())));

-- Pattern: the parent's visible keys, found once.
alter policy insurance_of_patients on patient_insurance using (patient_id = any (array(select p.id from patients p)));
alter policy handouts_read on handouts
  using (deleted_at is null and (is_published or author_id = (select auth.uid())));
alter policy deliveries_of_patients on handout_deliveries using (patient_id = any (array(select p.id from patients p)));
alter policy deliveries_add on handout_deliveries
  with check (sent_by = (select auth.uid()) and location_id = any (array(select my_locations())));
