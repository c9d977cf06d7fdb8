-- L10 meetings: rocks, scorecard, to-dos, issues.

alter table eos_meetings enable row level security;
alter table eos_meeting_attendees enable row level security;
alter table eos_rocks enable row level security;
alter table eos_scorecard_metrics enable row level security;
alter table eos_scorecard_entries enable row level security;
alter table eos_todos enable row level security;
alter table eos_issues enable row level security;

-- Pattern: IN (set-returning function).
create policy meetings_staff on eos_meetings for select to authenticated using (location_id in (select my_locations()));

-- Pattern: child of a guarded parent, a correlated EXISTS that runs the parent's policy.
create policy attendees_of_meetings on eos_meeting_attendees for select to authenticated
  using (exists (select 1 from eos_meetings m where m.id = eos_meeting_attendees.meeting_id));

-- Pattern: unwrapped auth.uid() beside a function of a column for each row, and soft delete inside the policy.
create policy rocks_staff on eos_rocks for select to authenticated
  using (deleted_at is null and (owner_id = auth.uid() or user_can_access_location(location_id)));

-- Pattern: correlated EXISTS over the membership table.
create policy metrics_staff on eos_scorecard_metrics for select to authenticated
  using (exists (
    select 1 from user_locations ul
    where ul.location_id = eos_scorecard_metrics.location_id and ul.user_id = auth.uid()
  ));

-- Pattern: a branch without a column, called for each row, beside a correlated EXISTS.
create policy entries_staff on eos_scorecard_entries for select to authenticated
  using (
    is_admin()
    or exists (
      select 1 from user_locations ul
      where ul.location_id = eos_scorecard_entries.location_id and ul.user_id = auth.uid()
    )
  );

-- Pattern: unwrapped auth.uid() and current_setting() for each row.
create policy todos_mine_or_here on eos_todos for select to authenticated
  using (
    assignee_id = auth.uid()
    or (location_id = nullif(current_setting('app.location_id', true), '')::uuid and has_role('manager'))
  );

-- Pattern: IN (sub-select over the membership table).
create policy issues_staff on eos_issues for select to authenticated
  using (location_id in (select ul.location_id from user_locations ul where ul.user_id = auth.uid()));
