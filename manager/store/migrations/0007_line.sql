-- Who waits for a port, in the order of id. An offered port is kept for its user until claim_until.
-- missed_at: the offer was not taken in time; such a row is out of the line and only shown.
CREATE TABLE line (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id INTEGER NOT NULL UNIQUE REFERENCES users (id) ON DELETE CASCADE,
    joined_at REAL NOT NULL,
    offered_port INTEGER UNIQUE,
    claim_until REAL,
    missed_at REAL,
    CHECK ((offered_port IS NULL) = (claim_until IS NULL)),
    CHECK (missed_at IS NULL OR offered_port IS NULL)
);
