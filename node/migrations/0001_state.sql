-- A node's durable state: ledger, audit, approvals.
-- Times are microseconds since 1970 (UTC); rho is in units of 10^-9; hashes are written sha256:HEX.

-- The highest time that any transaction has seen: the ledger's clock never goes back.
CREATE TABLE clock (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    highest INTEGER NOT NULL
) STRICT;

INSERT INTO clock (one, highest) VALUES (1, 0);

-- The hash chain. `record` is the canonical JSON that `hash` is over.
CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY CHECK (sequence > 0),
    record TEXT NOT NULL,
    hash TEXT NOT NULL
) STRICT;

-- One row an ask identity: charged, then answered. `question` is the identity without the
-- snapshot, by which a retry after a crash finds its charge although a new snapshot is active.
CREATE TABLE charge (
    ask TEXT PRIMARY KEY,
    question TEXT NOT NULL,
    snapshot TEXT NOT NULL,
    access_body TEXT NOT NULL,
    permit TEXT NOT NULL,
    rho INTEGER NOT NULL CHECK (rho > 0),
    charged_at INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('charged', 'answered')),
    claims TEXT,
    vectors BLOB,
    CHECK ((state = 'answered') = (claims IS NOT NULL AND vectors IS NOT NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX charge_by_time ON charge (charged_at, rho);
CREATE INDEX charge_by_permit ON charge (access_body, permit, rho);
CREATE INDEX charge_unanswered ON charge (question) WHERE state = 'charged';

-- The newest version of each permit that a trusted access body signed.
CREATE TABLE permit (
    access_body TEXT NOT NULL,
    permit TEXT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (access_body, permit)
) STRICT, WITHOUT ROWID;

-- Templates on offer, by content hash, and what the steward decided.
CREATE TABLE template (
    hash TEXT PRIMARY KEY,
    id TEXT NOT NULL,
    version TEXT NOT NULL,
    source TEXT NOT NULL,
    decision TEXT NOT NULL CHECK (decision IN ('pending', 'approved', 'rejected', 'withdrawn')),
    offered_at INTEGER NOT NULL,
    decided_at INTEGER,
    decided_by TEXT
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX template_one_approved ON template (id, version) WHERE decision = 'approved';
