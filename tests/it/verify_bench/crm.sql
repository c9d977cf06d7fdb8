-- A customer database of many tenants, with the idioms that the clinic has not: settings instead of claims, a role for each
-- tenant, arrays, enums, citext, soft delete, time windows, restrictive policies, views, definer functions, column grants,
-- partitions, triggers that guard, and tables that are empty, write-only or without a key. Run as the superuser.
do $$
declare
  wanted text;
begin
  foreach wanted in array array['crm_agent', 'crm_guest', 'crm_auditor', 'crm_support', 'crm_tenant_1', 'crm_tenant_2'] loop
    if not exists (select from pg_roles where rolname = wanted) then
      execute format('create role %I nologin', wanted);
    end if;
  end loop;
  if not exists (select from pg_roles where rolname = 'crm_owner') then
    create role crm_owner login createdb;
  end if;
end
$$;
grant crm_agent, crm_guest, crm_auditor, crm_tenant_1, crm_tenant_2 to crm_owner;
grant crm_support to crm_owner with admin option;
do $$ begin execute format('alter database %I owner to crm_owner', current_database()); end $$;
alter schema public owner to crm_owner;
create extension citext;

set role crm_owner;
create schema sec;
create schema crm;
-- May own tables, and own forced ones are no exception.
grant create on schema crm to crm_support;
grant usage on schema sec, crm, public to crm_agent, crm_guest, crm_auditor, crm_support, crm_tenant_1, crm_tenant_2;

create type crm.level as enum ('viewer', 'member', 'manager', 'owner');
create type crm.status as enum ('draft', 'review', 'published', 'archived');
create type crm.stage as enum ('lead', 'offer', 'won', 'lost');

create table crm.orgs (
  id int primary key, name text not null, tenant_role text not null, is_open boolean not null default false
);
create table crm.users (
  id int primary key, org_id int not null references crm.orgs, email citext not null unique,
  active boolean not null default true, manager_id int references crm.users
);
create table crm.memberships (
  user_id int not null references crm.users, org_id int not null references crm.orgs, level crm.level not null,
  valid_from timestamptz not null default '2020-01-01', valid_to timestamptz, primary key (user_id, org_id)
);
create table crm.documents (
  id int primary key, org_id int not null references crm.orgs, owner_id int not null references crm.users,
  title text not null, status crm.status not null default 'draft', readers int[] not null default '{}',
  embargo_until timestamptz, deleted_at timestamptz
);
create table crm.document_shares (
  document_id int not null references crm.documents, user_id int not null references crm.users,
  can_edit boolean not null default false, expires_at timestamptz, primary key (document_id, user_id)
);
create table crm.comments (
  id int primary key, document_id int not null references crm.documents, author_id int not null references crm.users,
  body text not null, hidden boolean not null default false
);
create table crm.notes (id int primary key, owner_id int not null references crm.users, body text not null, pinned boolean not null default false);
create table crm.contacts (
  id int primary key, org_id int not null references crm.orgs, owner_id int references crm.users, email citext, phone text, secret text
);
create table crm.deals (
  id int primary key, org_id int not null references crm.orgs, owner_id int references crm.users,
  amount numeric(12, 2) not null, stage crm.stage not null default 'lead', confidential boolean not null default false
);
create table crm.invites (id int primary key, org_id int not null references crm.orgs, email citext not null, invited_by int not null references crm.users, accepted boolean);
create table crm.feedback (id int generated always as identity, author_id int, body text, rating int);
create table crm.tickets (
  id int primary key, org_id int not null references crm.orgs, groups int[], opened_by int references crm.users,
  visible_from date not null default '2024-01-01', closed boolean not null default false
);
create table crm.tags (org_id int, name text, shared boolean);
create table crm.preferences (tenant text not null, key text not null, value text, primary key (tenant, key));
create table crm.events (org_id int not null, actor_id int, kind text not null, at timestamptz not null) partition by range (at);
create table crm.events_2024 partition of crm.events for values from ('2024-01-01 00:00+00') to ('2025-01-01 00:00+00');
create table crm.events_2025 partition of crm.events for values from ('2025-01-01 00:00+00') to ('2026-01-01 00:00+00');
create table crm.events_rest partition of crm.events default;

