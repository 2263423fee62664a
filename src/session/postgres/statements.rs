//! The statements, each with the types of its parameters, so that they need not be asked for.

use tokio_postgres::types::Type;

use super::rows::RECORD;
use crate::session::pages::{SessionsPage, ThreadsPage};
use crate::session::record::ConversationIds;

/// A statement.
#[derive(Debug)]
pub(super) struct Sql {
    /// Where it is among what is prepared in a connection, less than [`PLACES`].
    pub(super) place: usize,
    pub(super) text: String,
    pub(super) types: &'static [Type],
}

/// How many there are.
pub(super) const PLACES: usize = PLACE_OF_THREADS + 16;

/// Where those of pages of sessions are, behind all that are named; then those of threads.
const PLACE_OF_SESSIONS: usize = NAMED;
const PLACE_OF_THREADS: usize = PLACE_OF_SESSIONS + 6;

/// Makes the type of the statements and what makes them.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident [$($type:ident),*] $text:literal;)+) => {
        /// Those that there are, for a schema.
        #[derive(Debug)]
        pub(super) struct Statements {
            schema: String,
            $($(#[$doc])* pub(super) $name: Sql,)+
        }

        /// How many have a name.
        const NAMED: usize = [$(stringify!($name)),+].len();

        impl Statements {
            /// Writes them for a schema, whose name was checked.
            pub(super) fn new(schema: &str) -> Self {
                let mut places = 0..;
                let mut named = |text: &str, types| {
                    let text = text.replace("{record}", RECORD);
                    let text = text.replace("{s}", &format!("\"{schema}\""));
                    Sql { place: places.next().unwrap_or(PLACES), text, types }
                };
                Self {
                    schema: schema.to_owned(),
                    $($name: named($text, {
                        const TYPES: &[Type] = &[$(Type::$type),*];
                        TYPES
                    }),)+
                }
            }

            /// Gives all, to be prepared.
            pub(super) fn all(&self) -> Vec<&Sql> {
                vec![$(&self.$name),+]
            }
        }
    };
}

