-- What a person needs to know his logins by: the browser, and when it was last here.
ALTER TABLE sessions ADD COLUMN user_agent TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN seen_at REAL;
