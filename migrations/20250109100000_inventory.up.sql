-- Stock by location, its movements, and what was ordered from whom.
create type item_status as enum ('in_stock', 'low', 'out', 'recalled', 'discontinued');
create type movement_kind as enum ('receive', 'dispense', 'transfer', 'adjust', 'waste');
create type order_status as enum ('draft', 'submitted', 'approved', 'received', 'cancelled');

create table inventory_categories (
  id uuid primary key default gen_random_uuid(),
  parent_id uuid references inventory_categories (id),
  name text not null unique,
  requires_cold_chain boolean not null default false,
  created_at timestamptz not null default now()
);

create table suppliers (
  id uuid primary key default gen_random_uuid(),
  name text not null unique,
  contact jsonb not null default '{}',
  rating numeric(3, 2),
  is_active boolean not null default true,
  created_at timestamptz not null default now()
);

create table inventory_items (
  id uuid primary key default gen_random_uuid(),
  location_id uuid not null references locations (id),
  category_id uuid not null references inventory_categories (id),
  supplier_id uuid references suppliers (id),
  sku text not null,
  name text not null,
  description text not null default '',
  unit text not null default 'each',
  quantity numeric(12, 2) not null default 0 check (quantity >= 0),
  reorder_level numeric(12, 2) not null default 0,
  unit_cost numeric(10, 2) not null default 0,
  status item_status not null default 'in_stock',
  expires_on date,
  tags text[] not null default '{}',
  attributes jsonb not null default '{}',
  search tsvector generated always as (to_tsvector('simple', name || ' ' || description)) stored,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz,
  unique (sku, location_id)
);

-- A prefix of the unique key above, and a search index that row-level security keeps out of reach.
create index inventory_items_sku_idx on inventory_items (sku);
create index inventory_items_name_trgm_idx on inventory_items using gin (name gin_trgm_ops);
create index inventory_items_created_at_idx on inventory_items (created_at);

create table inventory_transactions (
  id uuid primary key default gen_random_uuid(),
  item_id uuid not null references inventory_items (id),
  location_id uuid not null references locations (id),
  user_id uuid not null references users (id),
  kind movement_kind not null,
  quantity numeric(12, 2) not null,
  note text,
  metadata jsonb not null default '{}',
  occurred_at timestamptz not null default now()
);

create table purchase_orders (
  id uuid primary key default gen_random_uuid(),
  number text not null unique,
  location_id uuid not null references locations (id),
  supplier_id uuid not null references suppliers (id),
  ordered_by uuid not null references users (id),
  status order_status not null default 'draft',
  total numeric(12, 2) not null default 0,
  ordered_at timestamptz not null default now(),
  received_at timestamptz,
  updated_at timestamptz not null default now()
);

create table purchase_order_lines (
  id uuid primary key default gen_random_uuid(),
  purchase_order_id uuid not null references purchase_orders (id) on delete cascade,
  item_id uuid not null references inventory_items (id),
  line_number integer not null check (line_number > 0),
  quantity numeric(12, 2) not null check (quantity > 0),
  unit_cost numeric(10, 2) not null,
  unique (purchase_order_id, line_number)
);

create trigger set_updated_at before update on inventory_items for each row execute function set_updated_at();
create trigger set_updated_at before update on purchase_orders for each row execute function set_updated_at();