create schema decoy;
create table decoy.orgs (id int primary key, is_open boolean not null);
insert into decoy.orgs select i, true from generate_series(1, 6) i;

create function sec.uid() returns int language sql stable
  as $$ select nullif(current_setting('app.user_id', true), '')::int $$;
create function sec.groups() returns int[] language sql stable
  as $$ select coalesce(nullif(current_setting('app.groups', true), ''), '{}')::int[] $$;
create function sec.my_org() returns int language sql stable security definer set search_path = ''
  as $$ select u.org_id from crm.users u where u.id = sec.uid() and u.active $$;
create function sec.is_member(target int) returns boolean language sql stable security definer set search_path = ''
  as $$
  select exists (
    select 1 from crm.memberships m
    where m.org_id = target and m.user_id = sec.uid() and m.valid_from <= '2025-06-01' and (m.valid_to is null or m.valid_to > '2025-06-01')
  )
$$;
create function sec.has_level(target int, wanted crm.level) returns boolean language plpgsql stable strict security definer set search_path = ''
  as $$
begin
  return exists (
    select 1 from crm.memberships m
    where m.org_id = target and m.user_id = sec.uid() and m.level >= wanted
  );
end
$$;
create function sec.shared_with_me(target int) returns boolean language sql stable security definer set search_path = ''
  as $$
  select exists (
    select 1 from crm.document_shares s
    where s.document_id = target and s.user_id = sec.uid() and (s.expires_at is null or s.expires_at > '2025-06-01')
  )
$$;
create function sec.my_orgs() returns setof int language sql stable security definer set search_path = ''
  as $$ select m.org_id from crm.memberships m where m.user_id = sec.uid() $$;

-- NULL means something here, so STRICT would too.
create function sec.mine_or_free(who int) returns boolean language sql stable
  as $$ select who is null or who = sec.uid() $$;
-- Its names are found by its own path; `decoy` has a table of the same name.
create function sec.open_org(target int) returns boolean language sql stable security definer set search_path = crm, public
  as $$ select exists (select 1 from orgs o where o.id = target and o.is_open) $$;

create function sec.keep_org() returns trigger language plpgsql as $$
begin
  if new.org_id <> old.org_id then
    raise exception 'a row stays with its tenant';
  end if;
  return new;
end
$$;
create function sec.stamp_author() returns trigger language plpgsql as $$
begin
  new.author_id := sec.uid();
  return new;
end
$$;
create function sec.limit_rating() returns trigger language plpgsql as $$
begin
  if new.rating > 5 then
    raise exception 'at most five';
  end if;
  return new;
end
$$;
create trigger keep_org before update on crm.contacts for each row execute function sec.keep_org();
create trigger keep_org before update on crm.tickets for each row execute function sec.keep_org();
create trigger stamp_author before insert on crm.comments for each row execute function sec.stamp_author();
create trigger limit_rating before insert on crm.feedback for each row execute function sec.limit_rating();

do $$
declare
  guarded text;
begin
  foreach guarded in array array['orgs', 'users', 'memberships', 'documents', 'document_shares', 'comments', 'notes', 'contacts',
    'deals', 'invites', 'feedback', 'tickets', 'tags', 'preferences', 'events'] loop
    execute format('alter table crm.%I enable row level security', guarded);
  end loop;
end
$$;

alter table crm.preferences force row level security;

