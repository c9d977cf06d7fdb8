drop table audit_log;
drop table report_exports;
drop table notifications;
drop type audit_action;
drop type notification_kind;
