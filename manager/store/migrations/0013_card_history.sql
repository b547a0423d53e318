-- What the cards showed, by the driver's number of the device: one row for each span of so many
-- seconds that begins at ``at``. A span in which nothing was known has no row. Memory in bytes, use
-- in percent, temperature in degrees Celsius, power in watts; null is unknown.
CREATE TABLE card_history (
    device INTEGER NOT NULL,
    seconds INTEGER NOT NULL,
    at INTEGER NOT NULL,
    looks INTEGER NOT NULL,
    health TEXT NOT NULL,
    memory_total INTEGER,
    memory_used_low REAL, memory_used_mean REAL, memory_used_high REAL,
    utilisation_low REAL, utilisation_mean REAL, utilisation_high REAL,
    temperature_low REAL, temperature_mean REAL, temperature_high REAL,
    power_low REAL, power_mean REAL, power_high REAL,
    PRIMARY KEY (seconds, at, device)
) WITHOUT ROWID;
