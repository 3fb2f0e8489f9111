use super::*;

fn answer(version: &str, freshness: Option<Duration>) -> Answer {
    let id = SchemaVersionId { name: "order.placed".into(), version: version.into() };
    Answer::SchemaVersion(id.clone(), Some(SchemaVersion { freshness, ..SchemaVersion::plain(id, None) }))
}

fn number(metadata: &mut MetadataCache, version: &str, now: Instant) -> ContractNumber {
    let found = metadata.contract("order.placed", version, now);
    found.ok().flatten().expect("it was answered").number
}

#[test]
fn case_26_a_topic_that_stays_refused_is_asked_for_less_often_unless_it_is_waited_for() {
    let (mut metadata, mut now) = (MetadataCache::default(), Instant::now());
    let refuse = |metadata: &mut MetadataCache, now| {
        let refusal = Refusal { code: crate::relay::boundary::RefusalCode::NotAuthorized, detail: String::new() };
        metadata.handle_answer(Answer::Topic("t".into(), Err(refusal)), now);
        let until = metadata.topic_asked_again_at("t").expect("it is asked for again");
        assert_eq!(metadata.topic("t", TopicSettings::default, NamedBy::Owner, until), Err(Wait));
        until - now
    };
    for seconds in [5, 10, 20, 30, 30] {
        assert_eq!(refuse(&mut metadata, now), Duration::from_secs(seconds));
        now += Duration::from_secs(seconds);
    }
    metadata.ask_soon("t", now);
    assert_eq!(refuse(&mut metadata, now), REFUSAL_KEPT);
    refuse(&mut metadata, now);
    metadata.handle_answer(Answer::Topic("t".into(), Ok(Topic { max_message_bytes: 1 })), now);
    assert_eq!(metadata.topic_asked_again_at("t"), None);
    assert_eq!(refuse(&mut metadata, now), REFUSAL_KEPT);
}

#[test]
fn case_40_a_topic_refused_to_a_row_is_asked_for_again_if_a_schema_version_names_it() {
    let (mut metadata, now) = (MetadataCache::default(), Instant::now());
    let mut topic = |named_by, refused| {
        let found = metadata.topic("t", TopicSettings::default, named_by, now);
        if found == Err(Wait) {
            let refusal = Refusal { code: crate::relay::boundary::RefusalCode::UnknownTopic, detail: String::new() };
            let answer = if refused { Err(refusal) } else { Ok(Topic { max_message_bytes: 1 }) };
            metadata.handle_answer(Answer::Topic("t".into(), answer), now);
        }
        found.map(|found| found.is_ok())
    };
    assert_eq!(topic(NamedBy::Row, true), Err(Wait));
    assert_eq!(topic(NamedBy::Row, true), Ok(false));
    assert_eq!(topic(NamedBy::Owner, true), Err(Wait));
    assert_eq!(topic(NamedBy::Owner, true), Ok(false));
    assert_eq!(topic(NamedBy::Row, true), Ok(false), "nor is it for the row");
}

#[test]
fn case_26_a_topic_that_refuses_unexpectedly_is_looked_up_again_occasionally() {
    let (mut metadata, now) = (MetadataCache::default(), Instant::now());
    let fine = Topic { max_message_bytes: 1 };
    metadata.handle_answer(Answer::Topic("t".into(), Ok(fine)), now);
    assert_eq!(metadata.topic("t", TopicSettings::default, NamedBy::Owner, now + REFUSAL_KEPT * 100), Ok(Ok(fine)));
    metadata.doubt_topic("t", now);
    metadata.doubt_topic("t", now + REFUSAL_KEPT / 2);
    for _ in 0..2 {
        assert_eq!(
            metadata.topic("t", TopicSettings::default, NamedBy::Owner, now),
            Ok(Ok(fine)),
            "not for each record"
        );
    }
    assert_eq!(metadata.topic("t", TopicSettings::default, NamedBy::Owner, now + REFUSAL_KEPT), Err(Wait));
}

#[test]
fn each_version_keeps_its_number_up_to_the_limit() {
    let now = Instant::now();
    let mut metadata = MetadataCache::default();
    let limit = usize::from(ContractNumber::LIMIT);
    for version in 0..limit + 2 {
        metadata.handle_answer(answer(&version.to_string(), Some(Duration::from_secs(version as u64 + 1))), now);
    }
    assert_eq!(number(&mut metadata, "7", now).place(), Some(7));
    assert_eq!(metadata.service_levels()[7].freshness, Some(Duration::from_secs(8)));
    assert_eq!(number(&mut metadata, &limit.to_string(), now), ContractNumber::NONE);
    // As after the cache was cleared.
    metadata.contracts.clear();
    metadata.last_contract = None;
    metadata.handle_answer(answer("7", Some(Duration::from_secs(8))), now);
    assert_eq!(number(&mut metadata, "7", now).place(), Some(7));
    assert_eq!(metadata.service_levels().len(), limit);
}