-- A role for each tenant.
create policy orgs_tenant on crm.orgs for select to crm_tenant_1, crm_tenant_2 using (tenant_role = current_user);
create policy orgs_member on crm.orgs for select to crm_agent using (id in (select m.org_id from crm.memberships m where m.user_id = sec.uid()));
create policy orgs_open on crm.orgs for select to crm_guest using (is_open);
create policy preferences_tenant on crm.preferences for all to crm_tenant_1, crm_tenant_2
  using (tenant = current_user) with check (tenant = current_user and key <> 'plan');
create policy preferences_defaults on crm.preferences for select using (tenant = 'defaults');

create policy users_self on crm.users for select to crm_agent using (id = sec.uid() or manager_id = sec.uid());
create policy users_org on crm.users for select to crm_agent using (active and org_id = sec.my_org());
create policy users_auditor on crm.users for select to crm_auditor using (email like '%@one.example');
create policy memberships_own on crm.memberships for select to crm_agent using (user_id = sec.uid());
create policy memberships_grant on crm.memberships for insert to crm_agent with check (sec.has_level(org_id, 'owner') and level < 'owner');
create policy memberships_end on crm.memberships for delete to crm_agent using (user_id = sec.uid() and level <> 'owner');

-- Soft delete, an embargo, readers in an array, and a restrictive policy over all of it.
create policy documents_read on crm.documents for select to crm_agent
  using (deleted_at is null and (owner_id = sec.uid() or (sec.is_member(org_id) and status in ('published', 'archived')) or sec.uid() = any (readers)));
create policy documents_shared on crm.documents for select to crm_agent using (deleted_at is null and sec.shared_with_me(id));
create policy documents_add on crm.documents for insert to crm_agent
  with check (owner_id = sec.uid() and sec.is_member(org_id) and status = 'draft');
create policy documents_change on crm.documents for update to crm_agent
  using (owner_id = sec.uid() or sec.has_level(org_id, 'manager'))
  with check (sec.is_member(org_id) and (status <> 'published' or sec.has_level(org_id, 'manager')));
create policy documents_drop on crm.documents for delete to crm_agent using (owner_id = sec.uid() and status = 'draft');
create policy documents_embargo on crm.documents as restrictive for select to crm_agent
  using (embargo_until is null or embargo_until < '2025-06-01' or owner_id = sec.uid());
create policy documents_public on crm.documents for select to crm_guest using (status = 'published' and deleted_at is null);

create policy shares_mine on crm.document_shares for select to crm_agent using (user_id = sec.uid());
create policy shares_give on crm.document_shares for all to crm_agent
  using (exists (select 1 from crm.documents d where d.id = document_shares.document_id and d.owner_id = sec.uid()))
  with check (exists (select 1 from crm.documents d where d.id = document_shares.document_id and d.owner_id = sec.uid()) and user_id <> sec.uid());
create policy comments_read on crm.comments for select to crm_agent
  using (exists (select 1 from crm.documents d where d.id = comments.document_id) and (not hidden or author_id = sec.uid()));
create policy comments_write on crm.comments for insert to crm_agent
  with check (author_id = sec.uid() and document_id in (select d.id from crm.documents d));
create policy comments_edit on crm.comments for update to crm_agent using (author_id = sec.uid()) with check (author_id = sec.uid());

-- Everybody reads, owners write.
create policy notes_read on crm.notes for select to crm_agent using (true);
create policy notes_write on crm.notes for insert to crm_agent with check (owner_id = sec.uid() and not pinned);
create policy notes_change on crm.notes for update to crm_agent using (owner_id = sec.uid()) with check (owner_id = sec.uid() and not pinned);
create policy notes_drop on crm.notes for delete to crm_agent using (owner_id = sec.uid());

