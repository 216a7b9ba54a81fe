//! A name server for one page: every name under the domain of the examples is this machine.
//!
//! What it says is all that a wildcard record would say. It speaks as much of RFC 1035 as a resolver library needs.

use std::net::{Ipv4Addr, UdpSocket};

/// The domain of the examples.
pub(super) const DOMAIN: &str = "sandboxes.example.com";

/// Serves on the usual port of the loopback address until the process ends.
pub(super) fn serve() {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 53)).unwrap();
    std::thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut query) {
            if let Some(reply) = reply(&query[..length]) {
                let _ = socket.send_to(&reply, client);
            }
        }
    });
}

/// The answer to a query with one question.
fn reply(query: &[u8]) -> Option<Vec<u8>> {
    let question = query.get(12..)?;
    let (mut name, mut at) = (Vec::new(), 0);
    while let length @ 1.. = usize::from(*question.get(at)?) {
        name.push(std::str::from_utf8(question.get(at + 1..=at + length)?).ok()?);
        at += 1 + length;
    }
    let kind = question.get(at + 1..at + 3)?;
    let question = question.get(..at + 5)?;
    let name = name.join(".").to_ascii_lowercase();
    let known = name == DOMAIN || name.ends_with(&format!(".{DOMAIN}"));
    let has_address = known && kind == [0, 1];
    // An answer from who knows, and recursion because it is asked for; 3 is "no such name".
    let mut reply = [query.get(..2)?, &[0x85, if known { 0x80 } else { 0x83 }]].concat();
    reply.extend([0, 1, 0, u8::from(has_address), 0, 0, 0, 0]);
    reply.extend(question);
    if has_address {
        // The name is the one at offset 12; an address of the Internet, for a minute.
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    }
    Some(reply)
}

#[test]
fn only_names_of_the_domain_are_known() {
    let ask = |name: &str, kind: u8| {
        let labels = name
            .split('.')
            .flat_map(|label| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat());
        let head = [7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0].into_iter();
        reply(&head.chain(labels).chain([0, 0, kind, 0, 1]).collect::<Vec<u8>>()).unwrap()
    };
    let address = ask("49983-i1.Sandboxes.example.com", 1);
    assert_eq!((address[3], &address[address.len() - 4..]), (0x80, &[127, 0, 0, 1][..]));
    let sixth_version = ask("sandboxes.example.com", 28);
    assert_eq!((sixth_version[3], sixth_version[7]), (0x80, 0));
    assert_eq!(ask("example.com", 1)[3], 0x83);
    assert!(reply(&[0; 5]).is_none());
}
