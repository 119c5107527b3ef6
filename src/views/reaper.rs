//! Lets go of what nobody looks at any more, on a thread of its own.
//!
//! To free a view of a million bans takes tens of milliseconds, and whoever lets go of it last pays
//! for it: a check that still held an evicted one, or one that happened to do the cache's chores.
//! So the reaper holds everything that leaves the shelf until nobody else does, and lets go last.
//!
//! To hold a replaced view that little longer costs next to nothing, for it shares nearly all its
//! memory with the one that replaced it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::{Builder, JoinHandle, park_timeout},
    time::Duration,
};

/// How long the reaper rests between two looks while it has anything: many that arrive meanwhile
/// are one round.
const SHORTEST_REST: Duration = Duration::from_millis(20);
/// How long at the most, where the others hold on to all that it has.
const LONGEST_REST: Duration = Duration::from_secs(1);
/// How long others are waited for, which is far longer than any check takes. What is held longer is
/// held by somebody who does not mind freeing it, or by two reapers who wait for each other.
const PATIENCE: Duration = Duration::from_secs(10);

enum Told<T> {
    Left(Arc<T>),
    End,
}

/// What hands things to the reaper; any number of them, on any thread.
pub(super) struct Scythe<T> {
    tell: Sender<Told<T>>,
    held: Arc<AtomicUsize>,
}

impl<T> Clone for Scythe<T> {
    fn clone(&self) -> Self {
        Self {
            tell: self.tell.clone(),
            held: Arc::clone(&self.held),
        }
    }
}

impl<T> Scythe<T> {
    /// Hands over what nobody will be given any more. Never waits.
    pub(super) fn take(&self, left: Arc<T>) {
        self.held.fetch_add(1, Ordering::Relaxed);
        // Where the reaper has ended, whoever comes too late frees what they hold themselves.
        if self.tell.send(Told::Left(left)).is_err() {
            self.held.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The thread that lets go last; it ends when this is dropped.
pub(super) struct Reaper<T> {
    scythe: Scythe<T>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + Sync + 'static> Reaper<T> {
    /// Starts the thread. Where none can be had, whoever hands something over frees it.
    pub(super) fn start() -> Self {
        let (tell, told) = channel();
        let held = Arc::default();
        let round = Round {
            told,
            held: Arc::clone(&held),
            left: Vec::new(),
        };
        let thread = Builder::new()
            .name("reaper".to_owned())
            .spawn(move || round.run())
            .inspect_err(|error| {
                tracing::error!(%error, "no thread can be had to free views on; checks free them");
            });
        Self {
            scythe: Scythe { tell, held },
            thread: thread.ok(),
        }
    }
}

impl<T> Reaper<T> {
    /// What hands things over.
    pub(super) fn scythe(&self) -> &Scythe<T> {
        &self.scythe
    }

    /// How many things wait for the last of their other holders.
    pub(super) fn held(&self) -> usize {
        self.scythe.held.load(Ordering::Relaxed)
    }
}

impl<T> Drop for Reaper<T> {
    fn drop(&mut self) {
        // It may have ended already, by a panic that it told of itself.
        let _ = self.scythe.tell.send(Told::End);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

struct Round<T> {
    told: Receiver<Told<T>>,
    held: Arc<AtomicUsize>,
    /// What has left, and for how long it has been waited for.
    left: Vec<(Arc<T>, Duration)>,
}

impl<T> Round<T> {
    fn run(mut self) {
        let mut rest = SHORTEST_REST;
        loop {
            let before = self.left.len();
            if before == 0 {
                match self.told.recv() {
                    Ok(Told::Left(left)) => self.left.push((left, Duration::ZERO)),
                    Ok(Told::End) | Err(_) => return,
                }
            } else {
                park_timeout(rest);
                for (_, waited) in &mut self.left {
                    *waited += rest;
                }
            }
            while let Ok(told) = self.told.try_recv() {
                match told {
                    Told::Left(left) => self.left.push((left, Duration::ZERO)),
                    Told::End => return,
                }
            }
            let came = self.left.len() > before;
            let went = self.let_go();
            rest = if came || went {
                SHORTEST_REST
            } else {
                (rest * 2).min(LONGEST_REST)
            };
        }
    }

    /// Lets go of what nobody else holds; nobody can take hold of it again.
    fn let_go(&mut self) -> bool {
        let before = self.left.len();
        self.left
            .retain(|(left, waited)| Arc::strong_count(left) > 1 && *waited < PATIENCE);
        let gone = before - self.left.len();
        self.held.fetch_sub(gone, Ordering::Relaxed);
        gone > 0
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;

    /// Tells on which thread it was freed.
    struct Probe(mpsc::Sender<Option<String>>);

    impl Drop for Probe {
        fn drop(&mut self) {
            // The test may have ended.
            let _ = self.0.send(thread::current().name().map(str::to_owned));
        }
    }

    const IN_TIME: Duration = Duration::from_secs(30);

    #[test]
    fn what_a_check_still_holds_is_freed_by_the_reaper_and_not_by_the_check() {
        let reaper = Reaper::start();
        let (tell, freed) = mpsc::channel();
        let view = Arc::new(Probe(tell));
        let check = Arc::clone(&view);
        reaper.scythe().take(view);
        thread::Builder::new()
            .name("check".to_owned())
            .spawn(move || {
                assert_eq!(Arc::strong_count(&check), 2, "the reaper holds it as well");
                drop(check);
            })
            .unwrap()
            .join()
            .unwrap();
        assert_eq!(
            freed.recv_timeout(IN_TIME).unwrap().as_deref(),
            Some("reaper")
        );
    }

    #[test]
    fn what_others_hold_is_kept_and_the_rest_is_let_go_meanwhile() {
        let reaper = Reaper::start();
        let (tell, freed) = mpsc::channel();
        let kept = Arc::new(Probe(tell.clone()));
        reaper.scythe().take(Arc::clone(&kept));
        for _ in 0..1_000 {
            reaper.scythe().take(Arc::new(Probe(tell.clone())));
        }
        for _ in 0..1_000 {
            freed.recv_timeout(IN_TIME).unwrap();
        }
        assert_eq!(Arc::strong_count(&kept), 2);
        drop(kept);
        assert_eq!(
            freed.recv_timeout(IN_TIME).unwrap().as_deref(),
            Some("reaper")
        );
    }

    #[test]
    fn the_thread_ends_with_its_owner_whatever_it_still_holds() {
        let reaper = Reaper::start();
        let scythe = reaper.scythe().clone();
        let (tell, freed) = mpsc::channel();
        let held = Arc::new(Probe(tell));
        scythe.take(Arc::clone(&held));
        drop(reaper);
        assert_eq!(Arc::strong_count(&held), 1, "the thread has ended");
        drop(held);
        assert!(freed.recv_timeout(IN_TIME).is_ok());
        let (tell, freed) = mpsc::channel();
        scythe.take(Arc::new(Probe(tell)));
        assert!(freed.try_recv().is_ok(), "nothing is kept for nobody");
    }

    #[test]
    fn two_reapers_that_hold_the_same_do_not_wait_for_each_other_for_ever() {
        let reapers = [Reaper::start(), Reaper::start()];
        let (tell, freed) = mpsc::channel();
        let both = Arc::new(Probe(tell));
        for reaper in &reapers {
            reaper.scythe().take(Arc::clone(&both));
        }
        drop(both);
        assert_eq!(
            freed.recv_timeout(IN_TIME).unwrap().as_deref(),
            Some("reaper")
        );
    }
}
