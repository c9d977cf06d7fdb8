-- EOS: weekly L10 meetings, quarterly rocks, the scorecard, and what came out of it.
create type meeting_status as enum ('scheduled', 'in_progress', 'concluded', 'cancelled');
create type rock_status as enum ('on_track', 'off_track', 'done', 'dropped');
create type todo_status as enum ('open', 'done', 'dropped');
create type issue_status as enum ('open', 'solved', 'parked');

create table eos_meetings (
  id uuid primary key default gen_random_uuid(),
  location_id uuid not null references locations (id),
  facilitator_id uuid not null references users (id),
  title text not null,
  status meeting_status not null default 'scheduled',
  scheduled_at timestamptz not null,
  concluded_at timestamptz,
  rating numeric(3, 1) check (rating between 1 and 10),
  agenda jsonb not null default '[]',
  created_at timestamptz not null default now()
);

create table eos_meeting_attendees (
  meeting_id uuid not null references eos_meetings (id) on delete cascade,
  user_id uuid not null references users (id),
  attended boolean not null default false,
  rating numeric(3, 1),
  primary key (meeting_id, user_id)
);

create table eos_rocks (
  id uuid primary key default gen_random_uuid(),
  location_id uuid not null references locations (id),
  owner_id uuid not null references users (id),
  title text not null,
  quarter date not null,
  status rock_status not null default 'on_track',
  milestones jsonb not null default '[]',
  due_on date not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz
);

create table eos_scorecard_metrics (
  id uuid primary key default gen_random_uuid(),
  location_id uuid not null references locations (id),
  owner_id uuid not null references users (id),
  name text not null,
  unit text not null default 'count',
  goal numeric(12, 2) not null,
  is_active boolean not null default true,
  created_at timestamptz not null default now()
);

create table eos_scorecard_entries (
  id uuid primary key default gen_random_uuid(),
  metric_id uuid not null references eos_scorecard_metrics (id) on delete cascade,
  location_id uuid not null references locations (id),
  entered_by uuid not null references users (id),
  week_of date not null,
  value numeric(12, 2) not null,
  note text,
  created_at timestamptz not null default now(),
  unique (metric_id, week_of)
);

create table eos_todos (
  id uuid primary key default gen_random_uuid(),
  meeting_id uuid references eos_meetings (id),
  location_id uuid not null references locations (id),
  assignee_id uuid not null references users (id),
  title text not null,
  status todo_status not null default 'open',
  due_on date not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create table eos_issues (
  id uuid primary key default gen_random_uuid(),
  meeting_id uuid references eos_meetings (id),
  location_id uuid not null references locations (id),
  raised_by uuid not null references users (id),
  title text not null,
  priority smallint not null default 3 check (priority between 1 and 5),
  status issue_status not null default 'open',
  tags text[] not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create trigger set_updated_at before update on eos_rocks for each row execute function set_updated_at();
create trigger set_updated_at before update on eos_todos for each row execute function set_updated_at();
create trigger set_updated_at before update on eos_issues for each row execute function set_updated_at();
