//! What a handshake may and may not remember.

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::*;

fn offer(clients: bool) -> Offer {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().der().clone();
    let der = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let identity = Identity::new(Path::new("x"), vec![certificate.clone()], der).unwrap();
    let clients = clients.then(|| Clients::of(vec![certificate]).unwrap());
    Offer::new(vec![identity], clients, Box::default()).unwrap()
}

#[test]
fn who_has_to_prove_something_has_to_do_so_each_time() {
    let remembers = |offer: &Offer| {
        let config = offer.config();
        (
            config.ticketer.enabled(),
            config.send_tls13_tickets > 0,
            config.session_storage.can_cache(),
        )
    };
    assert_eq!(remembers(&offer(false)), (true, true, true));
    assert_eq!(remembers(&offer(true)), (false, false, false));
}

#[test]
fn a_certificate_of_a_client_is_good_for_its_time() {
    let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2026, 2, 1);
    let own = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone();
    for (at, expected) in [
        ("2025-12-31T23:59:59Z", false),
        ("2026-01-01T00:00:00Z", true),
        ("2026-02-01T00:00:00Z", true),
        ("2026-02-01T00:00:01Z", false),
    ] {
        let now = at.parse().unwrap();
        assert_eq!(Offer::is_in_time(Some(std::slice::from_ref(&own)), now), expected, "{at}");
        assert!(Offer::is_in_time(None, now));
        assert!(!Offer::is_in_time(Some(&[CertificateDer::from(vec![1])]), now));
    }
}
