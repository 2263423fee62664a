-- Sessions and all that isn't a run. See the head of the functions of runs.

-- A lock on what a user has.
CREATE FUNCTION lock_user_1(p_kind text, p_user bytea) RETURNS void
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT pg_advisory_xact_lock(hashtextextended(
        (p_kind || ' of ' || encode(p_user, 'hex')) COLLATE "C", 'session'::regclass::oid::bigint))
$$;

-- Removes a session whose row is locked, keeps the place of its thread, and forgets some that were
-- deleted before `p_gone`.
CREATE FUNCTION remove_1(p_id uuid, p_now bigint, p_gone bigint) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    s session;
BEGIN
    DELETE FROM run WHERE session_id = p_id;
    DELETE FROM session WHERE id = p_id RETURNING * INTO s;
    DELETE FROM deleted_thread WHERE sha256(thread_id) IN (
        SELECT sha256(thread_id) FROM deleted_thread WHERE deleted_at < p_gone LIMIT 64
        FOR UPDATE SKIP LOCKED);
    IF s.adopted THEN
        INSERT INTO deleted_adoption (kind, id) VALUES ('thread', s.thread_id)
            ON CONFLICT DO NOTHING;
    END IF;
    -- A server that was set up anew may use an id again: the last place counts.
    IF s.bound_at IS NOT NULL AND s.quarantined_at IS NULL THEN
        INSERT INTO deleted_thread (thread_id, session_id, bound_at, deleted_at)
            VALUES (s.thread_id, s.id, s.bound_at, p_now)
            ON CONFLICT (sha256(thread_id)) DO UPDATE SET session_id = excluded.session_id,
                bound_at = excluded.bound_at, deleted_at = excluded.deleted_at;
    END IF;
END $$;

