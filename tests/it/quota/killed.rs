//! A gateway that is killed in the middle of everything, and started again.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use coppice_gateway::simulator::{Lists, Options};
use serde_json::json;

use super::chaos::{Dice, assert_never_above, assert_settles};
use super::{assert_refused, count, create, creating, with_limits};
use crate::support::wait::{PATIENCE, eventually, within};
use crate::support::world::key;
use crate::support::{Answer, Ask, World};

const LIMIT: u32 = 30;
const CLIENTS: u64 = 6;
const KILLS: u64 = 6;

/// What comes back, if anything does before the gateway is gone.
fn try_to_send(ask: &Ask, gateway: SocketAddr) -> Option<Answer> {
    let mut stream = TcpStream::connect(gateway).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(&ask.bytes(gateway)).ok()?;
    let mut answer = Vec::new();
    let whole = stream.read_to_end(&mut answer);
    (whole.is_ok() && answer.windows(4).any(|end| end == b"\r\n\r\n"))
        .then(|| Answer::parse(&answer))
}

fn client(gateway: SocketAddr, seed: u64, is_over: &AtomicBool) {
    let mut dice = Dice(seed);
    let mut mine = Vec::new();
    while !is_over.load(Ordering::Acquire) {
        if mine.len() > 3 || (dice.below(3) == 0 && !mine.is_empty()) {
            let id: String = mine.swap_remove(dice.below(mine.len()));
            let kill = Ask::new("DELETE", &format!("/sandboxes/{id}")).key(&key("exec"));
            try_to_send(&kill, gateway);
        } else {
            let answer = try_to_send(&creating(&dice.fault()).key(&key("exec")), gateway);
            if let Some(answer) = answer.filter(|answer| answer.status == 201)
                && let Ok(made) = serde_json::from_slice::<serde_json::Value>(&answer.body)
            {
                mine.push(made["sandboxID"].as_str().unwrap().to_owned());
            }
        }
    }
}

#[test]
fn killed_again_and_again_the_limit_holds_and_no_room_is_lost() {
    let state = tempfile::tempdir().unwrap();
    let setup = |setup| with_limits(setup, &format!("team-a={LIMIT}")).state_dir(state.path());
    let mut world = World::with(Options::default(), setup);
    let mut dice = Dice(7);
    for round in 0..KILLS {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            for number in 0..CLIENTS {
                let (gateway, is_over) = (world.control(), &is_over);
                scope.spawn(move || client(gateway, round * CLIENTS + number, is_over));
            }
            let until = world.simulator.request_count() + 5 + dice.below(60) as u64;
            within(Duration::from_secs(2), || world.simulator.request_count() >= until);
            world.gateway.signal("KILL");
            is_over.store(true, Ordering::Release);
        });
        world.gateway.wait();
        world.gateway = world.sibling(setup);
        assert_never_above(&world.simulator, LIMIT);
    }
    assert_settles(&world, LIMIT);
}

#[test]
fn what_was_under_way_when_it_was_killed_still_counts() {
    let state = tempfile::tempdir().unwrap();
    let setup = |setup| with_limits(setup, "team-a=1").state_dir(state.path());
    let mut world = World::with(Options::default(), setup);
    let late = creating(&json!({ "simulator-fault": "late" })).key(&world.key("exec"));
    let mut wire = crate::support::Wire::open(world.control());
    wire.send(&late.kept_bytes(world.control()));
    eventually("it is sent", PATIENCE, || !super::starts(&world.simulator).is_empty());
    world.gateway.kill();
    world.gateway = world.sibling(setup);
    // Not there yet, and not forgotten.
    assert_refused(&create(&world, "exec"), "team-a", 1);
    eventually("it is there", PATIENCE, || count(&world.simulator, "team-a").0 == 1);
    world.simulator.answer_lists(Lists::Failed);
    assert_refused(&create(&world, "exec"), "team-a", 1);
    assert_eq!(count(&world.simulator, "team-a"), (1, 1));
}
