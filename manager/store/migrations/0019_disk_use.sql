-- What each user's folders took on the disk, in bytes, when they were last walked through.
CREATE TABLE disk_use (
    user_id INTEGER PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    taken_at REAL NOT NULL,
    seconds REAL NOT NULL,
    folders TEXT NOT NULL,
    complete BOOLEAN NOT NULL
);
