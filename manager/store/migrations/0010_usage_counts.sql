-- What a session of use was used for, by the server's local days. waited_seconds: in line before the
-- start; null for what was begun before this was noted. last_prompt: the newest finished prompt that
-- is counted; empty before the first, null where nobody counted from the beginning.
ALTER TABLE usage ADD COLUMN waited_seconds REAL;
ALTER TABLE usage ADD COLUMN last_prompt TEXT;
CREATE INDEX usage_by_start ON usage (started_at);
CREATE TABLE usage_days (
    launch_id TEXT NOT NULL REFERENCES usage (launch_id) ON DELETE CASCADE,
    day TEXT NOT NULL,
    held_seconds REAL NOT NULL DEFAULT 0,
    worked_seconds REAL NOT NULL DEFAULT 0,
    idle_seconds REAL NOT NULL DEFAULT 0,
    unknown_seconds REAL NOT NULL DEFAULT 0,
    prompts INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (launch_id, day)
) WITHOUT ROWID;
CREATE INDEX usage_days_by_day ON usage_days (day);

-- Sessions from before: how long they held their card is known, and on which days; no more.
WITH RECURSIVE pieces (launch_id, from_at, until_at, ended_at) AS (
    SELECT launch_id, started_at, started_at, ended_at FROM usage WHERE ended_at >= started_at
    UNION ALL
    SELECT launch_id, until_at, min(ended_at, max(until_at + 3600,
        CAST(strftime('%s', date(until_at, 'unixepoch', 'localtime', '+1 day'), 'utc') AS REAL))),
        ended_at
    FROM pieces WHERE until_at < ended_at
)
INSERT INTO usage_days (launch_id, day, held_seconds)
    SELECT launch_id, date(from_at, 'unixepoch', 'localtime'), sum(until_at - from_at)
    FROM pieces GROUP BY 1, 2;
