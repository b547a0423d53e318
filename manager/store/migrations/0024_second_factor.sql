-- Who logs in with a code of his phone beside the password. The secret that phone and manager share is
-- no column: it is worked out of ``seed`` and the manager's key, which ``key_mark`` names. ``last_step``
-- is the 30 seconds (since 1970) whose code was taken last; none of them or before is taken again.
CREATE TABLE second_factors (
    user_id INTEGER PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    seed TEXT NOT NULL CHECK (length(seed) = 64),
    key_mark TEXT NOT NULL,
    since REAL NOT NULL,
    last_step INTEGER NOT NULL
);
-- Codes for who has lost his phone, by a keyed hash. One that was used is not here any more.
CREATE TABLE recovery_codes (
    user_id INTEGER NOT NULL REFERENCES second_factors (user_id) ON DELETE CASCADE,
    code_hash TEXT NOT NULL CHECK (length(code_hash) = 64),
    PRIMARY KEY (user_id, code_hash)
) WITHOUT ROWID;
