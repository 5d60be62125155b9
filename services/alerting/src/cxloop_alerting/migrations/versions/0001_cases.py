"""Scores as facts, the log, and the projections folded from them: cases, their ids, timers."""

from alembic import op

from cxloop_common.database.foundation import create_foundation_tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE facts (
    document text PRIMARY KEY,
    hint text NOT NULL,
    at timestamptz NOT NULL,
    generation bigint NOT NULL,
    revision bigint NOT NULL,
    record_id text NOT NULL,
    metric text NOT NULL,
    band text NOT NULL,
    value double precision NOT NULL,
    scale text NOT NULL,
    labels text NOT NULL
);
COMMENT ON COLUMN facts.hint IS 'customer hint; an anonymous score stands under its document id';
COMMENT ON COLUMN facts.labels IS 'JSON, only ever read whole; text is cheaper to write than jsonb';
CREATE INDEX facts_hint ON facts (hint, at);

CREATE TABLE identities (identifier text PRIMARY KEY, customer text NOT NULL, version bigint NOT NULL);
CREATE INDEX identities_customer ON identities (customer);

CREATE TABLE cards (customer text PRIMARY KEY, version bigint NOT NULL, card text NOT NULL);

CREATE TABLE subjects (customer text PRIMARY KEY);
COMMENT ON TABLE subjects IS 'the lock on a customer, or on a hint that no customer is known for';

CREATE TABLE log (
    id text PRIMARY KEY,
    seq bigint GENERATED ALWAYS AS IDENTITY,
    kind text NOT NULL,
    case_id text NOT NULL,
    document text NOT NULL,
    rule text NOT NULL,
    at timestamptz NOT NULL,
    actor text NOT NULL,
    body jsonb NOT NULL,
    known text[] NOT NULL
);
COMMENT ON COLUMN log.document IS 'of the trigger: entries follow it through merges and splits';
CREATE INDEX log_document ON log (document);
CREATE INDEX log_picks ON log ((body #>> '{owner,team}'), seq) WHERE kind = 'assigned';

CREATE TABLE cases (
    case_id text PRIMARY KEY,
    customer text NOT NULL,
    customer_id text,
    customer_hint text,
    rule text NOT NULL,
    status text NOT NULL,
    reason text NOT NULL,
    severity text NOT NULL,
    route text NOT NULL,
    copies text[] NOT NULL,
    owner_kind text NOT NULL,
    owner_id text NOT NULL,
    owner_name text NOT NULL,
    owner_team text,
    score jsonb NOT NULL,
    triggers text[] NOT NULL,
    documents text[] NOT NULL,
    opened_at timestamptz NOT NULL,
    due_at timestamptz,
    acknowledged_at timestamptz,
    contacted_at timestamptz,
    resolved_at timestamptz,
    escalated_at timestamptz,
    escalated_to text,
    root_cause text,
    config text NOT NULL,
    changes integer NOT NULL,
    context jsonb NOT NULL,
    supersedes text[] NOT NULL,
    version integer NOT NULL
);
COMMENT ON COLUMN cases.customer IS 'the subject that is locked to change the case';
COMMENT ON COLUMN cases.changes IS 'lines of its history, so that a note is a new version too';
CREATE INDEX cases_customer ON cases (customer);
CREATE INDEX cases_owner ON cases (owner_id, status);
CREATE INDEX cases_opened ON cases (opened_at, case_id);

CREATE TABLE case_triggers (trigger text PRIMARY KEY, case_id text NOT NULL, version integer NOT NULL DEFAULT 0);
COMMENT ON COLUMN case_triggers.version IS 'last version shown under this id when it was a case of its own';

CREATE TABLE timers (
    id text PRIMARY KEY,
    case_id text NOT NULL,
    kind text NOT NULL,
    step integer NOT NULL,
    due_at timestamptz NOT NULL
);
CREATE INDEX timers_due ON timers (due_at);
CREATE INDEX timers_case ON timers (case_id);

CREATE TABLE configs (
    digest text PRIMARY KEY,
    since timestamptz NOT NULL,
    rules text NOT NULL,
    routes text NOT NULL
);
COMMENT ON COLUMN configs.since IS 'an event is judged by the configuration of its own time';
"""


def upgrade() -> None:
    create_foundation_tables(op)
    for statement in TABLES.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    for table in (
        "configs", "timers", "case_triggers", "cases", "log", "subjects", "cards", "identities", "facts",
        "outbox", "dead_letters", "offsets",
    ):  # fmt: skip
        op.execute(f"DROP TABLE {table}")
