-- HYG002 a name that says nothing
create table doc (id int primary key, owner_id uuid);
alter table doc enable row level security;
grant select on doc to app;
create policy policy1 on doc for select to app using (owner_id = (select auth.uid()));

-- HYG003 the same policy twice
create table doc (id int primary key, owner_id uuid);
alter table doc enable row level security;
grant select on doc to app;
create policy own on doc for select to app using (owner_id = (select auth.uid()));
create policy own_too on doc for select to app using (owner_id = (select auth.uid()));

-- PERF001 a bare call beside a wrapped one
create table doc (id int primary key, owner_id uuid, editor_id uuid);
alter table doc enable row level security;
grant select on doc to app;
create policy own on doc for select to app using (owner_id = (select auth.uid()) or editor_id = auth.uid());

-- PERF002 a volatile function
create table doc (id int primary key, owner_id uuid);
alter table doc enable row level security;
grant select on doc to app;
create policy own on doc for select to app using (owner_id = (select auth.uid()) and random() < 0.5);

-- PERF003 no index
create table doc (id int primary key, owner_id uuid, org_id int);
alter table doc enable row level security;
grant select on doc to app;
create policy own on doc for select to app
  using (owner_id = (select auth.uid()) or org_id = (select current_setting('app.org', true)::int));

-- PERF004 an index on the bare column
create table doc (id int primary key, email text not null);
create index on doc (email);
alter table doc enable row level security;
grant select on doc to app;
create policy own on doc for select to app using (lower(email) = (select auth.email()));

-- PERF004b through a function of one's own, and a cast on the other side
create table doc (id int primary key, email text not null, day timestamptz);
create index on doc (email);
create index on doc (day);
alter table doc enable row level security;
grant select on doc to app;
create policy own on doc for select to app using (lower(email) = lower((select current_setting('app.email', true))));
create policy today on doc for update to app using (date_trunc('day', day) = date_trunc('day', now()));

-- SEC001 a table that nothing guards
create table doc (id int primary key, owner_id uuid);
grant select, insert on doc to anon;

-- SEC002 an owner whom policies do not hold
create table doc (id int primary key, owner_id uuid);
alter table doc owner to site_owner;
alter table doc enable row level security;
create policy own on doc using (owner_id = (select auth.uid()));
set role site_owner;
select count(*) from doc;
reset role;

-- SEC003 a policy for everybody
create table doc (id int primary key, owner_id uuid);
alter table doc enable row level security;
grant select on doc to app, anon;
create policy own on doc for select using (owner_id = (select auth.uid()));

-- SEC005 no column in the condition
create table doc (id int primary key, owner_id uuid);
alter table doc enable row level security;
grant select on doc to app;
create policy signed_in on doc for select to app using ((select auth.uid()) is not null);

-- SEC006 an UPDATE policy without a check
create table doc (id int primary key, owner_id uuid);
alter table doc enable row level security;
grant select, update on doc to app;
create policy see on doc for select to app using (owner_id = (select auth.uid()));
create policy edit on doc for update to app using (owner_id = (select auth.uid()));

-- SEC010 constantly false
create table doc (id int primary key, owner_id uuid);
alter table doc enable row level security;
grant select on doc to app;
create policy never on doc for select to app using (false);

-- SEC013 a trigger that writes elsewhere as its definer
create table doc (id int primary key, owner_id uuid);
create table trail (id int, what text);
alter table doc enable row level security;
alter table trail enable row level security;
grant select, insert on doc to app;
create policy own on doc to app using (owner_id = (select auth.uid()));
create policy none on trail for select to app using (what = (select current_setting('app.what', true)));
create function note() returns trigger language plpgsql security definer set search_path = ''
  as $$ begin insert into public.trail values (new.id, 'made'); return new; end $$;
create trigger note after insert on doc for each row execute function note();

-- SEC014 a definer's function for everybody
create table doc (id int primary key, owner_id uuid);
alter table doc enable row level security;
create policy own on doc for select to app using (owner_id = (select auth.uid()));
create function all_docs() returns setof doc language sql security definer set search_path = ''
  as $$ select * from public.doc $$;

-- SEC015 no search path
create table doc (id int primary key, owner_id uuid);
create function n() returns bigint language sql security definer as $$ select count(*) from doc $$;

-- SEC022 nobody may write, though the grant says so
create table doc (id int primary key, owner_id uuid);
alter table doc enable row level security;
grant select, insert, update, delete on doc to app;
create policy own on doc for select to app using (owner_id = (select auth.uid()));

