-- Each line carries the SHA-256 over itself and the hash of the line before it; see audit_chain.py,
-- which fills in what is there already. From then on lines are added and neither changed nor removed.
ALTER TABLE audit ADD COLUMN hash TEXT NOT NULL DEFAULT '';
CREATE INDEX audit_by_time ON audit (at);
CREATE INDEX audit_logins ON audit (actor, address) WHERE action = 'login';
CREATE TRIGGER audit_is_chained BEFORE INSERT ON audit WHEN length(NEW.hash) != 64
BEGIN
    SELECT RAISE(ABORT, 'a line of the audit needs its hash');
END;
CREATE TRIGGER audit_stays_as_it_is BEFORE UPDATE ON audit WHEN OLD.hash != ''
BEGIN
    SELECT RAISE(ABORT, 'lines of the audit are never changed');
END;
CREATE TRIGGER audit_stays BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'lines of the audit are never removed');
END;
