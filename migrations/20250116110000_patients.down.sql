drop table handout_deliveries;
drop table handouts;
drop table patient_insurance;
drop table patients;
drop table insurance_providers;
drop type delivery_status;
drop type delivery_channel;
