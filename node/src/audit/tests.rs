use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000 + seconds, 0).expect("in range")
}

fn event(number: u8) -> Event {
    Event::refused(
        Call::Ask,
        Who::peer(format!("peer-{number}")),
        ErrorCode::PermitExpired,
        "the permit P-1 was valid until yesterday",
    )
}

/// A log of these events, and its head.
fn log(events: &[u8]) -> (Vec<StoredRecord>, Option<AuditHead>) {
    let mut head = None;
    let mut records = Vec::new();
    for (second, number) in (0..).zip(events) {
        let (stored, next) = seal(head, at(second), event(*number)).expect("a record");
        records.push(stored);
        head = Some(next);
    }
    (records, head)
}

fn verify(
    records: &[StoredRecord],
    head: Option<AuditHead>,
) -> Result<Option<AuditHead>, AuditFault> {
    let mut verifier = Verifier::new(head);
    for record in records {
        verifier.check(record)?;
    }
    verifier.finish()
}

fn events() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 2..12)
}

proptest! {
    #[test]
    fn a_whole_log_verifies(events in events(), witness in any::<Index>()) {
        let (records, head) = log(&events);
        prop_assert_eq!(verify(&records, None), Ok(head));
        let (_, earlier) = log(&events[..=witness.index(events.len())]);
        prop_assert_eq!(verify(&records, earlier), Ok(head));
    }

    #[test]
    fn a_changed_byte_is_found(events in events(), which in any::<Index>(), place in any::<Index>(), byte in 32_u8..127) {
        let (mut records, _) = log(&events);
        let at = which.index(records.len());
        let mut bytes = records[at].record.clone().into_bytes();
        let place = place.index(bytes.len());
        prop_assume!(bytes[place] != byte);
        bytes[place] = byte;
        records[at].record = String::from_utf8(bytes).expect("ASCII");
        let sequence = at as u64 + 1;
        prop_assert_eq!(verify(&records, None), Err(AuditFault::Altered(sequence)));
    }

    #[test]
    fn a_changed_hash_is_found(events in events(), which in any::<Index>()) {
        let (mut records, _) = log(&events);
        let at = which.index(records.len());
        records[at].hash = ContentHash::of_bytes(b"other").to_string();
        prop_assert!(verify(&records, None).is_err());
    }

    #[test]
    fn a_record_with_a_new_hash_of_its_own_breaks_the_next(events in events(), which in any::<Index>()) {
        let (mut records, head) = log(&events);
        let at = which.index(records.len());
        let mut record: Record = serde_json::from_str(&records[at].record).expect("a record");
        record.event = event(events[at].wrapping_add(1));
        records[at].record = String::from_utf8(canonical_bytes(&record).expect("canonical")).expect("UTF-8");
        records[at].hash = ContentHash::of("audit", &record).expect("canonical").to_string();
        // The last record has no next one: there only the witness tells.
        prop_assert!(verify(&records, head).is_err());
        prop_assert_eq!(verify(&records, None).is_err(), at + 1 < records.len());
    }

    #[test]
    fn a_removed_record_is_found(events in events(), which in any::<Index>(), renumber in any::<bool>()) {
        let (mut records, head) = log(&events);
        let at = which.index(records.len());
        records.remove(at);
        if renumber {
            for (sequence, record) in (1..).zip(&mut records) {
                record.sequence = sequence;
            }
        }
        prop_assert!(verify(&records, head).is_err());
        prop_assert_eq!(verify(&records, None).is_err(), at < records.len());
    }

    #[test]
    fn exchanged_records_are_found(events in events(), one in any::<Index>(), other in any::<Index>(), renumber in any::<bool>()) {
        let (mut records, _) = log(&events);
        let (one, other) = (one.index(records.len()), other.index(records.len()));
        prop_assume!(one != other);
        records.swap(one, other);
        if renumber {
            for (sequence, record) in (1..).zip(&mut records) {
                record.sequence = sequence;
            }
        }
        prop_assert!(verify(&records, None).is_err());
    }

    #[test]
    fn a_doubled_record_is_found(events in events(), which in any::<Index>()) {
        let (mut records, _) = log(&events);
        let at = which.index(records.len());
        let doubled = records[at].clone();
        records.insert(at, doubled);
        prop_assert!(verify(&records, None).is_err());
    }

    #[test]
    fn truncation_is_found_by_a_witness(events in events(), keep in any::<Index>()) {
        let (mut records, head) = log(&events);
        let keep = keep.index(records.len());
        records.truncate(keep);
        prop_assert!(verify(&records, None).is_ok());
        let (length, witness) = (keep as u64, events.len() as u64);
        prop_assert_eq!(verify(&records, head), Err(AuditFault::Short { length, witness }));
    }

    #[test]
    fn a_log_that_was_rolled_back_and_went_on_is_found_by_a_witness(events in events(), keep in any::<Index>()) {
        let (_, head) = log(&events);
        let mut other = events[..keep.index(events.len())].to_vec();
        other.resize(events.len() + 3, 0);
        let differs = other[..events.len()] != events;
        let (records, _) = log(&other);
        prop_assert!(verify(&records, None).is_ok());
        let found = verify(&records, head) == Err(AuditFault::Witness(events.len() as u64));
        prop_assert_eq!(found, differs);
    }
}

#[test]
fn time_may_not_go_back() {
    let (first, head) = seal(None, at(10), event(1)).expect("a record");
    let (second, _) = seal(Some(head), at(9), event(2)).expect("a record");
    assert_eq!(verify(&[first, second], None), Err(AuditFault::Order(2)));
}

#[test]
fn heads_are_written_as_they_are_read() {
    let (_, head) = log(&[1, 2, 3]);
    let head = head.expect("a head");
    assert_eq!(parse_head(&format_head(head)), Ok(head));
    assert_eq!(parse_head("3"), Err(HeadSyntax));
    assert_eq!(parse_head("x:sha256:00"), Err(HeadSyntax));
}
