alter default privileges in schema public revoke select on tables from anon;
alter default privileges in schema public revoke select, insert, update, delete on tables from authenticated, service_role;
drop function public.set_updated_at();
drop function auth.role();
drop function auth.uid();
drop function auth.jwt();
drop schema auth;
