-- Patients, their insurance, and what they are handed.
create type delivery_channel as enum ('print', 'email', 'sms', 'portal');
create type delivery_status as enum ('queued', 'sent', 'opened', 'failed');

create table insurance_providers (
  id uuid primary key default gen_random_uuid(),
  payer_code text not null unique,
  name text not null,
  plans text[] not null default '{}',
  is_active boolean not null default true,
  created_at timestamptz not null default now()
);

create table patients (
  id uuid primary key default gen_random_uuid(),
  location_id uuid not null references locations (id),
  primary_nurse_id uuid references users (id),
  mrn text not null unique,
  first_name text not null,
  last_name text not null,
  birth_date date not null,
  email text,
  phone text,
  allergies text[] not null default '{}',
  contact jsonb not null default '{}',
  balance numeric(10, 2) not null default 0,
  search tsvector generated always as (to_tsvector('simple', first_name || ' ' || last_name || ' ' || mrn)) stored,
  last_visit_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz
);

-- The unique key on mrn once more, and a full-text index that row-level security keeps out of reach.
create index patients_mrn_idx on patients (mrn);
create index patients_search_idx on patients using gin (search);

create table patient_insurance (
  id uuid primary key default gen_random_uuid(),
  patient_id uuid not null references patients (id) on delete cascade,
  insurance_provider_id uuid not null references insurance_providers (id),
  member_number text not null,
  priority smallint not null default 1 check (priority between 1 and 3),
  copay numeric(8, 2),
  valid_from date not null,
  valid_to date,
  created_at timestamptz not null default now(),
  unique (patient_id, priority)
);

create table handouts (
  id uuid primary key default gen_random_uuid(),
  location_id uuid references locations (id),
  author_id uuid not null references users (id),
  title text not null,
  body text not null default '',
  language text not null default 'en',
  topics text[] not null default '{}',
  is_published boolean not null default false,
  search tsvector generated always as (to_tsvector('english', title || ' ' || body)) stored,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz
);

create table handout_deliveries (
  id uuid primary key default gen_random_uuid(),
  handout_id uuid not null references handouts (id),
  patient_id uuid not null references patients (id),
  location_id uuid not null references locations (id),
  sent_by uuid not null references users (id),
  channel delivery_channel not null,
  status delivery_status not null default 'queued',
  sent_at timestamptz not null default now(),
  opened_at timestamptz,
  metadata jsonb not null default '{}'
);

create trigger set_updated_at before update on patients for each row execute function set_updated_at();
create trigger set_updated_at before update on handouts for each row execute function set_updated_at();
