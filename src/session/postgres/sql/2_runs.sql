-- Runs, and the gateways that have them. Each function is one call, and so one transaction. The next
-- statement of a function sees what others have committed before it (READ COMMITTED), so what is to be
-- exact is locked by one statement and read by a later one.
--
-- Locks are taken in this order, so that no two calls wait for each other: a user's (advisory), rows of
-- `session` in the order of their ids, of `quarantine`, of `run`, of `gateway`.

-- A gateway that isn't heard of for 20 s has nothing in flight any more.
CREATE FUNCTION is_alive(p_gateway uuid) RETURNS boolean
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT EXISTS (SELECT 1 FROM gateway WHERE id = p_gateway AND alive_until > clock_timestamp())
$$;

-- Says that a gateway is there, and buries what others have left that weren't for ten minutes: one that
-- the database was away from for less still settles its runs.
CREATE FUNCTION beat_1(p_gateway uuid) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    v_dead uuid;
BEGIN
    INSERT INTO gateway (id, alive_until) VALUES (p_gateway, clock_timestamp() + interval '20 s')
    ON CONFLICT (id) DO UPDATE SET alive_until = excluded.alive_until;
    FOR v_dead IN
        SELECT id FROM gateway WHERE alive_until < clock_timestamp() - interval '10 min' LIMIT 10
    LOOP
        DELETE FROM run WHERE (run_id, gateway) IN (
            SELECT run_id, gateway FROM run WHERE gateway = v_dead LIMIT 1000
            FOR UPDATE SKIP LOCKED);
        DELETE FROM gateway WHERE id = v_dead
            AND alive_until < clock_timestamp() - interval '10 min'
            AND NOT EXISTS (SELECT 1 FROM run WHERE run.gateway = v_dead);
    END LOOP;
END $$;

-- Says that it was there: nothing of its is in flight any more.
CREATE FUNCTION goodbye_1(p_gateway uuid) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    DELETE FROM run WHERE gateway = p_gateway;
    DELETE FROM gateway WHERE id = p_gateway;
END $$;

-- Adds a run of a gateway that others are to know of, whatever became of its last beat.
CREATE FUNCTION add_run_1(p_gateway uuid, p_session uuid, p_run uuid) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO run (run_id, gateway, session_id) VALUES (p_run, p_gateway, p_session);
    PERFORM 1 FROM gateway WHERE id = p_gateway
        AND alive_until > clock_timestamp() + interval '10 s';
    IF NOT FOUND THEN
        INSERT INTO gateway (id, alive_until)
        VALUES (p_gateway, clock_timestamp() + interval '20 s')
        ON CONFLICT (id) DO UPDATE SET alive_until = excluded.alive_until;
    END IF;
END $$;

-- Tells whether a lease that isn't over by its time is somebody's. One of this gateway that was given
-- after `p_latest` was so before the clock was set back; another gateway's clock may be ahead of ours, and
-- what it has ends with it.
CREATE FUNCTION holds_1(p_gateway uuid, p_holder uuid, p_leased_at bigint, p_latest bigint)
RETURNS boolean LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT CASE WHEN p_holder = p_gateway THEN p_leased_at <= p_latest ELSE is_alive(p_holder) END
$$;

-- How many runs of a session are in flight. Its row is locked.
CREATE FUNCTION in_flight_1(p_gateway uuid, p_session uuid) RETURNS bigint
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT count(*) FROM run WHERE session_id = p_session AND (gateway = p_gateway
        OR EXISTS (SELECT 1 FROM gateway AS other
            WHERE other.id = run.gateway AND other.alive_until > clock_timestamp()))
$$;

