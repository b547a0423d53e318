-- Why a launch ended, in a word the pages can translate, with the one line that matters and how
-- the process ended (negative: by a signal). automatic: the manager itself began it, after a crash.
ALTER TABLE usage ADD COLUMN fault_kind TEXT;
ALTER TABLE usage ADD COLUMN fault_line TEXT;
ALTER TABLE usage ADD COLUMN exit_code INTEGER;
ALTER TABLE usage ADD COLUMN automatic BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE port_status ADD COLUMN fault_kind TEXT;
ALTER TABLE port_status ADD COLUMN fault_line TEXT;
ALTER TABLE port_status ADD COLUMN exit_code INTEGER;