create policy contacts_read on crm.contacts for select to crm_agent using (sec.is_member(org_id) or owner_id is null);
create policy contacts_change on crm.contacts for update to crm_agent using (owner_id = sec.uid()) with check (owner_id = sec.uid());
create policy deals_org on crm.deals for all to crm_agent using (org_id in (select sec.my_orgs())) with check (org_id = any (array(select sec.my_orgs())));
create policy deals_large on crm.deals as restrictive for all to crm_agent using (amount < 1000 or sec.has_level(org_id, 'manager'));
create policy deals_confidential on crm.deals as restrictive for select using (not confidential or owner_id = sec.uid());
create policy deals_audit on crm.deals for select to crm_auditor using (stage in ('won', 'lost') and amount >= 500);
create policy invites_read on crm.invites for select to crm_agent using (invited_by = sec.uid() or accepted);
create policy invites_add on crm.invites for insert to crm_agent
  with check (invited_by = sec.uid() and sec.has_level(org_id, 'manager') and accepted is not true);
create policy feedback_add on crm.feedback for insert to crm_guest, crm_agent with check (author_id is not distinct from sec.uid() and rating between 1 and 10);
create policy feedback_support on crm.feedback for select to crm_support using (true);
create policy tickets_group on crm.tickets for select to crm_agent using (groups && sec.groups() and visible_from <= date '2025-06-01');
create policy tickets_own on crm.tickets for all to crm_agent using (opened_by = sec.uid()) with check (opened_by = sec.uid() and sec.is_member(org_id));
create policy tags_read on crm.tags for select to crm_agent, crm_guest using (shared or org_id = coalesce(sec.my_org(), -1));
create policy tags_open on crm.tags for select to crm_guest using (sec.open_org(org_id));
create policy tickets_free on crm.tickets for select to crm_agent using (closed and sec.mine_or_free(opened_by));
create policy tags_write on crm.tags for insert to crm_agent with check (org_id = sec.my_org());
create policy events_read on crm.events for select to crm_agent using (org_id = sec.my_org() and kind <> 'login');
create policy events_audit on crm.events for select to crm_auditor using (at >= '2025-01-01' or actor_id is null);
create policy events_write on crm.events for insert to crm_agent with check (actor_id = sec.uid());

grant select on crm.orgs to crm_agent, crm_guest, crm_tenant_1, crm_tenant_2;
grant select, insert, update, delete on crm.preferences to crm_tenant_1, crm_tenant_2;
grant select on crm.preferences to crm_agent;
grant select on crm.users to crm_agent, crm_auditor;
grant select, insert, delete on crm.memberships to crm_agent;
grant select, insert, update, delete on crm.documents, crm.document_shares, crm.notes, crm.deals, crm.tickets to crm_agent;
grant select on crm.documents to crm_guest;
grant select, insert, update on crm.comments to crm_agent;
grant select (id, org_id, owner_id, email), update (phone, owner_id, org_id) on crm.contacts to crm_agent;
grant select on crm.deals, crm.events to crm_auditor;
grant select, insert on crm.invites, crm.tags, crm.events to crm_agent;
grant select on crm.tags to crm_guest;
grant insert (author_id, body, rating) on crm.feedback to crm_agent, crm_guest;
grant select on crm.feedback to crm_support;

grant select on crm.preferences to crm_support;

create view crm.directory with (security_barrier) as select u.id, u.email::text as email, u.org_id from crm.users u where u.active and u.org_id = sec.my_org();
create view crm.org_totals as select d.org_id, count(*) as deals from crm.deals d where d.org_id in (select sec.my_orgs()) group by d.org_id;
grant select on crm.directory, crm.org_totals to crm_agent;
do $$
begin
  -- Views that ask as their caller came with 15.
  if current_setting('server_version_num')::int >= 150000 then
    create view crm.my_documents with (security_invoker) as select d.id, d.title, d.status from crm.documents d where d.status <> 'archived';
    grant select on crm.my_documents to crm_agent, crm_guest;
  end if;
end
$$;
create function crm.search_documents(word text) returns table (id int, title text) language sql stable security definer set search_path = ''
  as $$ select d.id, d.title from crm.documents d where d.title like '%' || word || '%' and d.deleted_at is null and d.org_id in (select sec.my_orgs()) $$;
