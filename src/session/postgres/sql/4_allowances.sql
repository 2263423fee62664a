-- Limits of requests that gateways share: the same arithmetic as `Ledger`'s. Times are microseconds of the
-- database's clock.

-- A user's, or a client session's: its slices that are out, and the requests of those that were reported, by
-- the last moments in which they may have been let in. `seen` is the latest time that it was looked at, and
-- `last` the last id that was given. It may go from `sweep_at` on, which is rounded up so far that it seldom
-- changes: an update that touches no index stays on its page, and the next ones clean up behind it.
CREATE TABLE allowance (
    key bytea PRIMARY KEY,
    seen bigint NOT NULL DEFAULT 0,
    last bigint NOT NULL DEFAULT 0,
    slices bigint[] NOT NULL DEFAULT '{}',
    granted_at bigint[] NOT NULL DEFAULT '{}',
    requests bigint[] NOT NULL DEFAULT '{}',
    lasts bigint[] NOT NULL DEFAULT '{}',
    used bigint[] NOT NULL DEFAULT '{}',
    sweep_at bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
CREATE INDEX allowance_by_end ON allowance (sweep_at);

CREATE FUNCTION allowance_clock() RETURNS bigint
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
$$;

-- Tells when the requests of a row count no more.
CREATE FUNCTION allowance_ends(a allowance, p_window bigint)
RETURNS TABLE (over_at bigint, requests bigint)
LANGUAGE sql IMMUTABLE SET search_path FROM CURRENT AS $$
    SELECT s.granted_at + (p_window + 9) / 10 + p_window, s.requests
        FROM unnest(a.granted_at, a.requests) AS s (granted_at, requests)
    UNION ALL
    SELECT u.last + p_window, u.requests FROM unnest(a.lasts, a.used) AS u (last, requests)
$$;

-- Applies reports, and forgets what counts no more. The uses of a report are those with its number.
CREATE FUNCTION allowance_reported(
    a allowance, p_window bigint, p_slices bigint[], p_given bigint[],
    p_of bigint[], p_after bigint[], p_requests bigint[]
) RETURNS allowance
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    v_now bigint := allowance_clock();
    v_ahead bigint := a.seen - v_now;
    v_life bigint := (p_window + 9) / 10;
    v_moment bigint := greatest((p_window + 59) / 60, 1);
BEGIN
    IF v_ahead > 0 AND cardinality(a.slices) + cardinality(a.lasts) > 0 THEN
        IF v_ahead > 5000000 THEN
            -- It was set back: no time has passed.
            a.granted_at := ARRAY(SELECT at - v_ahead
                FROM unnest(a.granted_at) WITH ORDINALITY AS u (at, n) ORDER BY n);
            a.lasts := ARRAY(SELECT at - v_ahead
                FROM unnest(a.lasts) WITH ORDINALITY AS u (at, n) ORDER BY n);
        ELSE
            v_now := a.seen;
        END IF;
    END IF;
    a.seen := v_now;
    IF cardinality(p_slices) > 0 THEN
        WITH told AS (
            SELECT DISTINCT ON (s.id) s.granted_at, s.requests, r.given, r.n
            FROM unnest(a.slices, a.granted_at, a.requests) AS s (id, granted_at, requests)
            JOIN unnest(p_slices, p_given) WITH ORDINALITY AS r (id, given, n) ON r.id = s.id
            ORDER BY s.id, r.n
        ), uses AS (
            SELECT t.n, t.granted_at + least(u.after, v_life) AS last, least(u.requests,
                greatest(t.requests + u.requests
                    - sum(u.requests) OVER (PARTITION BY t.n ORDER BY u.m), 0)) AS requests
            FROM told AS t
            JOIN unnest(p_of, p_after, p_requests) WITH ORDINALITY AS u (n, after, requests, m)
                ON u.n = t.n
        ), moments AS (
            SELECT last, requests FROM uses
            UNION ALL
            -- Of what was not told, nobody knows more.
            SELECT t.granted_at + v_life, greatest(t.requests - t.given
                - coalesce((SELECT sum(requests) FROM uses AS u WHERE u.n = t.n), 0), 0)
            FROM told AS t
            UNION ALL
            SELECT u.last, u.requests FROM unnest(a.lasts, a.used) AS u (last, requests)
        ), rounded AS (
            SELECT (last + v_moment - 1) / v_moment * v_moment AS last, sum(requests) AS requests
            FROM moments WHERE requests > 0 GROUP BY 1
        )
        SELECT coalesce(array_agg(last ORDER BY last), '{}'),
            coalesce(array_agg(requests::bigint ORDER BY last), '{}')
        INTO a.lasts, a.used FROM rounded;
    END IF;
    SELECT coalesce(array_agg(id), '{}'), coalesce(array_agg(at), '{}'),
        coalesce(array_agg(requests), '{}')
    INTO a.slices, a.granted_at, a.requests
    FROM unnest(a.slices, a.granted_at, a.requests) AS s (id, at, requests)
    WHERE id <> ALL (p_slices) AND at + v_life + p_window > v_now;
    SELECT coalesce(array_agg(last ORDER BY last), '{}'),
        coalesce(array_agg(requests ORDER BY last), '{}')
    INTO a.lasts, a.used FROM unnest(a.lasts, a.used) AS u (last, requests)
    WHERE last + p_window > v_now;
    RETURN a;
END $$;

CREATE FUNCTION allowance_kept(a allowance, p_window bigint) RETURNS void
LANGUAGE sql SET search_path FROM CURRENT AS $$
    UPDATE allowance SET seen = a.seen, last = a.last, slices = a.slices,
        granted_at = a.granted_at, requests = a.requests, lasts = a.lasts, used = a.used,
        sweep_at = (coalesce((SELECT max(over_at) FROM allowance_ends(a, p_window)), a.seen)
            / 600000000 + 1) * 600000000
    WHERE key = a.key
$$;

-- Applies reports and grants of `p_want` requests what there is.
CREATE FUNCTION take_allowance_1(
    p_key bytea, p_limit bigint, p_window bigint, p_want bigint,
    p_slices bigint[], p_given bigint[], p_of bigint[], p_after bigint[], p_requests bigint[],
    OUT o_slice bigint, OUT o_granted bigint, OUT o_left bigint, OUT o_wait bigint
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    a allowance;
    v_taken bigint;
    v_is_new boolean;
BEGIN
    LOOP
        INSERT INTO allowance (key) VALUES (p_key) ON CONFLICT (key) DO NOTHING;
        v_is_new := FOUND;
        SELECT * INTO a FROM allowance WHERE key = p_key FOR UPDATE;
        -- It may have been swept out in between.
        EXIT WHEN FOUND;
    END LOOP;
    a := allowance_reported(a, p_window, p_slices, p_given, p_of, p_after, p_requests);
    SELECT coalesce(sum(requests), 0) INTO v_taken FROM allowance_ends(a, p_window);
    o_granted := least(p_want, greatest(p_limit - v_taken, 0));
    o_left := greatest(p_limit - v_taken, 0) - o_granted;
    o_wait := 0;
    IF o_granted > 0 THEN
        v_taken := v_taken + o_granted;
        a.last := greatest(a.seen, a.last + 1);
        a.slices := a.slices || a.last;
        a.granted_at := a.granted_at || a.seen;
        a.requests := a.requests || o_granted;
    END IF;
    o_slice := a.last;
    IF o_left = 0 THEN
        SELECT over_at - a.seen INTO o_wait FROM (
            SELECT over_at, sum(requests) OVER (ORDER BY over_at) AS over
            FROM allowance_ends(a, p_window)) AS ends
        WHERE v_taken - over < p_limit ORDER BY over_at LIMIT 1;
    END IF;
    PERFORM allowance_kept(a, p_window);
    IF v_is_new THEN
        DELETE FROM allowance WHERE key IN (
            SELECT key FROM allowance WHERE sweep_at <= a.seen AND key <> p_key LIMIT 8
            FOR UPDATE SKIP LOCKED);
    END IF;
END $$;

-- Applies reports of many keys. Who calls it again after a crash of the database has lost nothing but
-- time, so nobody waits for a disk.
CREATE FUNCTION give_back_allowances_1(
    p_window bigint, p_keys bytea[], p_slices bigint[], p_given bigint[],
    p_of bigint[], p_after bigint[], p_requests bigint[]
) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    a allowance;
    v_key bytea;
    v_slices bigint[];
    v_given bigint[];
    v_of bigint[];
    v_after bigint[];
    v_requests bigint[];
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    -- In their order, so that no two calls wait for each other.
    FOR v_key IN SELECT DISTINCT key FROM unnest(p_keys) AS k (key) ORDER BY key LOOP
        SELECT * INTO a FROM allowance WHERE key = v_key FOR UPDATE;
        CONTINUE WHEN NOT FOUND;
        WITH mine AS (
            SELECT id, given, n, row_number() OVER (ORDER BY n) AS m
            FROM unnest(p_keys, p_slices, p_given) WITH ORDINALITY AS r (key, id, given, n)
            WHERE key = v_key
        ), uses AS (
            SELECT mine.m, u.after, u.requests, u.place
            FROM unnest(p_of, p_after, p_requests) WITH ORDINALITY AS u (n, after, requests, place)
            JOIN mine ON mine.n = u.n
        )
        SELECT (SELECT array_agg(id ORDER BY m) FROM mine),
            (SELECT array_agg(given ORDER BY m) FROM mine),
            (SELECT coalesce(array_agg(m ORDER BY place), '{}') FROM uses),
            (SELECT coalesce(array_agg(after ORDER BY place), '{}') FROM uses),
            (SELECT coalesce(array_agg(requests ORDER BY place), '{}') FROM uses)
        INTO v_slices, v_given, v_of, v_after, v_requests;
        a := allowance_reported(a, p_window, v_slices, v_given, v_of, v_after, v_requests);
        PERFORM allowance_kept(a, p_window);
    END LOOP;
END $$;
