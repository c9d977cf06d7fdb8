drop table authorization_events;
drop table medication_authorizations;
drop table medications;
drop table pharma_appointments;
drop table pharma_reps;
drop table pharma_companies;
drop type authorization_status;
drop type appointment_status;