CREATE FUNCTION create_session_1(
    p_gateway uuid, p_id uuid, p_user bytea, p_title bytea, p_conversation text, p_next boolean,
    p_now bigint, p_max bigint, p_run uuid, p_leased_at bigint, p_lease_until bigint,
    OUT o_created text, OUT o_conversation text
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    v_has bigint;
    v_left uuid;
BEGIN
    PERFORM 1 FROM session WHERE id = p_id;
    IF FOUND THEN
        o_created := 'id_taken';
        RETURN;
    END IF;
    IF p_max IS NOT NULL THEN
        PERFORM lock_user_1('sessions', p_user);
        FOR v_round IN 1..2 LOOP
            SELECT count(*) INTO v_has FROM (SELECT 1 FROM session
                WHERE user_id = p_user AND NOT adopted AND quarantined_at IS NULL LIMIT p_max) AS made;
            EXIT WHEN v_has < p_max;
            IF v_round = 2 THEN
                o_created := 'limit_reached';
                RETURN;
            END IF;
            -- What was made for runs of gateways that are gone makes room.
            FOR v_left IN
                SELECT id FROM session WHERE user_id = p_user AND NOT adopted
                    AND quarantined_at IS NULL AND made_for_run AND thread_id IS NULL
                    AND lease_run IS NOT NULL AND lease_gateway <> p_gateway
                    AND NOT is_alive(lease_gateway)
                ORDER BY id LIMIT 64 FOR UPDATE
            LOOP
                PERFORM remove_1(v_left, p_now, NULL);
            END LOOP;
        END LOOP;
    END IF;
    o_conversation := p_conversation;
    IF p_next THEN
        -- Shared with all but who leaves numbers behind.
        PERFORM pg_advisory_xact_lock_shared('conversation_number'::regclass::oid::bigint);
        o_conversation := nextval('conversation_number')::text;
    END IF;
    INSERT INTO session (id, user_id, title, created_at, updated_at, conversation, lease_run,
            lease_gateway, leased_at, lease_until, made_for_run)
        VALUES (p_id, p_user, p_title, p_now, p_now, o_conversation, p_run,
            CASE WHEN p_run IS NOT NULL THEN p_gateway END, p_leased_at, p_lease_until,
            p_run IS NOT NULL)
        ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        PERFORM 1 FROM session WHERE id = p_id;
        o_created := CASE WHEN FOUND THEN 'id_taken' ELSE 'conversation_taken' END;
        RETURN;
    END IF;
    IF p_run IS NOT NULL THEN
        PERFORM add_run_1(p_gateway, p_id, p_run);
    END IF;
    o_created := 'done';
END $$;

CREATE FUNCTION delete_session_1(
    p_gateway uuid, p_id uuid, p_thread bytea, p_now bigint, p_latest bigint, p_gone bigint,
    OUT o_deletion text, OUT o_thread bytea
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    s session;
BEGIN
    SELECT * INTO s FROM session WHERE id = p_id FOR UPDATE;
    o_deletion := CASE
        WHEN NOT FOUND THEN 'unknown'
        WHEN s.quarantined_at IS NOT NULL THEN 'quarantined'
        WHEN s.thread_id IS NULL AND p_thread IS NOT NULL THEN 'unknown'
        WHEN s.thread_id IS DISTINCT FROM p_thread THEN 'bound'
        WHEN s.thread_id IS NULL AND s.lease_run IS NOT NULL AND p_now < s.lease_until
            AND holds_1(p_gateway, s.lease_gateway, s.leased_at, p_latest) THEN 'busy'
        ELSE 'done'
    END;
    o_thread := s.thread_id;
    IF o_deletion = 'done' THEN
        PERFORM remove_1(p_id, p_now, p_gone);
    END IF;
END $$;

CREATE FUNCTION signing_key_1(p_fresh bytea) RETURNS bytea
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    v_key bytea;
BEGIN
    SELECT key INTO v_key FROM signing_key;
    IF NOT FOUND THEN
        INSERT INTO signing_key (id, key) VALUES (1, p_fresh) ON CONFLICT DO NOTHING;
        SELECT key INTO v_key FROM signing_key;
    END IF;
    RETURN v_key;
END $$;

CREATE FUNCTION release_1(p_thread bytea) RETURNS text
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    v_session uuid;
BEGIN
    SELECT id INTO v_session FROM session
        WHERE sha256(thread_id) = sha256(p_thread) AND thread_id = p_thread FOR UPDATE;
    DELETE FROM quarantine WHERE sha256(thread_id) = sha256(p_thread) AND thread_id = p_thread;
    IF NOT FOUND THEN
        RETURN 'unknown';
    END IF;
    DELETE FROM quarantine_other WHERE sha256(thread_id) = sha256(p_thread);
    UPDATE session SET quarantined_at = NULL WHERE id = v_session AND quarantined_at IS NOT NULL;
    RETURN CASE WHEN FOUND THEN 'to_owner' ELSE 'id' END;
END $$;

CREATE FUNCTION delete_quarantined_1(p_thread bytea, p_now bigint, p_gone bigint) RETURNS boolean
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    v_session uuid;
BEGIN
    UPDATE session SET quarantined_at = NULL WHERE sha256(thread_id) = sha256(p_thread)
        AND thread_id = p_thread AND quarantined_at IS NOT NULL RETURNING id INTO v_session;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM remove_1(v_session, p_now, p_gone);
    RETURN true;
END $$;

CREATE FUNCTION own_attachment_1(p_user bytea, p_id bytea) RETURNS boolean
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    v_owner bytea;
BEGIN
    LOOP
        INSERT INTO attachment (id, user_id) VALUES (p_id, p_user) ON CONFLICT DO NOTHING;
        IF FOUND THEN
            RETURN true;
        END IF;
        SELECT user_id INTO v_owner FROM attachment
            WHERE sha256(id) = sha256(p_id) AND id = p_id;
        IF FOUND THEN
            RETURN v_owner = p_user;
        END IF;
    END LOOP;
END $$;

CREATE FUNCTION create_client_session_1(
    p_id bytea, p_user bytea, p_created_at bigint, p_expires_at bigint, p_requests bigint,
    p_details bytea, p_max bigint, p_latest bigint, p_gone bigint
) RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    v_active bigint;
BEGIN
    PERFORM lock_user_1('client sessions', p_user);
    DELETE FROM client_session WHERE sha256(id) IN (
        SELECT sha256(id) FROM client_session WHERE expires_at < p_gone LIMIT 64
        FOR UPDATE SKIP LOCKED);
    SELECT count(*) INTO v_active FROM (SELECT 1 FROM client_session
        WHERE user_id = p_user AND expires_at > p_created_at AND created_at <= p_latest
            AND cancelled_at IS NULL LIMIT p_max) AS active;
    IF v_active >= p_max THEN
        RETURN false;
    END IF;
    INSERT INTO client_session
        (id, user_id, created_at, expires_at, requests_per_minute, details)
        VALUES (p_id, p_user, p_created_at, p_expires_at, p_requests, p_details);
    RETURN true;
END $$;

CREATE FUNCTION cancel_client_session_1(p_id bytea, p_now bigint) RETURNS SETOF client_session
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE client_session SET cancelled_at = p_now WHERE sha256(id) = sha256(p_id) AND id = p_id
        AND cancelled_at IS NULL AND expires_at > p_now;
    RETURN QUERY SELECT * FROM client_session WHERE sha256(id) = sha256(p_id) AND id = p_id;
END $$;

-- Adopts one thing after the other. `p_kinds` are 'attachment', 'thread', or 'conversation' and 'session'
-- for a thread that is known by that. `p_numbers` are those of the conversations that are numbers.
CREATE FUNCTION adopt_1(
    p_kinds text[], p_ids bytea[], p_users bytea[], p_titles bytea[], p_created_at bigint[],
    p_updated_at bigint[], p_sessions uuid[], p_conversations text[], p_numbers bigint[]
) RETURNS SETOF text LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e record;
    s session;
    v_owner bytea;
    v_last bigint;
BEGIN
    -- One at a time: what two have in another order they would wait for at each other.
    PERFORM pg_advisory_xact_lock('deleted_adoption'::regclass::oid::bigint);
    -- Before there is anything that who takes the next number would wait for.
    IF EXISTS (SELECT 1 FROM unnest(p_numbers) AS number WHERE number IS NOT NULL) THEN
        PERFORM pg_advisory_xact_lock('conversation_number'::regclass::oid::bigint);
    END IF;
    FOR e IN
        SELECT * FROM unnest(p_kinds, p_ids, p_users, p_titles, p_created_at, p_updated_at,
            p_sessions, p_conversations, p_numbers) WITH ORDINALITY AS u (kind, id, user_id, title,
            created_at, updated_at, session_id, conversation, number, place)
        ORDER BY place
    LOOP
        IF e.kind = 'attachment' THEN
            -- Locked, or found again when who deletes it has: then that it was deleted is seen.
            SELECT user_id INTO v_owner FROM attachment
                WHERE sha256(id) = sha256(e.id) AND id = e.id FOR UPDATE;
            IF NOT FOUND AND EXISTS (SELECT 1 FROM deleted_adoption
                WHERE kind = 'attachment' AND sha256(id) = sha256(e.id) AND id = e.id)
            THEN
                RETURN NEXT 'deleted';
                CONTINUE;
            END IF;
            IF v_owner IS NULL THEN
                INSERT INTO attachment (id, user_id, adopted) VALUES (e.id, e.user_id, true)
                    ON CONFLICT DO NOTHING;
                IF FOUND THEN
                    RETURN NEXT 'done';
                    CONTINUE;
                END IF;
                SELECT user_id INTO v_owner FROM attachment
                    WHERE sha256(id) = sha256(e.id) AND id = e.id;
            END IF;
            RETURN NEXT CASE
                WHEN v_owner IS NULL THEN 'deleted'
                WHEN v_owner = e.user_id THEN 'known'
                ELSE 'another_user'
            END;
            CONTINUE;
        END IF;
        SELECT * INTO s FROM session
            WHERE sha256(thread_id) = sha256(e.id) AND thread_id = e.id FOR UPDATE;
        IF NOT FOUND THEN
            PERFORM 1 FROM quarantine WHERE sha256(thread_id) = sha256(e.id) AND thread_id = e.id;
            IF FOUND THEN
                RETURN NEXT 'quarantined';
                CONTINUE;
            END IF;
            IF EXISTS (SELECT 1 FROM deleted_adoption
                    WHERE kind = 'thread' AND sha256(id) = sha256(e.id) AND id = e.id)
                OR EXISTS (SELECT 1 FROM deleted_thread
                    WHERE sha256(thread_id) = sha256(e.id) AND thread_id = e.id)
            THEN
                RETURN NEXT 'deleted';
                CONTINUE;
            END IF;
            INSERT INTO session (id, user_id, thread_id, title, created_at, updated_at, bound_at,
                    counted, conversation, adopted)
                VALUES (e.session_id, e.user_id, e.id, e.title, e.created_at, e.updated_at,
                    e.created_at, false, e.conversation, true)
                ON CONFLICT DO NOTHING;
            IF FOUND THEN
                v_last := greatest(v_last, e.number);
                RETURN NEXT 'done';
                CONTINUE;
            END IF;
            -- Its thread was bound a moment ago, or what it is to be known by is another's.
            SELECT * INTO s FROM session
                WHERE sha256(thread_id) = sha256(e.id) AND thread_id = e.id;
        END IF;
        RETURN NEXT CASE
            WHEN s.id IS NULL AND e.kind = 'session' THEN 'session_taken'
            WHEN s.id IS NULL THEN 'conversation_taken'
            WHEN s.quarantined_at IS NOT NULL THEN 'quarantined'
            WHEN s.user_id <> e.user_id THEN 'another_user'
            WHEN e.kind = 'session' AND s.id <> e.session_id THEN 'other_conversation'
            WHEN e.kind = 'conversation' AND s.conversation IS DISTINCT FROM e.conversation
                THEN 'other_conversation'
            ELSE 'known'
        END;
    END LOOP;
    IF v_last IS NOT NULL THEN
        PERFORM setval('conversation_number', least(v_last, 9007199254740991))
            FROM conversation_number WHERE last_value < v_last OR NOT is_called;
    END IF;
END $$;
