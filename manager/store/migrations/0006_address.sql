-- Where the instance of a row answers, and where the one did whose port is held back. Until now that
-- could only be this machine's loopback. NULL until it has answered.
ALTER TABLE port_status ADD COLUMN address TEXT;
UPDATE port_status SET address = '127.0.0.1:' || port
WHERE status IN ('starting', 'running', 'stopping');
ALTER TABLE quarantine ADD COLUMN address TEXT;
UPDATE quarantine SET address = '127.0.0.1:' || port;
