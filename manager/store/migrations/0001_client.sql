-- The two tables as the client's README prints them. A database made from that text is at version 1.
CREATE TABLE IF NOT EXISTS users (
    id INTEGER PRIMARY KEY,
    username TEXT UNIQUE NOT NULL,
    password_hash TEXT NOT NULL,
    is_admin BOOLEAN DEFAULT FALSE,
    assigned_port INTEGER,
    is_active BOOLEAN DEFAULT TRUE,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);
CREATE TABLE IF NOT EXISTS port_status (
    port INTEGER PRIMARY KEY,
    current_user_id INTEGER,
    current_username TEXT,
    process_id INTEGER,
    status TEXT DEFAULT 'idle',
    last_activity TIMESTAMP,
    last_queue_check TIMESTAMP,
    idle_count INTEGER DEFAULT 0
);