statements! {
    version [] "SELECT max(version) FROM {s}.migration";
    ping [] "SELECT max(version), pg_is_in_recovery() \
        OR current_setting('transaction_read_only')::boolean, \
        current_setting('transaction_isolation') FROM {s}.migration";
    beat [UUID] "SELECT {s}.beat_1($1)";
    goodbye [UUID] "SELECT {s}.goodbye_1($1)";
    settle [UUID, UUID_ARRAY, UUID_ARRAY, INT8_ARRAY, BOOL_ARRAY, BYTEA_ARRAY, INT8_ARRAY, BOOL_ARRAY, BOOL]
        "SELECT {s}.settle_1($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    begin_run [UUID, UUID, TEXT, BYTEA, TEXT, BYTEA, BYTEA, UUID, INT8, INT8, INT8, INT8, TEXT, INT8, INT8]
        "SELECT * FROM {s}.begin_run_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";
    /// What [`settle`](Self::settle) takes but the last, and what `begin_run` takes but the first.
    settle_and_begin_run [UUID, UUID_ARRAY, UUID_ARRAY, INT8_ARRAY, BOOL_ARRAY, BYTEA_ARRAY, INT8_ARRAY, BOOL_ARRAY,
        UUID, TEXT, BYTEA, TEXT, BYTEA, BYTEA, UUID, INT8, INT8, INT8, INT8, TEXT, INT8, INT8]
        "SELECT * FROM {s}.settle_and_begin_run_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, \
        $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)";
    bind [UUID, UUID, BYTEA, UUID, BYTEA, INT8, BOOL]
        "SELECT * FROM {s}.bind_1($1, $2, $3, $4, $5, $6, $7)";
    thread_named [UUID, BYTEA, BYTEA, INT8] "SELECT * FROM {s}.reuse_1($1, $2, $3, $4)";
    set_message_count [UUID, UUID, BOOL, INT8, INT8]
        "SELECT {s}.set_message_count_1($1, $2, $3, $4, $5)";
    create [UUID, UUID, BYTEA, BYTEA, TEXT, BOOL, INT8, INT8, UUID, INT8, INT8]
        "SELECT * FROM {s}.create_session_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    get [UUID, UUID] "SELECT {record} FROM {s}.session AS s WHERE s.id = $2";
    get_by_conversation [UUID, TEXT] "SELECT {record} FROM {s}.session AS s WHERE s.conversation = $2";
    get_by_thread [UUID, BYTEA] "SELECT {record} FROM {s}.session AS s
        WHERE sha256(s.thread_id) = sha256($2) AND s.thread_id = $2";
    set_title [UUID, UUID, BYTEA, INT8] "UPDATE {s}.session AS s
        SET title = $3, updated_at = greatest(s.updated_at, $4)
        WHERE s.id = $2 AND s.quarantined_at IS NULL RETURNING {record}";
    delete [UUID, UUID, BYTEA, INT8, INT8, INT8]
        "SELECT * FROM {s}.delete_session_1($1, $2, $3, $4, $5, $6)";
    signing_key [BYTEA] "SELECT {s}.signing_key_1($1)";
    place_of_thread [BYTEA] "SELECT bound_at, id, 0 FROM {s}.session
        WHERE sha256(thread_id) = sha256($1) AND thread_id = $1 AND bound_at IS NOT NULL
        UNION ALL SELECT bound_at, session_id, 1 FROM {s}.deleted_thread
        WHERE sha256(thread_id) = sha256($1) AND thread_id = $1
        ORDER BY 3 LIMIT 1";
    adopt [TEXT_ARRAY, BYTEA_ARRAY, BYTEA_ARRAY, BYTEA_ARRAY, INT8_ARRAY, INT8_ARRAY, UUID_ARRAY,
        TEXT_ARRAY, INT8_ARRAY]
        "SELECT * FROM {s}.adopt_1($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    quarantined [BYTEA, INT8] "SELECT q.thread_id, q.since, q.times, q.session_id, q.user_id,
            q.more_others, NOT EXISTS (SELECT 1 FROM {s}.session AS s
                WHERE sha256(s.thread_id) = sha256(q.thread_id)),
            ARRAY(SELECT o.user_id FROM {s}.quarantine_other AS o
                WHERE sha256(o.thread_id) = sha256(q.thread_id) ORDER BY o.number),
            ARRAY(SELECT o.session_id FROM {s}.quarantine_other AS o
                WHERE sha256(o.thread_id) = sha256(q.thread_id) ORDER BY o.number),
            ARRAY(SELECT o.since FROM {s}.quarantine_other AS o
                WHERE sha256(o.thread_id) = sha256(q.thread_id) ORDER BY o.number)
        FROM {s}.quarantine AS q
        WHERE substr(q.thread_id, 1, 512) >= substr($1, 1, 512) AND q.thread_id > $1
        ORDER BY substr(q.thread_id, 1, 512), q.thread_id LIMIT $2";
    release [BYTEA] "SELECT {s}.release_1($1)";
    delete_quarantined [BYTEA, INT8, INT8] "SELECT {s}.delete_quarantined_1($1, $2, $3)";
    block [BYTEA, INT8, BYTEA, UUID, INT8] "SELECT {s}.block_user_1($1, $2, $3, $4, $5)";
    unblock [BYTEA, UUID] "SELECT {s}.unblock_user_1($1, $2)";
    blocks [BYTEA, INT8] "SELECT user_id, since, reason FROM {s}.blocked_user
        WHERE $1 IS NULL OR user_id > $1 ORDER BY user_id LIMIT $2";
    blocked_users [UUID] "SELECT version, ARRAY(SELECT user_id FROM {s}.blocked_user)
        FROM {s}.block_version WHERE version IS DISTINCT FROM $1";
    own_attachment [BYTEA, BYTEA] "SELECT {s}.own_attachment_1($1, $2)";
    attachment_owners [BYTEA_ARRAY] "SELECT a.user_id
        FROM unnest($1) WITH ORDINALITY AS asked (id, place)
        LEFT JOIN {s}.attachment AS a ON sha256(a.id) = sha256(asked.id) AND a.id = asked.id
        ORDER BY asked.place";
    disown_attachment [BYTEA] "WITH gone AS (
            DELETE FROM {s}.attachment WHERE sha256(id) = sha256($1) AND id = $1
            RETURNING id, adopted
        ), kept AS (
            INSERT INTO {s}.deleted_adoption (kind, id) SELECT 'attachment', id FROM gone
            WHERE adopted ON CONFLICT DO NOTHING
        ) SELECT count(*) > 0 FROM gone";
    create_client_session [BYTEA, BYTEA, INT8, INT8, INT8, BYTEA, INT8, INT8, INT8]
        "SELECT {s}.create_client_session_1($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    client_session [BYTEA] "SELECT id, user_id, created_at, expires_at, cancelled_at,
            requests_per_minute, details
        FROM {s}.client_session WHERE sha256(id) = sha256($1) AND id = $1";
    cancel_client_session [BYTEA, INT8] "SELECT id, user_id, created_at, expires_at, cancelled_at,
            requests_per_minute, details FROM {s}.cancel_client_session_1($1, $2)";
    take_allowance [BYTEA, INT8, INT8, INT8, INT8_ARRAY, INT8_ARRAY, INT8_ARRAY, INT8_ARRAY, INT8_ARRAY]
        "SELECT * FROM {s}.take_allowance_1($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    give_back_allowances [INT8, BYTEA_ARRAY, INT8_ARRAY, INT8_ARRAY, INT8_ARRAY, INT8_ARRAY, INT8_ARRAY]
        "SELECT {s}.give_back_allowances_1($1, $2, $3, $4, $5, $6, $7)";
}

