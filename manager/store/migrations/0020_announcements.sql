-- What admins tell everybody: one text in one language or in both, until a moment or until they end it.
CREATE TABLE announcements (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    level TEXT NOT NULL CHECK (level IN ('notice', 'warning')),
    text_en TEXT NOT NULL DEFAULT '',
    text_zh TEXT NOT NULL DEFAULT '',
    made_by TEXT NOT NULL,
    made_at REAL NOT NULL,
    until REAL,
    CHECK (text_en != '' OR text_zh != '')
);
-- Who has read a notice and put it away.
CREATE TABLE announcements_put_away (
    announcement_id INTEGER NOT NULL REFERENCES announcements (id) ON DELETE CASCADE,
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    PRIMARY KEY (announcement_id, user_id)
) WITHOUT ROWID;
CREATE INDEX announcements_put_away_by ON announcements_put_away (user_id);

-- When somebody logged in last is shown for all accounts at once.
CREATE INDEX audit_last_login ON audit (actor, at) WHERE action = 'login';
