//! An upstream that fails in every way it can, at random but the same in every run, under clients that come and go.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use coppice_gateway::simulator::{Lists, Options, Simulator};
use serde_json::{Value, json};

use super::{assert_refused, count, create, creating, id_of, kill, starts, with_limits};
use crate::support::wait::{PATIENCE, eventually, within};
use crate::support::world::key;
use crate::support::{Wire, World};

const LIMIT: u32 = 40;
const CLIENTS: u64 = 8;
const REQUESTS: usize = 60;
/// Within which everything is settled once the upstream answers again.
const SETTLED: Duration = Duration::from_secs(30);

/// Numbers that look random and are the same for the same seed (splitmix64).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }

    /// What a create's metadata asks to go wrong; mostly nothing.
    pub(super) fn fault(&mut self) -> Value {
        match self.below(160) {
            0 => json!({ "simulator-fail": "500" }),
            1 => json!({ "simulator-fail-after": "500" }),
            2 => json!({ "simulator-fail-after": "504" }),
            3 => json!({ "simulator-fail-after": "408" }),
            4 => json!({ "simulator-fault": "reset" }),
            5 => json!({ "simulator-fault": "reset-after" }),
            6 => json!({ "simulator-fault": "stall" }),
            7 => json!({ "simulator-fault": "stall-after" }),
            8 => json!({ "simulator-fault": "late" }),
            9 => json!({ "simulator-fault": "garbled" }),
            10..20 => json!({ "simulator-fail": "400" }),
            20..80 => json!({ "simulator-delay-ms": self.below(80).to_string() }),
            _ => json!({}),
        }
    }
}

/// Sends a create and goes away, at once or when the upstream may be at it.
fn leave(gateway: SocketAddr, dice: &mut Dice) {
    let ask = creating(&json!({ "simulator-delay-ms": "60" })).key(&key("exec"));
    let mut wire = Wire::open(gateway);
    wire.send(&ask.kept_bytes(gateway));
    let patience = Duration::from_millis(dice.below(40) as u64);
    within(patience, || wire.has_something());
    wire.reset();
}

fn client(world: &World, seed: u64, done: &AtomicUsize) {
    let mut dice = Dice(seed);
    let mut mine = Vec::new();
    for _ in 0..REQUESTS {
        let mut is_full = false;
        match dice.below(40) {
            0 => leave(world.control(), &mut dice),
            _ => {
                let answer = world.ask("exec", creating(&dice.fault()));
                match answer.status {
                    201 => mine.push(id_of(&answer)),
                    403 => {
                        assert_refused(&answer, "team-a", LIMIT);
                        is_full = true;
                    }
                    400 | 408 | 500 | 502 | 504 => {}
                    _ => panic!("{} {}", answer.status, answer.text()),
                }
            }
        }
        if (is_full || dice.below(4) == 0) && !mine.is_empty() {
            let id: String = mine.swap_remove(dice.below(mine.len()));
            if dice.below(8) == 0 {
                world.simulator.kill(&id);
            } else {
                assert_eq!(kill(world, "exec", &id), 204);
            }
        }
        done.fetch_add(1, Ordering::AcqRel);
    }
}

/// The gateway takes exactly as many as there is room for at the upstream, within the time it has to settle.
pub(super) fn assert_settles(world: &World, limit: u32) {
    let live = || u32::try_from(count(&world.simulator, "team-a").0).unwrap();
    eventually("there is room for all that the limit allows", SETTLED, || {
        while create(world, "exec").status == 201 {}
        assert_never_above(&world.simulator, limit);
        live() == limit
    });
    assert_refused(&create(world, "exec"), "team-a", limit);
    assert_never_above(&world.simulator, limit);
}

pub(super) fn assert_never_above(simulator: &Simulator, limit: u32) {
    let (_, most) = count(simulator, "team-a");
    assert!(most <= limit as usize, "{most} at once");
}

#[test]
fn however_the_upstream_fails_the_limit_holds_and_no_room_is_lost() {
    let world =
        World::with(Options::default(), |setup| with_limits(setup, &format!("team-a={LIMIT}")));
    // The first one is listed for, and that must go well.
    id_of(&create(&world, "exec"));
    let done = AtomicUsize::new(0);
    thread::scope(|scope| {
        for seed in 0..CLIENTS {
            let (world, done) = (&world, &done);
            scope.spawn(move || client(world, seed, done));
        }
        for (after, lists) in [(150, Lists::Failed), (250, Lists::Right), (450, Lists::Stalled)] {
            eventually("the clients go on", 2 * PATIENCE, || done.load(Ordering::Acquire) >= after);
            world.simulator.answer_lists(lists);
        }
    });
    assert_never_above(&world.simulator, LIMIT);
    let sent = starts(&world.simulator).len();
    assert!(sent > 150, "{sent} of the creates were sent: too few to tell anything");
    world.simulator.answer_lists(Lists::Right);
    assert_settles(&world, LIMIT);
}
