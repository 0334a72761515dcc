//! Time, tasks and randomness.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyedge_net::host::Host;
use futures_util::future::join_all;

use super::judge::{same, soon};
use super::{Finding, Pair};

pub(super) async fn timers_fire_in_order_and_never_early<H: Host>(pair: Pair<H>) -> Finding {
    let host = pair.a;
    let start = host.now();
    let fired = Mutex::new(Vec::new());
    let shuffled = [7, 2, 9, 1, 5, 3, 8, 6, 10, 4];
    let sleeps = shuffled.map(|number| {
        let due = start + Duration::from_millis(5 * number);
        let sleep = host.sleep_until(due);
        let (host, fired) = (&host, &fired);
        async move {
            sleep.await;
            let early = due.since(host.now());
            fired
                .lock()
                .expect("nobody panics")
                .push((number, early.is_zero()));
        }
    });
    soon(&host, "ten timers", join_all(sleeps)).await?;
    let wanted = (1..=10).map(|number| (number, true)).collect();
    let fired = fired.into_inner().expect("nobody panics");
    same("timers and whether their time had come", fired, wanted)
}

pub(super) async fn a_time_that_has_passed_is_no_wait<H: Host>(pair: Pair<H>) -> Finding {
    let start = pair.a.now();
    soon(&pair.a, "a time that is", pair.a.sleep_until(start)).await?;
    pair.a.sleep_until(start + Duration::from_millis(2)).await;
    soon(&pair.a, "a time that was", pair.a.sleep_until(start)).await
}

pub(super) async fn a_task_runs_beside_its_caller<H: Host>(pair: Pair<H>) -> Finding {
    let steps = Arc::new(Mutex::new(Vec::new()));
    let (noted, host) = (Arc::clone(&steps), pair.a.clone());
    let note = |steps: &Mutex<Vec<&'static str>>, step| {
        steps.lock().expect("nobody panics").push(step);
    };
    let start = pair.a.now();
    pair.a.spawn(async move {
        note(&noted, "task");
        host.sleep_until(start + Duration::from_millis(20)).await;
        note(&noted, "task again");
    });
    pair.a.sleep_until(start + Duration::from_millis(10)).await;
    note(&steps, "caller");
    let done = async {
        while steps.lock().expect("nobody panics").len() < 3 {
            pair.a
                .sleep_until(pair.a.now() + Duration::from_millis(1))
                .await;
        }
    };
    soon(&pair.a, "the task", done).await?;
    let steps = steps.lock().expect("nobody panics").clone();
    same("steps", steps, vec!["task", "caller", "task again"])
}

pub(super) async fn randomness_starts_anew_at_every_call<H: Host>(pair: Pair<H>) -> Finding {
    let draw = |purpose| {
        let mut rng = pair.a.rng(purpose);
        [rng.bits(), rng.bits()]
    };
    let (first, again, other) = (draw("one"), draw("one"), draw("another"));
    same("one purpose, drawn twice alike", first == again, true)?;
    same("two purposes, drawn alike", first == other, false)
}

pub(super) async fn two_hosts_draw_differently<H: Host>(pair: Pair<H>) -> Finding {
    let alike = pair.a.rng("one").bits() == pair.b.rng("one").bits();
    same("two hosts, drawn alike", alike, false)
}
