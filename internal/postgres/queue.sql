-- What sqlc must know of River's table, where a query of ours looks into it. River's own migrations make it.
-- (https://riverqueue.com/docs/migrations)
CREATE SCHEMA river;
CREATE TABLE river.river_job (
    id           bigint PRIMARY KEY,
    kind         text  NOT NULL,
    args         jsonb NOT NULL,
    state        text  NOT NULL, -- an enum of River's
    queue        text  NOT NULL,
    scheduled_at timestamptz NOT NULL,
    attempted_at timestamptz,
    errors       jsonb[]
);
