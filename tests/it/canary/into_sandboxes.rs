//! The same for every row that leads into a sandbox, where tokens are what most requests come with.

use std::collections::BTreeSet;

use coppice_gateway::route::table;
use coppice_gateway::route::{Class, Methods, Notes, Route, Surface};
use coppice_gateway::simulator::Options;

use super::every_route::{Signed, Sweep, ask, fill, service};
use super::{Watch, follow, secret};
use crate::matrix::METHODS;
use crate::support::World;

/// What a request into a sandbox comes with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum With {
    Token,
    TrafficToken,
    /// A token beside a Bearer that belongs to whatever listens in the sandbox.
    TokenBesideBearer,
    /// What looks like a token.
    Forged,
    /// What looks like a signature, and nothing else.
    Signature,
    Credential(Signed),
}

const ALL: [With; 12] = [
    With::Token,
    With::TrafficToken,
    With::TokenBesideBearer,
    With::Forged,
    With::Signature,
    With::Credential(Signed::Key),
    With::Credential(Signed::Read),
    With::Credential(Signed::Stranger),
    With::Credential(Signed::Nobody),
    With::Credential(Signed::Known),
    With::Credential(Signed::Refused),
    With::Credential(Signed::Broken),
];

impl Sweep {
    fn data(&mut self, row: &Route, port: u16, method: &str, with: With) {
        self.number += 1;
        let number = self.number;
        self.world.simulator.clear_requests();
        let mut path = fill(row, &self.sandbox, number);
        let what = format!("{method} {path} on {port} ({number}) with {with:?}");
        if with == With::Signature {
            path = format!("{path}?path=a&username=user&signature=v1_{}", secret("signed", number));
        }
        let forged = format!("cpt1.{}.{}", secret("claims", number), secret("seal", number));
        let ask = ask(method, &path, number)
            .header("E2b-Sandbox-Id", &self.sandbox)
            .header("E2b-Sandbox-Port", port.to_string());
        let ask = match with {
            With::Token => ask.header("X-Access-Token", &self.token),
            With::TrafficToken => ask.header("E2b-Traffic-Access-Token", &self.token),
            With::TokenBesideBearer => {
                ask.header("X-Access-Token", &self.token).bearer(&secret("of-the-app", number))
            }
            With::Forged => ask.header("X-Access-Token", forged),
            With::Signature => ask,
            With::Credential(signed) => signed.sign(ask, number),
        };
        let answer = ask.send(self.world.data());
        self.follow_up(number, row, &answer, &what);
        let Some(arrived) = self.arrived(number) else { return };
        // The real tokens went where they belong, in place of the gateway's.
        let (envd, traffic) = self.world.simulator.tokens_of(&self.sandbox).unwrap();
        assert_eq!(arrived.header("e2b-traffic-access-token"), Some(&*traffic), "{what}");
        // An app gets that of its own traffic alone.
        let for_envd = (row.surface != Surface::Port).then_some(&*envd);
        assert_eq!(arrived.header("x-access-token"), for_envd, "{what}");
        assert!(!format!("{arrived:?}").contains(&self.token), "{what}");
        let of_the_app = arrived.header("authorization").unwrap_or_default();
        if with == With::TokenBesideBearer && row.surface == Surface::Port {
            assert!(of_the_app.contains(&secret("of-the-app", number)), "{what}");
        }
    }
}

#[test]
fn nothing_secret_is_told_of_any_way_into_a_sandbox() {
    for http2 in ["off", "on"] {
        let (watch, service) = (Watch::new(), service());
        let world = World::with(Options::default(), |setup| {
            watch.setup(setup, &service.url()).flag(format!("--upstream-http2={http2}"))
        });
        let mut sweep = Sweep::new(world);
        let following = follow(sweep.world.control());
        let mut rows = BTreeSet::new();
        for row in table::rows().filter(|row| row.surface.is_data_plane()) {
            let port = match row.surface {
                Surface::Envd => 49_983,
                Surface::Interpreter => 49_999,
                Surface::Port => 8080,
                Surface::Api | Surface::Gateway | Surface::Registry => unreachable!(),
            };
            for (method, listed) in METHODS {
                if row.methods.contains(listed) && !is_any_but_get(row, listed) {
                    ALL.into_iter().for_each(|with| sweep.data(row, port, method, with));
                } else {
                    sweep.data(row, port, method, ALL[sweep.number % ALL.len()]);
                }
            }
            if row.class != Class::Hidden {
                rows.insert(format!("{:?} {}", row.surface, row.pattern));
            }
        }
        let Sweep { world, needles, passed, bodies, number, .. } = sweep;
        assert!(passed.keys().eq(&rows), "{passed:#?}");
        assert!(
            passed.values().sum::<usize>() > 150 && bodies > 10,
            "{number} {bodies} {passed:?}"
        );
        needles.assert_none_told(&watch.end(&world.gateway, following));
    }
}

/// Where every method is listed, one of them with all credentials is enough.
fn is_any_but_get(row: &Route, method: Methods) -> bool {
    row.methods.contains(Methods::DELETE) && method != Methods::GET && !row.notes.has(Notes::SIGNED)
}
