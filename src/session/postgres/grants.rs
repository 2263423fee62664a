//! What the database's user needs to be granted, which the manual has: whoever lacks some of it would be
//! found out by one call or the other, much later.

use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::failure::Failure;
use super::rows::{get, one};
use super::schema::MIGRATIONS;

/// Tells what is lacking in a schema of this version, if anything is.
///
/// # Errors
/// If the database doesn't say.
pub(super) async fn lacking(client: &Client, schema: &str) -> Result<Option<String>, Failure> {
    // Of what is there that no migration has made, nothing is needed.
    let sql = "SELECT string_agg(lacking, ', ') FROM (
            SELECT may || ' on ' || c.relname AS lacking FROM pg_catalog.pg_class AS c
            JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
            CROSS JOIN LATERAL unnest(CASE
                WHEN c.relkind = 'S' THEN ARRAY['SELECT', 'USAGE', 'UPDATE']
                ELSE ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']
            END) AS may
            WHERE n.nspname = $1 AND c.relname::text = ANY($2) AND c.relkind IN ('r', 'S')
                AND NOT CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, may)
                    ELSE has_table_privilege(c.oid, may) END
            UNION ALL
            SELECT 'EXECUTE on ' || p.proname FROM pg_catalog.pg_proc AS p
            JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
            WHERE n.nspname = $1 AND p.proname::text = ANY($2)
                AND NOT has_function_privilege(p.oid, 'EXECUTE')
            ORDER BY 1 LIMIT 8
        ) AS found";
    let made = made();
    let values: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
        [(&schema, Type::TEXT), (&made, Type::TEXT_ARRAY)];
    let rows = client.query_typed(sql, &values).await?;
    let lacking: Option<&str> = get(one(&rows)?, 0)?;
    Ok(lacking.map(|lacking| format!("its user lacks {lacking}, of the schema {schema}")))
}

/// Names what the migrations make that is granted.
fn made() -> Vec<&'static str> {
    let lines = MIGRATIONS.iter().flat_map(|sql| sql.lines());
    let kinds = ["CREATE TABLE ", "CREATE SEQUENCE ", "CREATE FUNCTION "];
    lines
        .filter_map(|line| kinds.iter().find_map(|kind| line.strip_prefix(kind)))
        .filter_map(|rest| rest.split([' ', '(']).next())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_has_names() {
        let made = made();
        for name in ["session", "run", "allowance", "conversation_number", "begin_run_1"] {
            assert!(made.contains(&name), "{name}: {made:?}");
        }
        assert!(!made.contains(&"readable_session"));
    }
}
