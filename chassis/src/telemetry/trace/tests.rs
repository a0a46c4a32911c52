#![allow(clippy::unwrap_used)]

use http::{HeaderMap, HeaderValue};

use super::{continue_from, current_trace_id, current_traceparent, extract, id_of_call, inject};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn headers(traceparent: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", HeaderValue::from_str(traceparent).unwrap());
    headers
}

#[test]
fn a_malformed_context_is_no_context() {
    assert!(extract(&headers(PARENT)).is_some());
    for text in [
        "",
        "x",
        "00-zz-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
    ] {
        assert!(extract(&headers(text)).is_none(), "{text}");
    }
    assert!(extract(&HeaderMap::new()).is_none());
}

#[test]
fn without_traces_nothing_is_passed_on_and_a_call_still_has_an_id() {
    let span = tracing::info_span!("plain");
    continue_from(&span, PARENT);
    let _entered = span.entered();
    let mut sent = HeaderMap::new();
    inject(&mut sent);
    assert!(sent.is_empty());
    assert_eq!((current_traceparent(), current_trace_id()), (None, None));
    assert_eq!(id_of_call(&headers(PARENT)), "0af7651916cd43dd8448eb211c80319c");
    let (one, two) = (id_of_call(&sent), id_of_call(&sent));
    assert!(one.len() == 32 && one != two);
}
