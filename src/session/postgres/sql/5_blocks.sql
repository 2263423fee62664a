-- Who is shut out.

CREATE TABLE blocked_user (
    user_id bytea PRIMARY KEY,
    since bigint NOT NULL,
    reason bytea
);

-- A token of what the list is, drawn by whoever changes it.
CREATE TABLE block_version (
    id smallint PRIMARY KEY CHECK (id = 1),
    version uuid NOT NULL
);
INSERT INTO block_version (id, version) VALUES (1, '00000000-0000-0000-0000-000000000000');

-- One at a time, so that the list stays within its bound.
CREATE FUNCTION block_user_1(
    p_user bytea, p_since bigint, p_reason bytea, p_version uuid, p_max bigint
) RETURNS text LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    v_blocked bigint;
BEGIN
    PERFORM pg_advisory_xact_lock('blocked_user'::regclass::oid::bigint);
    PERFORM 1 FROM blocked_user WHERE user_id = p_user;
    IF FOUND THEN
        RETURN 'already';
    END IF;
    SELECT count(*) INTO v_blocked FROM blocked_user;
    IF v_blocked >= p_max THEN
        RETURN 'full';
    END IF;
    INSERT INTO blocked_user (user_id, since, reason) VALUES (p_user, p_since, p_reason);
    UPDATE block_version SET version = p_version;
    RETURN 'done';
END $$;

CREATE FUNCTION unblock_user_1(p_user bytea, p_version uuid) RETURNS boolean
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM pg_advisory_xact_lock('blocked_user'::regclass::oid::bigint);
    DELETE FROM blocked_user WHERE user_id = p_user;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE block_version SET version = p_version;
    RETURN true;
END $$;
