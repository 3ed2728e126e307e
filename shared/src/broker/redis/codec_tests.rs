#![allow(clippy::unwrap_used)]

use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn fields_of(arguments: Vec<Vec<u8>>) -> Fields {
    arguments
        .chunks(2)
        .map(|pair| (pair[0].clone().into(), pair[1].clone().into()))
        .collect()
}

prop_compose! {
    fn any_request()(
        id in any::<u128>(),
        reply_to in "[A-Za-z0-9._-]{1,64}",
        budget in 0..=Budget::MAX.as_millis() as u64,
        traceparent in proptest::option::of("[0-9a-f-]{1,60}"),
        data in proptest::collection::vec(any::<u8>(), 0..300),
        origin in any_origin(),
    ) -> Request {
        Request {
            id: uuid::Uuid::from_u128(id).into(),
            origin,
            reply_to: reply_to.parse().unwrap(),
            budget: Budget::new(Duration::from_millis(budget)),
            traceparent: traceparent.map(Into::into),
            keep: Keep::No,
            data: data.into(),
        }
    }
}

fn any_origin() -> impl Strategy<Value = Origin> {
    let operation = prop_oneof![Just("weather"), Just("echo")];
    let tenant = proptest::option::of("[A-Za-z0-9._-]{1,64}");
    (operation, tenant).prop_map(|(operation, tenant)| Origin {
        operation: OperationName::of(operation).unwrap(),
        tenant: tenant.map_or_else(Tenant::default, |name| name.parse().unwrap()),
    })
}

fn any_outcome() -> impl Strategy<Value = Result<Bytes, Fault>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(|data| Ok(data.into())),
        (".{0,80}", proptest::option::of(any::<u64>())).prop_map(|(detail, retry_after_ms)| Err(Fault {
            code: FaultCode::NotFound,
            detail,
            retry_after_ms,
            dead_letter: None,
        })),
    ]
}

proptest! {
    #[test]
    fn a_request_reads_back_as_it_was_written(request in any_request()) {
        let mut arguments = Vec::new();
        write_request(&mut arguments, &request);
        prop_assert_eq!(read_request(request.origin.operation, fields_of(arguments)), Ok(request));
    }

    #[test]
    fn the_order_of_fields_does_not_matter_and_others_are_ignored(request in any_request(), turn in 0_usize..6) {
        let mut arguments = Vec::new();
        write_request(&mut arguments, &request);
        let mut fields = fields_of(arguments);
        fields.push((Bytes::from_static(b"note"), Bytes::from_static(b"by hand")));
        fields.rotate_left(turn);
        prop_assert_eq!(read_request(request.origin.operation, fields), Ok(request));
    }

    #[test]
    fn a_reply_reads_back_as_it_was_written(id in any::<u128>(), origin in any_origin(), outcome in any_outcome()) {
        let reply = Reply::new(uuid::Uuid::from_u128(id).into(), origin, outcome);
        let mut arguments = Vec::new();
        write_reply(&mut arguments, &reply);
        prop_assert_eq!(read_reply(&fields_of(arguments)), Some(reply));
    }

    #[test]
    fn arbitrary_fields_never_panic_and_are_kept(
        pairs in proptest::collection::vec(("(requestId|replyTo|budgetMs|traceparent|data|.{0,9})", any::<Vec<u8>>()), 0..8)
    ) {
        let fields: Fields = pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let _ = read_reply(&fields);
        if let Err(malformed) = read_request(OperationName::first(), fields.clone()) {
            prop_assert!(malformed.reason.starts_with("field "));
            prop_assert_eq!(malformed.fields, fields);
        }
    }
}

#[test]
fn each_missing_field_is_named() {
    let request = Request {
        id: CorrelationId::new(),
        origin: Origin::default(),
        reply_to: "web-1".parse().unwrap(),
        budget: Budget::new(Duration::from_secs(1)),
        traceparent: None,
        keep: Keep::No,
        data: "{}".into(),
    };
    let mut arguments = Vec::new();
    write_request(&mut arguments, &request);
    for name in [REQUEST_ID, REPLY_TO, BUDGET, DATA] {
        let mut fields = fields_of(arguments.clone());
        fields.retain(|(key, _)| key != name);
        let malformed = read_request(OperationName::first(), fields).unwrap_err();
        assert!(
            malformed.reason.starts_with(&format!("field {name}:")),
            "{}",
            malformed.reason
        );
        let told = malformed.requester.is_some();
        assert_eq!(told, name == BUDGET || name == DATA, "{name}");
    }
}

#[test]
fn what_a_foreign_worker_reports_in_its_own_words_is_a_fault() {
    for (status, data) in [("fault", "not json"), ("done", "{}"), ("", "")] {
        let fields = vec![
            ("requestId".into(), CorrelationId::new().to_string().into()),
            ("status".into(), status.into()),
            ("data".into(), data.into()),
        ];
        let fault = read_reply(&fields).unwrap().outcome.unwrap_err();
        assert_eq!(fault.code, FaultCode::Internal, "{status}");
    }
}

#[test]
fn of_an_entry_that_is_no_request_no_more_is_kept_than_a_person_can_read() {
    let fields = (0..10_000).map(|n| (Bytes::from(format!("f{n}")), Bytes::from(vec![b'x'; 100])));
    assert_eq!(
        read_request(OperationName::first(), fields.collect())
            .unwrap_err()
            .fields
            .len(),
        MAX_KEPT_FIELDS
    );
    let large = vec![(Bytes::from_static(b"garbage"), Bytes::from(vec![0; 10_000_000]))];
    assert_eq!(
        read_request(OperationName::first(), large).unwrap_err().fields[0]
            .1
            .len(),
        MAX_KEPT_VALUE
    );
}

#[test]
fn whose_a_request_is_is_read_or_the_entry_is_none() {
    let fields = |tenant: &'static str| -> Fields {
        let mut arguments = Vec::new();
        let request = Request {
            id: CorrelationId::new(),
            origin: Origin::default(),
            reply_to: "web-1".parse().unwrap(),
            budget: Budget::new(Duration::from_secs(1)),
            traceparent: None,
            keep: Keep::No,
            data: "{}".into(),
        };
        write_request(&mut arguments, &request);
        let mut fields = fields_of(arguments);
        fields.push((TENANT.into(), tenant.into()));
        fields
    };
    let read = read_request(OperationName::first(), fields("acme")).unwrap();
    assert_eq!(read.origin.tenant.name(), Some("acme"));
    for tenant in ["", "a b", "a:b", "\u{e9}"] {
        let malformed = read_request(OperationName::first(), fields(tenant)).unwrap_err();
        assert!(malformed.reason.starts_with("field tenant:"), "{}", malformed.reason);
    }
}
