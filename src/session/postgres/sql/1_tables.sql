-- What is kept. Times are microseconds since the Unix epoch, but those of gateways, which go by the
-- database's clock.
--
-- Text from outside is bytea: it may hold U+0000, and is compared exactly whatever the database's
-- encoding and collation are. Where it may be longer than an index takes, its digest is indexed.

-- One for each conversation. `lease_run` is the first run that may bind it, of `lease_gateway`; it is
-- somebody's while it is not null. `counted` says that `message_count` is all, and not what went by since
-- the thread was adopted. `made_for_run` says that no run had the lease but the one that it was made with.
CREATE TABLE session (
    id uuid PRIMARY KEY,
    user_id bytea NOT NULL,
    thread_id bytea,
    conversation text COLLATE "C",
    title bytea,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    bound_at bigint,
    message_count bigint NOT NULL DEFAULT 0,
    counted boolean NOT NULL DEFAULT true,
    adopted boolean NOT NULL DEFAULT false,
    quarantined_at bigint,
    lease_run uuid,
    lease_gateway uuid,
    leased_at bigint,
    lease_until bigint,
    made_for_run boolean NOT NULL DEFAULT false
);
CREATE UNIQUE INDEX session_by_thread ON session (sha256(thread_id)) WHERE thread_id IS NOT NULL;
CREATE UNIQUE INDEX session_by_conversation ON session (conversation)
    WHERE conversation IS NOT NULL;
CREATE INDEX session_by_user ON session (user_id, updated_at DESC, created_at DESC, id)
    WHERE quarantined_at IS NULL;
CREATE INDEX session_by_users_conversation
    ON session (user_id, updated_at DESC, created_at DESC, id)
    WHERE quarantined_at IS NULL AND conversation IS NOT NULL;
CREATE INDEX session_made_for_user ON session (user_id)
    WHERE quarantined_at IS NULL AND NOT adopted;
CREATE INDEX session_by_binding ON session (bound_at, id)
    WHERE quarantined_at IS NULL AND bound_at IS NOT NULL;
CREATE INDEX session_by_users_binding ON session (user_id, bound_at, id)
    WHERE quarantined_at IS NULL AND bound_at IS NOT NULL;

-- The openings of the store, each of a process. What one has in flight counts while it is alive.
CREATE TABLE gateway (
    id uuid PRIMARY KEY,
    alive_until timestamptz NOT NULL
);

-- What is in flight.
CREATE TABLE run (
    run_id uuid NOT NULL,
    gateway uuid NOT NULL,
    session_id uuid NOT NULL,
    begun_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (gateway, run_id)
);
CREATE INDEX run_by_session ON run (session_id, gateway);

CREATE TABLE deleted_thread (
    thread_id bytea NOT NULL,
    session_id uuid NOT NULL,
    bound_at bigint NOT NULL,
    deleted_at bigint NOT NULL
);
CREATE UNIQUE INDEX deleted_thread_by_id ON deleted_thread (sha256(thread_id));
CREATE INDEX deleted_thread_by_time ON deleted_thread (deleted_at);

-- What was adopted and then deleted, for ever.
CREATE TABLE deleted_adoption (
    kind text COLLATE "C" NOT NULL,
    id bytea NOT NULL
);
CREATE UNIQUE INDEX deleted_adoption_by_id ON deleted_adoption (kind, sha256(id));

-- Threads whose id was given to two users. The session that had it first may be gone.
CREATE TABLE quarantine (
    thread_id bytea NOT NULL,
    since bigint NOT NULL,
    times bigint NOT NULL,
    session_id uuid NOT NULL,
    user_id bytea NOT NULL,
    more_others bigint NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX quarantine_by_id ON quarantine (sha256(thread_id));
-- For its pages: an index has no room for ids of any length, but for what orders nearly all of them.
CREATE INDEX quarantine_in_order ON quarantine (substr(thread_id, 1, 512));
CREATE TABLE quarantine_other (
    thread_id bytea NOT NULL,
    user_id bytea NOT NULL,
    session_id uuid NOT NULL,
    since bigint NOT NULL,
    number bigint NOT NULL
);
CREATE UNIQUE INDEX quarantine_other_by_id ON quarantine_other (sha256(thread_id), user_id);

CREATE TABLE attachment (
    id bytea NOT NULL,
    user_id bytea NOT NULL,
    adopted boolean NOT NULL DEFAULT false
);
CREATE UNIQUE INDEX attachment_by_id ON attachment (sha256(id));

CREATE TABLE client_session (
    id bytea NOT NULL,
    user_id bytea NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    cancelled_at bigint,
    requests_per_minute bigint NOT NULL,
    details bytea NOT NULL
);
CREATE UNIQUE INDEX client_session_by_id ON client_session (sha256(id));
CREATE INDEX client_session_by_end ON client_session (expires_at);
CREATE INDEX client_session_by_user ON client_session (user_id, expires_at);

CREATE TABLE signing_key (
    id smallint PRIMARY KEY CHECK (id = 1),
    key bytea NOT NULL CHECK (length(key) = 32)
);

-- The last number that a client which keeps it as a floating-point number can tell from the next one.
CREATE SEQUENCE conversation_number AS bigint MAXVALUE 9007199254740991 NO CYCLE;

-- For people: text that isn't readable as such is shown with escapes.
CREATE FUNCTION readable(bytes bytea) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT SET search_path FROM CURRENT AS $$
BEGIN
    RETURN convert_from(bytes, 'UTF8');
EXCEPTION WHEN others THEN
    RETURN encode(bytes, 'escape');
END $$;
CREATE VIEW readable_session AS
    SELECT id, readable(user_id) AS user_id, readable(thread_id) AS thread_id, conversation,
        readable(title) AS title, to_timestamp(created_at / 1e6) AS created_at,
        to_timestamp(updated_at / 1e6) AS updated_at, to_timestamp(bound_at / 1e6) AS bound_at,
        message_count, counted, adopted, to_timestamp(quarantined_at / 1e6) AS quarantined_at,
        lease_run, lease_gateway, to_timestamp(lease_until / 1e6) AS lease_until
    FROM session;
CREATE VIEW readable_client_session AS
    SELECT readable(id) AS id, readable(user_id) AS user_id,
        to_timestamp(created_at / 1e6) AS created_at, to_timestamp(expires_at / 1e6) AS expires_at,
        to_timestamp(cancelled_at / 1e6) AS cancelled_at, requests_per_minute
    FROM client_session;
