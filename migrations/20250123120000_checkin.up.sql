-- The kiosk at the door: an anonymous device that knows its own id and nothing else.
create type checkin_status as enum ('started', 'waiting', 'in_room', 'completed', 'abandoned');

create table checkin_kiosks (
  id uuid primary key default gen_random_uuid(),
  location_id uuid not null references locations (id),
  label text not null,
  serial_number text not null unique,
  is_active boolean not null default true,
  settings jsonb not null default '{}',
  last_ping_at timestamptz,
  created_at timestamptz not null default now()
);

create table checkin_sessions (
  id uuid primary key default gen_random_uuid(),
  location_id uuid not null references locations (id),
  kiosk_id uuid not null references checkin_kiosks (id),
  patient_id uuid references patients (id),
  status checkin_status not null default 'started',
  reasons text[] not null default '{}',
  answers jsonb not null default '{}',
  wait_seconds integer,
  started_at timestamptz not null default now(),
  completed_at timestamptz
);

-- Two people, one wish.
create index checkin_sessions_started_at_idx on checkin_sessions (started_at);
create index idx_checkin_sessions_started on checkin_sessions (started_at);

-- The kiosk starts a session itself, without a user behind it.
grant insert on checkin_sessions to anon;