-- `p_on` is 'any', 'bound', or 'named': `p_named`. `p_uncounted` is 'begin', 'tell', or 'counted': with
-- what went by before, `p_seen`, and what was counted, `p_counted`.
CREATE FUNCTION begin_run_1(
    p_gateway uuid, p_id uuid, p_conversation text, p_thread bytea, p_on text, p_named bytea,
    p_user bytea, p_run uuid, p_max bigint, p_now bigint, p_latest bigint, p_lease_until bigint,
    p_uncounted text, p_seen bigint, p_counted bigint,
    OUT o_start text, OUT o_session uuid, OUT o_thread bytea, OUT o_titled boolean,
    OUT o_seen bigint
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    s session;
    v_run_is_old boolean;
    v_in_flight bigint;
    v_messages bigint;
BEGIN
    LOOP
        IF p_id IS NOT NULL THEN
            SELECT * INTO s FROM session
                WHERE id = p_id AND user_id = p_user AND quarantined_at IS NULL FOR UPDATE;
        ELSIF p_conversation IS NOT NULL THEN
            SELECT * INTO s FROM session WHERE conversation = p_conversation
                AND user_id = p_user AND quarantined_at IS NULL FOR UPDATE;
        ELSE
            SELECT * INTO s FROM session WHERE sha256(thread_id) = sha256(p_thread)
                AND thread_id = p_thread
                AND user_id = p_user AND quarantined_at IS NULL FOR UPDATE;
        END IF;
        EXIT WHEN FOUND;
        -- Who is refused locks nothing.
        IF p_id IS NOT NULL THEN
            SELECT * INTO s FROM session WHERE id = p_id;
        ELSIF p_conversation IS NOT NULL THEN
            SELECT * INTO s FROM session WHERE conversation = p_conversation;
        ELSE
            SELECT * INTO s FROM session
                WHERE sha256(thread_id) = sha256(p_thread) AND thread_id = p_thread;
        END IF;
        o_start := CASE
            WHEN NOT FOUND THEN 'unknown'
            WHEN s.user_id <> p_user THEN 'foreign'
            WHEN s.quarantined_at IS NOT NULL THEN 'quarantined'
        END;
        IF o_start IS NOT NULL THEN
            RETURN;
        END IF;
    END LOOP;
    o_session := s.id;
    o_thread := s.thread_id;
    o_titled := s.title IS NOT NULL;
    o_start := CASE
        WHEN p_on = 'bound' AND s.thread_id IS NULL THEN 'unbound'
        WHEN p_on = 'named' AND s.thread_id IS DISTINCT FROM p_named THEN 'other_thread'
    END;
    IF o_start IS NOT NULL THEN
        RETURN;
    END IF;

    v_run_is_old := EXISTS (SELECT 1 FROM run
        WHERE run_id = p_run AND gateway = p_gateway AND session_id = s.id);
    IF s.thread_id IS NULL AND s.lease_run IS NOT NULL
        AND NOT (s.lease_run = p_run AND s.lease_gateway = p_gateway)
        -- A run of the same id elsewhere keeps its lease whatever its time: by its id alone it would be
        -- both runs'.
        AND (s.lease_run = p_run OR p_now < s.lease_until)
        AND holds_1(p_gateway, s.lease_gateway, s.leased_at, p_latest)
    THEN
        o_start := 'busy';
        RETURN;
    END IF;
    IF NOT v_run_is_old THEN
        v_in_flight := in_flight_1(p_gateway, s.id);
        IF NOT s.counted AND v_in_flight = 0 AND p_uncounted = 'counted'
            AND p_seen = s.message_count
        THEN
            UPDATE session SET message_count = p_counted, counted = true WHERE id = s.id;
            s.message_count := p_counted;
            s.counted := true;
        END IF;
        v_messages := s.message_count;
        IF NOT s.counted AND s.thread_id IS NOT NULL THEN
            IF p_uncounted = 'tell' THEN
                o_start := 'uncounted';
                o_seen := s.message_count;
                RETURN;
            ELSIF p_uncounted = 'counted' THEN
                v_messages := p_counted + greatest(s.message_count - p_seen, 0);
            END IF;
        END IF;
        IF v_messages + v_in_flight >= p_max THEN
            o_start := 'message_limit';
            RETURN;
        END IF;
        PERFORM add_run_1(p_gateway, s.id, p_run);
    END IF;
    IF s.thread_id IS NOT NULL THEN
        o_start := 'next';
        RETURN;
    END IF;
    UPDATE session SET lease_run = p_run, lease_gateway = p_gateway, leased_at = p_now,
            lease_until = p_lease_until,
            made_for_run = made_for_run
                AND lease_run IS NOT DISTINCT FROM p_run AND lease_gateway = p_gateway
        WHERE id = s.id;
    o_start := 'first';
END $$;

-- Ends runs, in the order in which they were settled. One that isn't in flight is left as it is, so it is
-- harmless to do it again. Whose session it is, is looked up if it isn't known. Unless `p_waits`, what was
-- left in sessions that somebody has locked is skipped, and given by its places, from 1 on.
CREATE FUNCTION settle_1(
    p_gateway uuid, p_sessions uuid[], p_runs uuid[], p_messages bigint[], p_titled boolean[],
    p_titles bytea[], p_touched_at bigint[], p_discard boolean[], p_waits boolean
) RETURNS bigint[] LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e record;
    v_locked uuid;
    v_skipped bigint[] := '{}';
BEGIN
    FOR e IN
        SELECT coalesce(u.session_id, run.session_id) AS session_id, u.run_id, messages, titled,
            title, touched_at, discard, place
        FROM unnest(p_sessions, p_runs, p_messages, p_titled, p_titles, p_touched_at, p_discard)
            WITH ORDINALITY
            AS u (session_id, run_id, messages, titled, title, touched_at, discard, place)
        LEFT JOIN run ON u.session_id IS NULL
            AND run.run_id = u.run_id AND run.gateway = p_gateway
        ORDER BY 1, place
    LOOP
        IF p_waits THEN
            PERFORM 1 FROM session WHERE id = e.session_id FOR UPDATE;
        ELSE
            -- All of a session's, or they would not be in their order.
            IF v_locked IS DISTINCT FROM e.session_id THEN
                v_locked := NULL;
                PERFORM 1 FROM session WHERE id = e.session_id FOR UPDATE SKIP LOCKED;
                IF NOT FOUND THEN
                    SELECT id INTO v_locked FROM session WHERE id = e.session_id;
                END IF;
            END IF;
            IF v_locked = e.session_id THEN
                v_skipped := v_skipped || e.place;
                CONTINUE;
            END IF;
        END IF;
        DELETE FROM run
            WHERE run_id = e.run_id AND gateway = p_gateway AND session_id = e.session_id;
        CONTINUE WHEN NOT FOUND;
        IF e.discard THEN
            DELETE FROM session WHERE id = e.session_id AND thread_id IS NULL
                AND lease_run = e.run_id AND lease_gateway = p_gateway;
            IF FOUND THEN
                DELETE FROM run WHERE session_id = e.session_id;
                CONTINUE;
            END IF;
        END IF;
        UPDATE session SET
            message_count = least(message_count + e.messages, 9007199254740992),
            title = CASE WHEN e.titled THEN e.title ELSE title END,
            updated_at = greatest(updated_at, e.touched_at),
            lease_run = CASE WHEN lease_gateway = p_gateway THEN nullif(lease_run, e.run_id)
                ELSE lease_run END
        WHERE id = e.session_id;
    END LOOP;
    RETURN v_skipped;
END $$;

-- Ends runs of a session and begins one in it, which has one commit and one answer. All of them are the
-- session's own, or another one's lock would be taken out of its order.
CREATE FUNCTION settle_and_begin_run_1(
    p_gateway uuid, p_sessions uuid[], p_runs uuid[], p_messages bigint[], p_titled boolean[],
    p_titles bytea[], p_touched_at bigint[], p_discard boolean[],
    p_id uuid, p_conversation text, p_thread bytea, p_on text, p_named bytea,
    p_user bytea, p_run uuid, p_max bigint, p_now bigint, p_latest bigint, p_lease_until bigint,
    p_uncounted text, p_seen bigint, p_counted bigint,
    OUT o_start text, OUT o_session uuid, OUT o_thread bytea, OUT o_titled boolean,
    OUT o_seen bigint
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM settle_1(p_gateway, p_sessions, p_runs, p_messages, p_titled, p_titles,
        p_touched_at, p_discard, true);
    SELECT b.o_start, b.o_session, b.o_thread, b.o_titled, b.o_seen
        INTO o_start, o_session, o_thread, o_titled, o_seen
        FROM begin_run_1(p_gateway, p_id, p_conversation, p_thread, p_on, p_named, p_user, p_run,
            p_max, p_now, p_latest, p_lease_until, p_uncounted, p_seen, p_counted) AS b;
END $$;

CREATE FUNCTION set_message_count_1(
    p_gateway uuid, p_id uuid, p_known boolean, p_seen bigint, p_messages bigint
) RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM 1 FROM session WHERE id = p_id FOR UPDATE;
    IF FOUND AND in_flight_1(p_gateway, p_id) = 0 THEN
        UPDATE session SET message_count = p_messages, counted = true
            WHERE id = p_id AND counted = p_known AND message_count = p_seen;
    END IF;
END $$;

-- Tells whose a thread is that the upstream names in a run of session `p_id`, which is or was `p_user`'s:
-- nothing if it is no other session's. That of another user goes into quarantine.
CREATE FUNCTION reuse_1(
    p_id uuid, p_user bytea, p_thread bytea, p_now bigint,
    OUT o_session uuid, OUT o_owner bytea, OUT o_quarantined bigint
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    v_since bigint;
    v_others bigint;
BEGIN
    SELECT id, user_id, quarantined_at INTO o_session, o_owner, v_since FROM session
        WHERE sha256(thread_id) = sha256(p_thread) AND thread_id = p_thread FOR UPDATE;
    IF NOT FOUND THEN
        SELECT session_id, user_id, since INTO o_session, o_owner, v_since FROM quarantine
            WHERE sha256(thread_id) = sha256(p_thread) AND thread_id = p_thread FOR UPDATE;
    END IF;
    IF o_session = p_id THEN
        o_session := NULL;
    END IF;
    IF o_session IS NULL OR (o_owner = p_user AND v_since IS NULL) THEN
        RETURN;
    END IF;
    INSERT INTO quarantine AS q (thread_id, since, times, session_id, user_id)
        VALUES (p_thread, p_now, 1, o_session, o_owner)
        ON CONFLICT (sha256(thread_id)) DO UPDATE SET times = q.times + 1;
    IF o_owner <> p_user THEN
        PERFORM 1 FROM quarantine_other
            WHERE sha256(thread_id) = sha256(p_thread) AND user_id = p_user;
        IF NOT FOUND THEN
            SELECT count(*) INTO v_others FROM quarantine_other
                WHERE sha256(thread_id) = sha256(p_thread);
            IF v_others < 100 THEN
                INSERT INTO quarantine_other (thread_id, user_id, session_id, since, number)
                    VALUES (p_thread, p_user, p_id, p_now, v_others);
            ELSE
                UPDATE quarantine SET more_others = more_others + 1
                    WHERE sha256(thread_id) = sha256(p_thread);
            END IF;
        END IF;
    END IF;
    UPDATE session SET quarantined_at = p_now
        WHERE id = o_session AND quarantined_at IS NULL AND thread_id = p_thread;
    SELECT count(*) INTO o_quarantined FROM (SELECT FROM quarantine LIMIT 10000) AS counted;
END $$;

-- `p_again` says that it may have been done already.
CREATE FUNCTION bind_1(
    p_gateway uuid, p_id uuid, p_user bytea, p_run uuid, p_thread bytea, p_now bigint,
    p_again boolean,
    OUT o_bound text, OUT o_session uuid, OUT o_owner bytea, OUT o_quarantined bigint
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    LOOP
        -- First: what the upstream has done to the thread it has done, whoever has the lease.
        SELECT r.o_session, r.o_owner, r.o_quarantined INTO o_session, o_owner, o_quarantined
            FROM reuse_1(p_id, p_user, p_thread, p_now) AS r;
        IF o_session IS NOT NULL THEN
            o_bound := 'reused';
            RETURN;
        END IF;
        BEGIN
            UPDATE session SET thread_id = p_thread, updated_at = greatest(updated_at, p_now),
                    bound_at = p_now, lease_run = NULL
                WHERE id = p_id AND lease_run = p_run AND lease_gateway = p_gateway;
            o_bound := CASE WHEN FOUND THEN 'done' ELSE 'lease_lost' END;
            -- Nobody else binds a thread at this very moment whose run is in flight here.
            IF p_again AND NOT FOUND AND EXISTS (SELECT 1 FROM run JOIN session ON id = session_id
                WHERE id = p_id AND run_id = p_run AND gateway = p_gateway
                    AND thread_id = p_thread AND bound_at = p_now AND lease_run IS NULL)
            THEN
                o_bound := 'done';
            END IF;
            RETURN;
        EXCEPTION WHEN unique_violation THEN
            -- Another session has it since that was asked.
        END;
    END LOOP;
END $$;
