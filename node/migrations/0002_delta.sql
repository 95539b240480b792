-- A charge's delta, in units of 10^-15, beside its rho; nothing before this had any.
ALTER TABLE charge ADD COLUMN delta INTEGER NOT NULL DEFAULT 0 CHECK (delta >= 0);

DROP INDEX charge_by_time;
DROP INDEX charge_by_permit;
CREATE INDEX charge_by_time ON charge (charged_at, rho, delta);
CREATE INDEX charge_by_permit ON charge (access_body, permit, rho, delta);
