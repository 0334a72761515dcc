//! What services may rely on: order, no lost wake-up, no double one, and an end for everything.

use std::future::poll_fn;
use std::sync::atomic::AtomicUsize;
use std::sync::{Mutex, MutexGuard};

use super::*;

const HOST: HostId = HostId(0);

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, line: impl Into<String>) {
        locked(&self.0).push(line.into());
    }

    fn text(&self) -> String {
        locked(&self.0).join(" ")
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("whoever had it is well")
}

/// Returns to the executor `times` times, waking itself before.
async fn yield_times(times: usize) {
    let mut left = times;
    poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn tasks_run_in_the_order_in_which_they_were_woken() {
    let mut executor = Executor::new();
    let log = Log::default();
    for name in ["a", "b", "c"] {
        let log = log.clone();
        executor.handle().spawn(HOST, async move {
            for round in 0..2 {
                log.add(format!("{name}{round}"));
                yield_times(1).await;
            }
        });
    }
    executor.run_ready();
    assert_eq!(log.text(), "a0 b0 c0 a1 b1 c1");
    assert_eq!(executor.alive(), 0);
}

#[test]
fn a_task_spawned_by_a_task_comes_behind_those_that_are_ready() {
    let mut executor = Executor::new();
    let log = Log::default();
    let handle = executor.handle().clone();
    let (outer, child) = (log.clone(), log.clone());
    executor.handle().spawn(HOST, async move {
        handle.spawn(HOST, async move { child.add("child") });
        outer.add("parent");
    });
    let sibling = log.clone();
    executor
        .handle()
        .spawn(HOST, async move { sibling.add("sibling") });
    executor.run_ready();
    assert_eq!(log.text(), "parent sibling child");
}

#[test]
fn a_task_that_is_woken_many_times_is_polled_once() {
    let mut executor = Executor::new();
    let wakers = Arc::new(Mutex::new(Vec::<Waker>::new()));
    let polls = Arc::new(AtomicUsize::new(0));
    let (seen, kept) = (Arc::clone(&polls), Arc::clone(&wakers));
    executor.handle().spawn(
        HOST,
        poll_fn(move |context| {
            seen.fetch_add(1, Ordering::Relaxed);
            locked(&kept).push(context.waker().clone());
            Poll::Pending
        }),
    );
    executor.run_ready();
    for _ in 0..5 {
        locked(&wakers)[0].wake_by_ref();
    }
    assert_eq!(executor.run_ready(), 1);
    assert_eq!(polls.load(Ordering::Relaxed), 2);
}

#[test]
fn a_waker_of_an_ended_task_does_not_wake_its_successor() {
    let mut executor = Executor::new();
    let wakers = Arc::new(Mutex::new(Vec::<Waker>::new()));
    let kept = Arc::clone(&wakers);
    executor.handle().spawn(
        HOST,
        poll_fn(move |context| {
            locked(&kept).push(context.waker().clone());
            Poll::Ready(())
        }),
    );
    executor.run_ready();
    executor.handle().spawn(HOST, std::future::pending());
    assert_eq!(executor.run_ready(), 1);
    locked(&wakers)[0].wake_by_ref();
    assert_eq!(executor.run_ready(), 0);
    assert_eq!((executor.alive(), executor.slots.len()), (1, 1));
}

#[test]
fn a_timer_wakes_once_and_a_cancelled_one_never() {
    let mut executor = Executor::new();
    let handle = executor.handle().clone();
    let ids = Arc::new(Mutex::new(Vec::new()));
    let (kept, timers) = (Arc::clone(&ids), handle.clone());
    let mut polls = 0;
    executor.handle().spawn(
        HOST,
        poll_fn(move |context| {
            polls += 1;
            let mut timer = None;
            assert!(timers.arm_timer(HostId(0), &mut timer, context.waker()));
            let armed = timer;
            assert!(
                !timers.arm_timer(HostId(0), &mut timer, context.waker()),
                "it waits already"
            );
            assert_eq!(timer, armed);
            locked(&kept).push(timer.expect("it was armed"));
            if polls == 3 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }),
    );
    executor.run_ready();
    let first = locked(&ids)[0];
    handle.fire(first);
    handle.fire(first);
    assert_eq!(executor.run_ready(), 1);
    let second = locked(&ids)[1];
    handle.cancel_timer(second);
    handle.fire(second);
    let mut again = Some(second);
    assert!(handle.arm_timer(HostId(0), &mut again, Waker::noop()));
    assert_ne!(again, Some(second), "what has ended does not wait again");
    assert_eq!((executor.run_ready(), executor.alive()), (0, 1));
}

#[test]
fn tasks_run_in_the_order_of_their_wake_ups_however_many_there_are() {
    let mut executor = Executor::new();
    let order = Arc::new(Mutex::new(Vec::new()));
    let wakers = Arc::new(Mutex::new(Vec::new()));
    let all = 0..200_usize;
    for number in all.clone() {
        let (order, wakers) = (Arc::clone(&order), Arc::clone(&wakers));
        let mut polls = 0;
        executor.handle().spawn(
            HOST,
            poll_fn(move |context| {
                polls += 1;
                if polls == 1 {
                    locked(&wakers).push(context.waker().clone());
                    return Poll::Pending;
                }
                locked(&order).push(number);
                Poll::Ready(())
            }),
        );
    }
    executor.run_ready();
    locked(&wakers).iter().rev().for_each(Waker::wake_by_ref);
    assert_eq!(executor.run_ready(), 200);
    assert!(executor.handle().is_idle());
    let backwards: Vec<usize> = all.rev().collect();
    assert_eq!(*locked(&order), backwards);
}

/// Counts how many of it are alive.
struct Guard(Arc<AtomicUsize>);

impl Guard {
    fn new(count: &Arc<AtomicUsize>) -> Guard {
        count.fetch_add(1, Ordering::Relaxed);
        Guard(Arc::clone(count))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn killing_a_host_drops_its_tasks_and_no_others() {
    let mut executor = Executor::new();
    let counts = [Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0))];
    for number in 0..6_u32 {
        let guard = Guard::new(&counts[number as usize % 2]);
        executor.handle().spawn(HostId(number % 2), async move {
            std::future::pending::<()>().await;
            drop(guard);
        });
        if number == 3 {
            executor.run_ready();
        }
    }
    assert_eq!(executor.kill_host(HostId(1)), 3);
    let alive = counts.each_ref().map(|count| count.load(Ordering::Relaxed));
    assert_eq!(alive, [3, 0]);
    executor.run_ready();
    assert_eq!(executor.alive(), 3);
}

#[test]
fn finishing_drops_tasks_that_are_spawned_by_dropping_others() {
    struct SpawnOnDrop(Handle, Arc<AtomicUsize>);
    impl Drop for SpawnOnDrop {
        fn drop(&mut self) {
            let guard = Guard::new(&self.1);
            self.0.spawn(HOST, async move { drop(guard) });
        }
    }
    let mut executor = Executor::new();
    let count = Arc::new(AtomicUsize::new(0));
    let last = SpawnOnDrop(executor.handle().clone(), Arc::clone(&count));
    executor.handle().spawn(HOST, async move {
        std::future::pending::<()>().await;
        drop(last);
    });
    executor.run_ready();
    executor.finish();
    assert_eq!(count.load(Ordering::Relaxed), 0);
    assert!(executor.alive() == 0 && executor.handle().is_idle());
}

#[test]
fn a_host_that_hangs_keeps_its_tasks_and_goes_on_where_it_stood() {
    let mut executor = Executor::new();
    let log = Log::default();
    for (host, name) in [(HOST, "hangs"), (HostId(1), "runs")] {
        let log = log.clone();
        executor.handle().spawn(host, async move {
            log.add(name);
            yield_times(1).await;
            log.add(name);
        });
    }
    executor.hang_host(HOST);
    executor.run_ready();
    executor.run_ready();
    assert_eq!(log.text(), "runs runs");
    assert!(
        executor.handle().is_idle(),
        "nothing waits for a host that hangs"
    );
    executor.release_host(HOST);
    executor.run_ready();
    assert_eq!(log.text(), "runs runs hangs hangs");
    executor.hang_host(HOST);
    let log_after = log.clone();
    executor
        .handle()
        .spawn(HOST, async move { log_after.add("late") });
    executor.run_ready();
    assert_eq!(
        executor.kill_host(HOST),
        1,
        "a machine that hangs may crash"
    );
    executor.run_ready();
    assert_eq!(log.text(), "runs runs hangs hangs");
}