-- SEC025 a table that a policy asks and anybody may write
create table doc (id int primary key, org int);
create table member (user_id uuid, org int);
alter table doc enable row level security;
grant select on doc to app;
grant select, insert on member to app;
create policy own on doc for select to app
  using (org in (select m.org from member m where m.user_id = (select auth.uid())));

-- SEC027 a column that says whose a row is, of no weight
create table doc (id int primary key, tenant_id int, owner_id uuid);
create table note (id int primary key, tenant_id int);
alter table doc enable row level security;
alter table note enable row level security;
grant select on doc, note to app;
create policy own on doc for select to app using (owner_id = (select auth.uid()));
create policy own on note for select to app using (tenant_id = (select current_setting('app.tenant', true)::int));

-- SEC033 a claim that users write
create table doc (id int primary key, owner_id uuid);
alter table doc enable row level security;
grant select on doc to app;
create policy own on doc for select to app using ((auth.jwt() -> 'user_metadata' ->> 'role') = 'admin');

-- SEC036 some administrator, no matter who
create table auth.users (id uuid primary key, raw_app_meta_data jsonb);
create table doc (id int primary key, owner_id uuid);
alter table doc enable row level security;
grant select on doc to app;
create policy own on doc for select to app
  using (exists (select from auth.users where raw_app_meta_data ->> 'role' = 'admin'));

-- SEC041 a partition by its own name
create table event (id int, tenant_id int) partition by list (tenant_id);
create table event_1 partition of event for values in (1);
alter table event enable row level security;
grant select on event, event_1 to app;
create policy own on event for select to app using (tenant_id = (select current_setting('app.tenant', true)::int));

-- SEC043 a child by its own name
create table event (id int, tenant_id int);
create table event_old () inherits (event);
alter table event enable row level security;
grant select on event, event_old to app;
create policy own on event for select to app using (tenant_id = (select current_setting('app.tenant', true)::int));

-- SEC047 a key that tells whether a row is there
create table org (id int primary key, name text);
create table doc (id int primary key, org_id int references org (id), owner_id uuid);
alter table org enable row level security;
alter table doc enable row level security;
grant select, insert on doc to app;
grant select on org to app;
create policy mine on org for select to app using (id = (select current_setting('app.org', true)::int));
create policy own on doc to app using (owner_id = (select auth.uid()));

-- SEC048 a member of the owner
do $$ begin create role doc_owner nologin; exception when duplicate_object then null; end $$;
do $$ begin create role doc_app login in role doc_owner; exception when duplicate_object then null; end $$;
create table doc (id int primary key, owner_id uuid);
alter table doc owner to doc_owner;
alter table doc enable row level security;
create policy own on doc using (owner_id = (select auth.uid()));
set role doc_app;
select count(*) from doc;
reset role;

-- SEC048b a member of the owner that has not come yet
do $$ begin create role idle_owner nologin; exception when duplicate_object then null; end $$;
do $$ begin create role idle_app login in role idle_owner; exception when duplicate_object then null; end $$;
create table doc (id int primary key, owner_id uuid);
alter table doc owner to idle_owner;
alter table doc enable row level security;
create policy own on doc using (owner_id = (select auth.uid()));

-- SEC050 any bucket
create schema storage;
create table storage.buckets (id text primary key, name text, public boolean default false);
create table storage.objects (id uuid primary key, bucket_id text references storage.buckets, name text, owner_id text);
create index on storage.objects (bucket_id);
grant usage on schema storage to anon, authenticated;
grant select on storage.objects to authenticated;
alter table storage.objects enable row level security;
create policy own on storage.objects for select to authenticated using (owner_id = (select auth.uid()::text));

-- SEC054 a materialised view in the API
create table doc (id int primary key, owner_id uuid);
alter table doc enable row level security;
grant select on doc to app;
create policy own on doc for select to app using (owner_id = (select auth.uid()));
create materialized view summary as select owner_id, count(*) from doc group by owner_id;
grant select on summary to anon;

-- VIEW001 a view that reads as its owner
create table doc (id int primary key, owner_id uuid);
alter table doc enable row level security;
grant select on doc to app;
create policy own on doc for select to app using (owner_id = (select auth.uid()));
create view every as select * from doc;
grant select on every to app;

-- VIEW002 a view that asks who reads, without a barrier
create table doc (id int primary key, owner_id uuid, title text);
alter table doc enable row level security;
create view mine as select * from doc where owner_id = auth.uid();
grant select on mine to authenticated;

-- VIEW003 a materialised view over what policies guard
create table doc (id int primary key, owner_id uuid);
alter table doc enable row level security;
grant select on doc to app;
create policy own on doc for select to app using (owner_id = (select auth.uid()));
create materialized view every as select * from doc;
grant select on every to app;