create function crm.document_count() returns bigint language sql stable as $$ select count(*) from crm.documents $$;
revoke execute on function crm.search_documents(text), crm.document_count() from public;
grant execute on function crm.search_documents(text), crm.document_count() to crm_agent;

insert into crm.orgs select i, 'org ' || i, 'crm_tenant_' || i, i % 3 = 0 from generate_series(1, 6) i;
insert into crm.users select i, 1 + i % 5, 'user' || i || case when i % 5 = 0 then '@one.example' else '@other.example' end, i % 7 <> 0, case when i > 10 then 1 + i % 10 end
  from generate_series(1, 40) i;
insert into crm.memberships select u.id, u.org_id, (enum_range(null::crm.level))[1 + (u.id / 5) % 4], '2024-01-01', case when u.id % 11 = 0 then timestamptz '2025-01-01' end from crm.users u;
insert into crm.memberships select u.id, 1 + u.org_id % 5, 'member', case when u.id % 12 = 0 then timestamptz '2025-09-01' else '2024-01-01' end, null from crm.users u where u.id % 4 = 0;
insert into crm.documents select i, 1 + i % 5, 1 + (i * 7) % 40, 'document ' || i, (enum_range(null::crm.status))[1 + (i / 5) % 4],
  case when i % 6 = 0 then array[1 + i % 40, 2] else '{}' end, case i % 9 when 0 then timestamptz '2026-01-01' when 1 then '2025-01-01' end, case when i % 8 = 0 then timestamptz '2025-02-01' end
  from generate_series(1, 240) i;
insert into crm.document_shares select i, 1 + (i * 3) % 40, i % 2 = 0, case i % 5 when 0 then timestamptz '2025-03-01' when 1 then '2025-12-01' end from generate_series(1, 120) i;
insert into crm.notes select i, 1 + i % 40, 'note ' || i, i % 10 = 0 from generate_series(1, 80) i;
insert into crm.contacts select i, 1 + i % 5, case when i % 9 <> 0 then 1 + (i * 3) % 40 end, 'contact' || i || '@x.example', '+1' || i, 's' || i from generate_series(1, 80) i;
insert into crm.deals select i, 1 + i % 5, case when i % 10 <> 0 then 1 + (i * 11) % 40 end, (i * 37) % 2000, (enum_range(null::crm.stage))[1 + (i / 5) % 4], i % 4 = 0 from generate_series(1, 160) i;
insert into crm.feedback (author_id, body, rating) select nullif(i % 41, 0), 'feedback ' || i, 1 + i % 5 from generate_series(1, 30) i;
insert into crm.tickets select i, 1 + i % 5, case when i % 7 <> 0 then array[i % 6, 10 + i % 3] end, case when i % 5 <> 0 then 1 + (i * 3) % 40 end, date '2024-01-01' + (i * 17), i % 3 = 0 from generate_series(1, 60) i;
insert into crm.tags select nullif(i % 6, 0), 'tag ' || i % 8, case i % 3 when 0 then true when 1 then false end from generate_series(1, 40) i;
alter table crm.preferences no force row level security;
insert into crm.preferences select t, k, 'v' from unnest(array['crm_tenant_1', 'crm_tenant_2', 'defaults']) t, unnest(array['plan', 'color', 'locale']) k;
alter table crm.preferences force row level security;
insert into crm.events select 1 + i % 5, case when i % 6 <> 0 then 1 + i % 40 end, (array['login', 'view', 'edit'])[1 + i % 3], timestamptz '2024-06-01 00:00+00' + i * interval '4 days' from generate_series(1, 200) i;
-- The author of a comment is who writes it: written for each user in turn.
do $$
begin
  for i in 1..120 loop
    perform set_config('app.user_id', (1 + (i * 13) % 40)::text, true);
    insert into crm.comments values (i, 1 + (i * 2) % 240, 1, 'comment ' || i, i % 6 = 0);
  end loop;
end
$$;
reset role;
analyze;
