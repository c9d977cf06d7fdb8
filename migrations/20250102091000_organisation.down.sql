-- Tables first: their policies call the functions.
drop table user_roles;
drop table user_locations;
drop table users;
drop table locations;
drop function has_role(text);
drop function is_admin();
drop function my_locations();
drop function user_can_access_location(uuid);
drop type app_role;
drop type user_status;
drop type location_status;
