drop table checkin_sessions;
drop table checkin_kiosks;
drop type checkin_status;
