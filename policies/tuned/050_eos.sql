-- L10 meetings: rocks, scorecard, to-dos, issues.

-- Pattern: IN (sub-select) and correlated EXISTS turned into a set known before the scan.
alter policy meetings_staff on eos_meetings using (location_id = any (array(select my_locations())));
alter policy metrics_staff on eos_scorecard_metrics
  using (location_id = any (array(select ul.location_id from user_locations ul where ul.user_id = (select auth.uid()))));
alter policy issues_staff on eos_issues
  using (location_id = any (array(select ul.location_id from user_locations ul where ul.user_id = (select auth.uid()))));

-- Pattern: the parent's visible keys, found once.
alter policy attendees_of_meetings on eos_meeting_attendees
  using (meeting_id = any (array(select m.id from eos_meetings m)));

-- Pattern: both branches have an index each, so that the planner can combine them.
alter policy rocks_staff on eos_rocks
  using (deleted_at is null and (owner_id = (select auth.uid()) or location_id = any (array(select my_locations()))));

-- Pattern: the branch without a column is given one: every location where the caller is an admin, none otherwise.
alter policy entries_staff on eos_scorecard_entries
  using (
    location_id = any (array(select l.id from locations l where (select is_admin())))
    or location_id = any (array(select ul.location_id from user_locations ul where ul.user_id = (select auth.uid())))
  );

-- Pattern: row-independent calls wrapped.
alter policy todos_mine_or_here on eos_todos
  using (
    assignee_id = (select auth.uid())
    or (
      location_id = (select nullif(current_setting('app.location_id', true), '')::uuid)
      and (select has_role('manager'))
    )
  );
