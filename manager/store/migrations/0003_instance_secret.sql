-- What an instance asks of everybody who talks to it; null for one that was started before there was
-- such a thing, and where no instance is.
ALTER TABLE port_status ADD COLUMN secret TEXT;
