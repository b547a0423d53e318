-- What users have asked for against the idle limit, of launches that hold a port. extended_until and
-- awake_until: nothing is ended for idleness before; awake_from: when the announcement that is in
-- force began; awake_spent: seconds of earlier ones.
CREATE TABLE grants (
    launch_id TEXT PRIMARY KEY,
    extensions INTEGER NOT NULL DEFAULT 0,
    extended_until REAL,
    awake_from REAL,
    awake_until REAL,
    awake_spent REAL NOT NULL DEFAULT 0,
    CHECK ((awake_from IS NULL) = (awake_until IS NULL))
) WITHOUT ROWID;

-- What an end for idleness rests on, as JSON.
ALTER TABLE usage ADD COLUMN evidence TEXT;

-- Prompts that were running or waiting when a launch ended; they themselves lie in a file in the
-- user's workspace. sent counts those that were begun to be sent again, accepted and refused how
-- these went; refusal is what ComfyUI said of the first it refused.
CREATE TABLE unfinished (
    launch_id TEXT PRIMARY KEY,
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    saved_at REAL NOT NULL,
    prompts INTEGER NOT NULL,
    left_out INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL DEFAULT 'offered' CHECK (state IN ('offered', 'sending', 'sent')),
    sent INTEGER NOT NULL DEFAULT 0,
    accepted INTEGER NOT NULL DEFAULT 0,
    refused INTEGER NOT NULL DEFAULT 0,
    refusal TEXT,
    CHECK (accepted + refused <= sent AND sent <= prompts)
) WITHOUT ROWID;
CREATE INDEX unfinished_of_a_user ON unfinished (user_id, saved_at);
