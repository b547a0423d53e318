-- Logins through an OpenID Connect provider. A person there is known by issuer and subject alone:
-- names change hands. A permit lets an account be tied to the next person of its name, once.
CREATE TABLE sign_in_links (
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    linked_at REAL NOT NULL,
    PRIMARY KEY (issuer, subject),
    UNIQUE (user_id, issuer)
);
CREATE TABLE sign_in_permits (
    user_id INTEGER PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    allowed_at REAL NOT NULL
);
ALTER TABLE sessions ADD COLUMN by_provider INTEGER NOT NULL DEFAULT 0;
