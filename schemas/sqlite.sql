-- The embedded store. The same three tables as the distributed one: the latest whole set of each
-- user, each user's changes, how far the job has come; and the rule sets that explain them.
CREATE TABLE user_segments (
    user_id TEXT PRIMARY KEY,
    document BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE segment_changes (
    user_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    document BLOB NOT NULL,
    PRIMARY KEY (user_id, version)
) WITHOUT ROWID;

CREATE TABLE job_progress (
    subtask INTEGER PRIMARY KEY,
    as_of INTEGER NOT NULL
);

CREATE TABLE rulesets (
    version INTEGER PRIMARY KEY,
    document BLOB NOT NULL
);

PRAGMA user_version = 1;
