use super::*;
use crate::relay::boundary::OwnedRecord;

fn report(ticket: u64, code: Code) -> Returned {
    let record =
        OwnedRecord { topic: "t".to_owned(), key: None, value: None, headers: Vec::new(), timestamp_millis: 0 };
    Returned { ticket: Ticket(ticket), record, partition: 0, code }
}

fn too_large(tickets: std::ops::Range<u64>) -> Vec<Returned> {
    tickets.map(|ticket| report(ticket, Code::MessageSizeTooLarge)).collect()
}

/// The tickets of the records at fault.
fn judge(isolation: &mut RefusalIsolation, reports: &[Returned], extent: Reports<'_>) -> Vec<u64> {
    let fates = isolation.judge(reports, extent, &TopicRules::default());
    let at_fault = |(report, fate): (&Returned, RecordFate)| {
        matches!(fate, RecordFate::RecordRefused(_)).then_some(report.ticket.0)
    };
    reports.iter().zip(fates).filter_map(at_fault).collect()
}

#[test]
fn the_only_record_of_a_refused_batch_is_at_fault() {
    let mut isolation = RefusalIsolation::default();
    let reports = [report(1, Code::PurgeQueue), report(2, Code::MessageSizeTooLarge)];
    assert_eq!(judge(&mut isolation, &reports, Reports::All), [2]);
    assert!(isolation.topics.is_empty());
}

#[test]
fn a_refused_record_that_may_not_have_been_alone_is_a_suspect() {
    let mut isolation = RefusalIsolation::default();
    let extent = Reports::Some { refusing: &[] };
    assert!(judge(&mut isolation, &too_large(2..3), extent).is_empty());
    assert!(isolation.may_send(Ticket(2), "t"));
    isolation.sent(Ticket(1), "t");
    assert!(!isolation.may_send(Ticket(2), "t") && isolation.may_send(Ticket(3), "t"));
    isolation.refused(Ticket(2));
    assert!(isolation.may_send(Ticket(2), "t"), "its dead letter is no suspect");
}

#[test]
fn only_a_named_record_is_at_fault() {
    let mut isolation = RefusalIsolation::default();
    let codes = [Code::InvalidDifferentRecord, Code::InvalidRecord, Code::InvalidRecord];
    let reports: Vec<_> = (0..).zip(codes).map(|(ticket, code)| report(ticket, code)).collect();
    assert_eq!(judge(&mut isolation, &reports, Reports::All), [1, 2]);
    assert!(isolation.topics.is_empty());
}

#[test]
fn suspects_are_sent_alone_until_one_is_refused() {
    let mut isolation = RefusalIsolation::default();
    assert!(judge(&mut isolation, &too_large(4..7), Reports::All).is_empty());
    isolation.sent(Ticket(3), "t");
    assert!(!isolation.may_send(Ticket(4), "t"), "a record of its topic is in flight");
    isolation.sent(Ticket(9), "other");
    isolation.delivered(&[Ticket(3)]);
    assert!(isolation.may_send(Ticket(4), "t"), "another topic's is no matter");
    isolation.sent(Ticket(4), "t");
    assert!(!isolation.may_send(Ticket(7), "t"), "nothing may join its batch");
    assert!(isolation.may_send(Ticket(7), "other"));
    isolation.delivered(&[Ticket(9)]);
    assert!(!isolation.may_send(Ticket(7), "t"), "another's delivery says nothing");
    isolation.delivered(&[Ticket(4)]);
    assert!(isolation.may_send(Ticket(7), "t"));
    isolation.sent(Ticket(5), "t");
    let unknown = Reports::Some { refusing: &[] };
    assert_eq!(judge(&mut isolation, &too_large(5..6), unknown), [5], "it was alone, whatever else was reported");
    isolation.sent(Ticket(7), "t");
    assert!(!isolation.may_send(Ticket(6), "t"), "still a suspect");
    isolation.delivered(&[Ticket(6), Ticket(7)]);
    assert!(isolation.topics.is_empty());
}

#[test]
fn a_suspect_that_an_outage_returns_stays_one() {
    let mut isolation = RefusalIsolation::default();
    judge(&mut isolation, &too_large(1..3), Reports::All);
    isolation.sent(Ticket(1), "t");
    assert!(judge(&mut isolation, &[report(1, Code::PurgeInflight)], Reports::All).is_empty());
    isolation.sent(Ticket(1), "t");
    assert!(!isolation.may_send(Ticket(3), "t"));
}

#[test]
fn a_suspect_that_became_a_dead_letter_is_forgotten() {
    let mut isolation = RefusalIsolation::default();
    judge(&mut isolation, &too_large(1..3), Reports::All);
    isolation.sent(Ticket(1), "dead letters");
    isolation.sent(Ticket(2), "dead letters");
    assert!(isolation.topics.is_empty());
}

#[test]
fn a_topic_that_refuses_is_remembered_unless_the_topics_were_asked_one_by_one() {
    let (rules, reports) = (TopicRules::default(), [report(1, Code::TopicAuthorizationFailed)]);
    let others = ["other".to_owned()];
    let fates = RefusalIsolation::default().judge(&reports, Reports::Some { refusing: &others }, &rules);
    assert_eq!(fates, [RecordFate::Returned]);
    assert!(!rules.refusals().is_suspect("t"));
    let fates = RefusalIsolation::default().judge(&reports, Reports::Some { refusing: &[] }, &rules);
    assert!(matches!(fates[..], [RecordFate::TopicRefused(_)]));
    assert!(rules.refusals().is_suspect("t") && !rules.refusals().is_suspect("other"));
}
