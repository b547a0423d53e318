-- How long the waiting line was: one row for each span of so many seconds that begins at ``at``
-- (UTC epoch seconds). ``looks`` is how often it was looked at, ``length_sum`` over these, so that
-- rows can be joined; ``wait_high`` is the longest that anybody had waited then, in seconds. A span
-- in which nobody looked has no row; one in which nobody waited has zeros.
CREATE TABLE line_history (
    seconds INTEGER NOT NULL,
    at INTEGER NOT NULL,
    looks INTEGER NOT NULL,
    length_sum INTEGER NOT NULL,
    length_high INTEGER NOT NULL,
    wait_high REAL NOT NULL,
    PRIMARY KEY (seconds, at)
) WITHOUT ROWID;
