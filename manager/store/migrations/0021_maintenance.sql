-- While the one row is here, nothing is started. Until when is a word to people: it ends nothing.
CREATE TABLE maintenance (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    begun_by TEXT NOT NULL,
    begun_at REAL NOT NULL,
    until REAL,
    reason TEXT NOT NULL DEFAULT ''
);
