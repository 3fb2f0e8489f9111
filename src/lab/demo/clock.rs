//! How far Postgres's clock, which stamps commits, is ahead of ours. On one machine they are the same clock.

use sqlx::PgConnection;

use super::consumer::unix_millis;
use super::error::DemoError;

/// How often to compare the clocks; the fastest answer is the most accurate.
const ROUNDS: usize = 9;

/// The difference in milliseconds, accurate to half a round trip.
pub(super) async fn ahead_millis(connection: &mut PgConnection) -> Result<i64, DemoError> {
    let mut best: Option<(i64, i64)> = None;
    for _ in 0..ROUNDS {
        let asked = unix_millis();
        let theirs: i64 =
            sqlx::query_scalar("select floor(extract(epoch from pg_catalog.clock_timestamp()) * 1000)::bigint")
                .fetch_one(&mut *connection)
                .await
                .map_err(DemoError::postgres("ask for the time"))?;
        let answered = unix_millis();
        let (took, ahead) = (answered - asked, theirs - (asked + answered) / 2);
        if best.is_none_or(|(quickest, _)| took < quickest) {
            best = Some((took, ahead));
        }
    }
    // A difference within the rounding of both clocks counts as none.
    Ok(best.map(|(_, ahead)| ahead).filter(|ahead| ahead.abs() > 1).unwrap_or_default())
}
