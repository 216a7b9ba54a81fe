//! Which queries are understood, and how.

use super::{Filter, Page, Query};
use crate::clock::UnixTime;
use crate::error::GatewayError;
use crate::principal::TenantId;
use crate::record::Outcome;

#[test]
fn queries_that_are_understood() {
    let default = Query::default();
    let page = default.page;
    let filter = Filter::default;
    for (query, expected) in [
        ("", default.clone()),
        ("&", default.clone()),
        ("limit=1", Query { page: Page { limit: 1, ..page }, ..default.clone() }),
        ("limit=500&offset=0", Query { page: Page { limit: 500, ..page }, ..default.clone() }),
        ("offset=1000000", Query { page: Page { offset: 1_000_000, ..page }, ..default.clone() }),
        ("orderAsc=true", Query { page: Page { oldest_first: true, ..page }, ..default.clone() }),
        ("orderAsc=false", default.clone()),
        (
            "tenantID=team-b",
            Query { filter: Filter { tenant: TenantId::parse("team-b").ok(), ..filter() }, page },
        ),
        (
            "tenant=team%2Fb",
            Query { filter: Filter { tenant: TenantId::parse("team/b").ok(), ..filter() }, page },
        ),
        (
            "outcome=denied",
            Query { filter: Filter { outcome: Some(Outcome::Denied), ..filter() }, page },
        ),
        (
            "path%50refix=%2Fsand+b",
            Query { filter: Filter { path_prefix: Some("/sand b".to_owned()), ..filter() }, page },
        ),
        (
            "keyID=k1&requestID=r%261",
            Query {
                filter: Filter {
                    key: Some("k1".to_owned()),
                    request_id: Some("r&1".to_owned()),
                    ..filter()
                },
                page,
            },
        ),
        (
            "since=1970-01-01T01:00:05%2B01:00&until=1970-01-01T00:00:09Z",
            Query {
                filter: Filter { since: Some(UnixTime(5)), until: Some(UnixTime(9)), ..filter() },
                page,
            },
        ),
        // Events are told by the second: the one that is cut belongs to both sides.
        (
            "since=1970-01-01T00:00:05.7Z&until=1970-01-01T00:00:09.001Z",
            Query {
                filter: Filter { since: Some(UnixTime(5)), until: Some(UnixTime(10)), ..filter() },
                page,
            },
        ),
        (
            "until=1970-01-01T00:00:09.000Z",
            Query { filter: Filter { until: Some(UnixTime(9)), ..filter() }, page },
        ),
    ] {
        assert_eq!(Query::of_page(query), Ok(expected), "{query}");
    }
}

#[test]
fn queries_that_are_refused() {
    for query in [
        "limit=0",
        "limit=501",
        "limit=abc",
        "limit=-1",
        "limit=%2B5",
        "limit=1.0",
        "limit=99999999999999999999999",
        "limit=",
        "limit",
        "offset=-1",
        "offset=x",
        "offset=99999999999999999999999",
        "orderAsc=1",
        "orderAsc=TRUE",
        "tenantID=",
        "tenantID=a:b",
        "tenantID=*",
        "outcome=Denied",
        "outcome=",
        "pathPrefix=",
        "pathPrefix=%",
        "pathPrefix=%ff",
        "since=yesterday",
        "since=1970-01-01T00:00:00+01:00",
        "until=1",
        "keyID=",
        "nothing=1",
        "tenantid=a",
        "=1",
        "limit=1&limit=1",
        "tenantID=a&tenant=a",
        "%zz=1",
    ] {
        let refused = Query::of_page(query);
        assert!(matches!(refused, Err(GatewayError::BadRequest("bad_query", _))), "{query}");
    }
    for query in ["limit=1", "offset=1", "orderAsc=true", "since=1970-01-01T00:00:00Z", "x=1"] {
        assert!(Query::of_stream(query).is_err(), "{query}");
    }
    let filter = Query::of_stream("tenant=a&outcome=error&pathPrefix=/&keyID=k&requestID=r");
    assert_eq!(filter.unwrap().outcome, Some(Outcome::Error));
}
