-- Sessions that failed, by when: they are counted every few seconds, among years of use.
CREATE INDEX usage_unhappy ON usage (ended_at)
WHERE end_reason IN ('died', 'launch_failed', 'overdue', 'hung');