impl Statements {
    /// Writes that of a page of a user's sessions. Its parameters are the user, the limit, and the place
    /// it goes on after: `updated_at`, `created_at`, and id.
    pub(super) fn sessions(&self, page: &SessionsPage) -> Sql {
        let (place, like) = match page.ids {
            ConversationIds::Uuid => (0, ""),
            ConversationIds::Conv => {
                (1, " AND conversation IS NOT NULL AND conversation LIKE 'conv\\_%'")
            }
            ConversationIds::Integer => {
                (2, " AND conversation IS NOT NULL AND conversation NOT LIKE 'conv\\_%'")
            }
        };
        let place = PLACE_OF_SESSIONS + place * 2 + usize::from(page.after.is_some());
        let behind = match page.after {
            None => "",
            // The first is a range of the index, and the rest leaves out of it those that are at the same
            // moment and before.
            Some(_) => {
                " AND updated_at <= $3 AND (updated_at < $3
                    OR created_at < $4 OR (created_at = $4 AND id > $5))"
            }
        };
        let schema = &self.schema;
        let text = format!(
            "SELECT id, conversation, title, created_at, updated_at, message_count, counted
            FROM \"{schema}\".session WHERE user_id = $1 AND quarantined_at IS NULL{like}{behind}
            ORDER BY updated_at DESC, created_at DESC, id LIMIT $2"
        );
        let (types, _) = OF_SESSIONS.split_at(if page.after.is_some() { 5 } else { 2 });
        Sql { place, text, types }
    }

    /// Writes that of a page of threads. Its parameters are this opening, the limit, the two places, each
    /// `bound_at` and id and null if there is none, and the user, if there is one.
    pub(super) fn threads(&self, page: &ThreadsPage) -> Sql {
        let is_said =
            [page.ascending, page.after.is_some(), page.until.is_some(), page.user_id.is_some()];
        let place = is_said.into_iter().fold(0, |place, is| place * 2 + usize::from(is));
        let (after, until) = if page.ascending { (">", "<") } else { ("<", ">") };
        let order = if page.ascending { "ASC" } else { "DESC" };
        let of = |place: Option<_>, condition: String| match place {
            Some(_) => condition,
            None => String::new(),
        };
        let after = of(page.after, format!(" AND (s.bound_at, s.id) {after} ($3, $4)"));
        let until = of(page.until, format!(" AND (s.bound_at, s.id) {until} ($5, $6)"));
        let user = if page.user_id.is_some() { " AND s.user_id = $7" } else { "" };
        let schema = &self.schema;
        let record = RECORD.replace("{s}", &format!("\"{schema}\""));
        let text = format!(
            "SELECT {record}, s.bound_at FROM \"{schema}\".session AS s
            WHERE s.bound_at IS NOT NULL AND s.quarantined_at IS NULL{user}{after}{until}
            ORDER BY s.bound_at {order}, s.id {order} LIMIT $2"
        );
        Sql { place: PLACE_OF_THREADS + place, text, types: OF_THREADS }
    }
}

const OF_SESSIONS: &[Type] = &[Type::BYTEA, Type::INT8, Type::INT8, Type::INT8, Type::UUID];

const OF_THREADS: &[Type] =
    &[Type::UUID, Type::INT8, Type::INT8, Type::UUID, Type::INT8, Type::UUID, Type::BYTEA];
