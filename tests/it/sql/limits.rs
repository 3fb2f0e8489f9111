//! Rows that Postgres could not send are refused on write.

use tokio_postgres::error::SqlState;

use crate::harness::Harness;

#[tokio::test(flavor = "multi_thread")]
async fn case_38_text_that_would_be_too_large_to_read_is_refused_on_write() {
    let harness = Harness::migrated("limits").await;
    harness.register("order.placed").await;
    let client = harness.session().await;
    let headers = |headers: &str| format!("select outbox.emit('order.placed', 'k', '1', headers => {headers})");
    let growing = "jsonb_build_object('h', (select jsonb_agg(1e131000::numeric) from generate_series(1, 9000)))";
    let insert = "insert into outbox.event (schema_name, schema_version, headers) values ('order.placed', '1', ";
    for (sql, code) in [
        // More than 1 GB of text can't even be measured.
        (headers(growing), SqlState::PROGRAM_LIMIT_EXCEEDED),
        (
            format!("{insert} (select jsonb_object_agg(n, 1e131000::numeric) from generate_series(1, 9) n))"),
            SqlState::CHECK_VIOLATION,
        ),
        (headers("jsonb_build_object('h', repeat('x', 1048576))"), SqlState::CHECK_VIOLATION),
        ("select outbox.emit('order.placed', repeat('k', 1100000), '1')".to_owned(), SqlState::CHECK_VIOLATION),
        (
            "select outbox.emit('order.placed', 'k', to_json(repeat('k', 67108864)))".to_owned(),
            SqlState::CHECK_VIOLATION,
        ),
    ] {
        let refused = client.batch_execute(&sql).await.expect_err("it can't be sent");
        assert_eq!(refused.code(), Some(&code), "{sql}: {refused:?}");
    }
    client.batch_execute(&headers("jsonb_build_object('h', repeat('x', 1000000))")).await.expect("it can be sent");
    client
        .batch_execute("select outbox.emit('order.placed', 'k', to_json(repeat('k', 5000000)))")
        .await
        .expect("it can be sent");
}
