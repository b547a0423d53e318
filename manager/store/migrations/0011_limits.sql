-- What an admin allows a user; null: as the settings say. Who has no row has what the settings say.
CREATE TABLE limits (
    user_id INTEGER PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    priority TEXT NOT NULL DEFAULT 'normal' CHECK (priority IN ('low', 'normal', 'high')),
    sessions_at_once INTEGER CHECK (sessions_at_once IN (0, 1)),
    day_limit INTEGER CHECK (day_limit >= 0),
    session_limit INTEGER CHECK (session_limit >= 0)
);

-- Ports that an admin keeps for some users, or with none for nobody; until a moment, or until he puts
-- them back. A user who is deleted leaves the reservation: it is then for the others, or for nobody.
CREATE TABLE reservations (
    port INTEGER PRIMARY KEY,
    reserved_by TEXT NOT NULL,
    reserved_at REAL NOT NULL,
    until REAL,
    reason TEXT NOT NULL DEFAULT ''
);
CREATE TABLE reservation_users (
    port INTEGER NOT NULL REFERENCES reservations (port) ON DELETE CASCADE,
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    PRIMARY KEY (port, user_id)
) WITHOUT ROWID;
CREATE INDEX reservations_of_a_user ON reservation_users (user_id);
