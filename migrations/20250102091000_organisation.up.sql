-- Locations, the people who work there, and what they may do.
create type location_status as enum ('opening', 'active', 'paused', 'closed');
create type user_status as enum ('invited', 'active', 'suspended');
create type app_role as enum ('admin', 'manager', 'nurse', 'pharmacist', 'front_desk');

create table locations (
  id uuid primary key default gen_random_uuid(),
  slug text not null unique,
  name text not null,
  region text not null,
  timezone text not null default 'America/Chicago',
  status location_status not null default 'active',
  address jsonb not null default '{}',
  services text[] not null default '{}',
  opened_on date not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz
);

create table users (
  id uuid primary key default gen_random_uuid(),
  email text not null unique,
  full_name text not null,
  status user_status not null default 'active',
  home_location_id uuid references locations (id),
  preferences jsonb not null default '{}',
  last_seen_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz
);

create table user_locations (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references users (id) on delete cascade,
  location_id uuid not null references locations (id) on delete cascade,
  is_primary boolean not null default false,
  created_at timestamptz not null default now()
);

create table user_roles (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references users (id) on delete cascade,
  role app_role not null,
  granted_by uuid references users (id),
  created_at timestamptz not null default now(),
  unique (user_id, role)
);

create trigger set_updated_at before update on locations for each row execute function set_updated_at();
create trigger set_updated_at before update on users for each row execute function set_updated_at();

-- Security definer: the membership tables have policies of their own.
create function user_can_access_location(target uuid) returns boolean
  language sql stable security definer set search_path = ''
  as $$
  select exists (
    select 1 from public.user_locations ul
    where ul.location_id = target and ul.user_id = auth.uid()
  )
$$;

create function my_locations() returns setof uuid
  language sql stable security definer set search_path = ''
  as $$ select ul.location_id from public.user_locations ul where ul.user_id = auth.uid() $$;

create function is_admin() returns boolean
  language sql stable security definer set search_path = ''
  as $$
  select exists (
    select 1 from public.user_roles ur
    where ur.user_id = auth.uid() and ur.role = 'admin'::public.app_role
  )
$$;

create function has_role(wanted text) returns boolean
  language plpgsql stable security definer set search_path = ''
  as $$
begin
  return exists (
    select 1 from public.user_roles ur
    where ur.user_id = auth.uid() and ur.role::text = wanted
  );
end
$$;
