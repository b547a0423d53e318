-- users: an id is never given twice (a deleted user's directories must not pass to a new one).
-- workspace: the name of the user's folder, made once and kept through renames.
CREATE TABLE users_new (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    username TEXT UNIQUE NOT NULL,
    password_hash TEXT NOT NULL,
    is_admin BOOLEAN NOT NULL DEFAULT FALSE,
    assigned_port INTEGER,
    is_active BOOLEAN NOT NULL DEFAULT TRUE,
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    must_change_password BOOLEAN NOT NULL DEFAULT FALSE,
    workspace TEXT UNIQUE
);
INSERT INTO users_new (id, username, password_hash, is_admin, assigned_port, is_active, created_at)
    SELECT id, username, password_hash, coalesce(is_admin, 0), assigned_port,
           coalesce(is_active, 1), coalesce(created_at, CURRENT_TIMESTAMP)
    FROM users;
DROP TABLE users;
ALTER TABLE users_new RENAME TO users;

-- port_status: a client's database knows nothing of launches, so nothing in it can be adopted:
-- its rows start idle.
CREATE TABLE port_status_new (
    port INTEGER PRIMARY KEY,
    current_user_id INTEGER REFERENCES users (id),
    current_username TEXT,
    process_id INTEGER,
    status TEXT NOT NULL DEFAULT 'idle'
        CHECK (status IN ('idle', 'starting', 'running', 'stopping', 'failed')),
    last_activity TIMESTAMP,
    last_queue_check TIMESTAMP,
    idle_count INTEGER NOT NULL DEFAULT 0,
    launch_id TEXT,
    token TEXT,
    started_at REAL,
    ready_at REAL,
    deadline_at REAL,
    stop_reason TEXT,
    fault TEXT,
    CHECK (status NOT IN ('starting', 'running', 'stopping')
           OR (current_user_id IS NOT NULL AND launch_id IS NOT NULL)),
    CHECK (status != 'running' OR token IS NOT NULL)
);
INSERT INTO port_status_new (port, last_activity, last_queue_check)
    SELECT port, last_activity, last_queue_check FROM port_status;
DROP TABLE port_status;
ALTER TABLE port_status_new RENAME TO port_status;
CREATE UNIQUE INDEX one_instance_a_user ON port_status (current_user_id)
    WHERE status IN ('starting', 'running', 'stopping');
CREATE UNIQUE INDEX one_row_a_launch ON port_status (launch_id)
    WHERE status IN ('starting', 'running', 'stopping');

CREATE TABLE usage (
    launch_id TEXT PRIMARY KEY,
    user_id INTEGER NOT NULL,
    username TEXT NOT NULL,
    port INTEGER NOT NULL,
    card INTEGER NOT NULL,
    started_at REAL NOT NULL,
    ready_at REAL,
    ended_at REAL,
    end_reason TEXT,
    fault TEXT
);
CREATE INDEX usage_of_a_user ON usage (user_id, started_at);

CREATE TABLE sessions (
    id_hash TEXT PRIMARY KEY,
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    address TEXT NOT NULL
);
CREATE INDEX sessions_of_a_user ON sessions (user_id);

CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL DEFAULT '',
    address TEXT NOT NULL DEFAULT ''
);
