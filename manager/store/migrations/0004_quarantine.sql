-- Ports whose card could not be proven free after a session of use; an admin releases them.
CREATE TABLE quarantine (
    port INTEGER PRIMARY KEY,
    card INTEGER NOT NULL,
    launch_id TEXT NOT NULL,
    since REAL NOT NULL,
    reason TEXT NOT NULL
);
