-- Visits of pharma representatives, the formulary, and the authorisation of medication.
create type appointment_status as enum ('requested', 'confirmed', 'checked_in', 'completed', 'cancelled', 'no_show');
create type authorization_status as enum ('draft', 'submitted', 'in_review', 'approved', 'denied', 'expired');

create table pharma_companies (
  id uuid primary key default gen_random_uuid(),
  name text not null unique,
  website text,
  compliance jsonb not null default '{}',
  created_at timestamptz not null default now()
);

create table pharma_reps (
  id uuid primary key default gen_random_uuid(),
  company_id uuid not null references pharma_companies (id),
  full_name text not null,
  email text not null unique,
  phone text,
  territories text[] not null default '{}',
  is_approved boolean not null default false,
  created_at timestamptz not null default now(),
  deleted_at timestamptz
);

create table pharma_appointments (
  id uuid primary key default gen_random_uuid(),
  location_id uuid not null references locations (id),
  rep_id uuid not null references pharma_reps (id),
  host_id uuid references users (id),
  status appointment_status not null default 'requested',
  topics text[] not null default '{}',
  attendee_count integer not null default 1,
  lunch_budget numeric(8, 2),
  scheduled_at timestamptz not null,
  ends_at timestamptz not null,
  notes text,
  created_at timestamptz not null default now(),
  check (ends_at > scheduled_at)
);

create table medications (
  id uuid primary key default gen_random_uuid(),
  ndc text not null unique,
  name text not null,
  generic_name text not null,
  form text not null,
  strength text not null,
  is_controlled boolean not null default false,
  interactions jsonb not null default '[]',
  created_at timestamptz not null default now()
);

create table medication_authorizations (
  id uuid primary key default gen_random_uuid(),
  patient_id uuid not null references patients (id),
  location_id uuid not null references locations (id),
  medication_id uuid not null references medications (id),
  requested_by uuid not null references users (id),
  reviewed_by uuid references users (id),
  status authorization_status not null default 'draft',
  is_urgent boolean not null default false,
  quantity numeric(8, 2) not null check (quantity > 0),
  refills smallint not null default 0,
  details jsonb not null default '{}',
  requested_at timestamptz not null default now(),
  decided_at timestamptz,
  expires_on date,
  updated_at timestamptz not null default now()
);

create table authorization_events (
  id uuid primary key default gen_random_uuid(),
  authorization_id uuid not null references medication_authorizations (id) on delete cascade,
  actor_id uuid not null references users (id),
  from_status authorization_status,
  to_status authorization_status not null,
  comment text,
  detail jsonb not null default '{}',
  occurred_at timestamptz not null default now()
);

create trigger set_updated_at before update on medication_authorizations
  for each row execute function set_updated_at();
