//! What happens in a run, and when: drawn from its seed before it begins.

use std::time::Duration;

use bancheck::domain::channel::Channel;

use super::{
    client::PEOPLE,
    errand::{Deed, Errand},
    network::{Fault, Path},
    random::Random,
};

/// Something that happens.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// A pod is asked about somebody; the rest is drawn when it happens.
    Check {
        pod: usize,
        tenant: usize,
        draw: u64,
    },
    Write(Errand),
    /// Something is wrong with a path of a pod, or with both, and later no more.
    Wires(usize, Option<Path>, Fault),
    /// Bells get lost on the way to a pod, or no more.
    Deaf(usize, bool),
    /// All the connections of a pod break; new ones can be made.
    Reset(usize),
    /// The connections of a pod lead to a standby that lags so far behind, or back.
    Standby(usize, Option<Duration>),
    /// The server is gone, its sessions with it, or is back.
    Away(bool),
    /// A backup of so many rows ago takes the database's place, its clock off by so much.
    Fork(usize, i64),
    /// Only so many feed rows are kept.
    Prune(u64),
    Pause(usize),
    Resume(usize),
    Kill(usize),
    Evict(usize, usize),
    /// Somebody sets the clock of a pod's machine, by so many microseconds.
    StepWall(usize, i64),
}

/// A run's plan in full.
pub(crate) struct Schedule {
    pub(crate) pods: usize,
    pub(crate) tenants: usize,
    /// When the last thing happens.
    pub(crate) length: Duration,
    /// In the order of time.
    pub(crate) actions: Vec<(Duration, Action)>,
}

/// Within this of the end of all trouble, everything is as if there had been none.
pub(crate) const CALM: Duration = Duration::from_secs(4);

struct Draft {
    random: Random,
    pods: usize,
    tenants: usize,
    length: u64,
    actions: Vec<(Duration, Action)>,
}

impl Schedule {
    /// The schedule of a seed.
    pub(crate) fn of(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut draft = Draft {
            pods: *random.pick(&[1, 2, 2, 3, 3]),
            tenants: random.place(3) + 1,
            length: random.between(5_000, 12_000),
            actions: Vec::new(),
            random,
        };
        draft.questions();
        draft.errands();
        draft.troubles();
        let Draft {
            pods,
            tenants,
            length,
            mut actions,
            ..
        } = draft;
        actions.sort_by_key(|(at, _)| *at);
        Self {
            pods,
            tenants,
            length: Duration::from_millis(length),
            actions,
        }
    }
}

impl Draft {
    fn at(&mut self, at: u64, action: Action) {
        let at = Duration::from_millis(at.min(self.length));
        self.actions.push((at, action));
    }

    fn pod(&mut self) -> usize {
        self.random.place(self.pods)
    }

    /// A moment of the run.
    fn moment(&mut self) -> u64 {
        self.random.between(300, self.length)
    }

    fn questions(&mut self) {
        let most = self.random.between(100, 800);
        let mut at = 0;
        loop {
            at += self.random.between(1, most);
            if at > self.length {
                return;
            }
            let action = Action::Check {
                pod: self.pod(),
                tenant: self.random.place(self.tenants),
                draw: self.random.draw(),
            };
            self.at(at, action);
        }
    }

    fn errands(&mut self) {
        let most = *self.random.pick(&[300, 700, 1_500]);
        let mut at = 100;
        loop {
            at += self.random.between(1, most);
            if at > self.length {
                return;
            }
            let errand = self.errand();
            if self.random.chance(15) {
                // Somebody else writes to the same tenant in the same moment.
                let other = Errand {
                    tenant: errand.tenant,
                    ..self.errand()
                };
                self.at(at, Action::Write(other));
            }
            if self.random.chance(10) {
                let back = self.random.place(2);
                let (first, second) = (self.edit(back), self.edit(back));
                for deed in [first, second] {
                    let tenant = errand.tenant;
                    let edit = Errand {
                        tenant,
                        deed,
                        ..self.errand()
                    };
                    self.at(at, Action::Write(edit));
                }
            }
            self.at(at, Action::Write(errand));
        }
    }

    fn errand(&mut self) -> Errand {
        let random = &mut self.random;
        let twin = random.chance(10).then(|| random.place(self.pods));
        let hangs_up = random
            .chance(10)
            .then(|| Duration::from_millis(random.below(60)));
        let deadline = *random.pick(&[300, 1_000, 5_000]);
        Errand {
            tenant: random.place(self.tenants),
            twin,
            hangs_up,
            deadline: Duration::from_millis(deadline),
            tries: random.place(4),
            afterwards: random.draw(),
            deed: self.deed(),
            pod: self.pod(),
        }
    }

    fn soon(&mut self) -> Duration {
        Duration::from_millis(self.random.between(200, 6_000))
    }

    fn edit(&mut self, back: usize) -> Deed {
        match self.random.below(4) {
            0 => Deed::Move(back, *self.random.pick(&[Channel::WebChat, Channel::Email])),
            1 => Deed::Watch(back, self.random.chance(60)),
            2 => Deed::End(back, self.random.chance(70).then(|| self.soon())),
            _ => Deed::Lift(back),
        }
    }

    fn deed(&mut self) -> Deed {
        let back = self.random.place(4);
        match self.random.below(23) {
            0..10 => Deed::Ban {
                who: self.random.below(PEOPLE),
                in_list: self.random.chance(25),
                on: match self.random.below(4) {
                    0 => vec![Channel::WebChat],
                    1 => vec![Channel::Email],
                    _ => Vec::new(),
                },
                starts: self.random.chance(10).then(|| {
                    let millis = self.random.between(50, 3_000);
                    Duration::from_millis(millis)
                }),
                ends: self.random.chance(40).then(|| {
                    let millis = self.random.between(3_001, 9_000);
                    Duration::from_millis(millis)
                }),
                shadow: self.random.chance(15),
            },
            10..14 => Deed::Lift(back),
            14..19 => self.edit(back),
            19 => Deed::Queues(match self.random.below(4) {
                0 => Vec::new(),
                1 => vec![0],
                2 => vec![1],
                _ => vec![0, 1],
            }),
            20 | 21 => Deed::Spare {
                who: self.random.below(PEOPLE),
                on: *self.random.pick(&[Channel::WebChat, Channel::Email]),
                ends: self.random.chance(60).then(|| self.soon()),
            },
            _ => Deed::SpareNoMore(back),
        }
    }

    /// None at all, a few of one kind, or many of every kind.
    fn troubles(&mut self) {
        let kinds: Vec<u64> = match self.random.below(10) {
            0 => Vec::new(),
            1..4 => vec![self.random.below(KINDS)],
            4..7 => (0..3).map(|_| self.random.below(KINDS)).collect(),
            _ => (0..KINDS).collect(),
        };
        if kinds.is_empty() {
            return;
        }
        for _ in 0..self.random.between(1, 12) {
            let kind = *self.random.pick(&kinds);
            self.trouble(kind);
        }
    }

    /// Something that is so for a while.
    fn spell(&mut self, longest: u64, begins: Action, ends: Action) {
        let from = self.moment();
        let lasts = match self.random.below(3) {
            0 => self.random.between(1, 200),
            _ => self.random.between(200, longest),
        };
        self.at(from, begins);
        self.at(from + lasts, ends);
    }

    fn trouble(&mut self, kind: u64) {
        let pod = self.pod();
        let path = *self
            .random
            .pick(&[None, Some(Path::Link), Some(Path::Link), Some(Path::Pool)]);
        let healed = Action::Wires(pod, path, Fault::None);
        match kind {
            0 => self.spell(4_000, Action::Wires(pod, path, Fault::Cut), healed),
            1 => self.spell(5_000, Action::Wires(pod, path, Fault::Stalled), healed),
            2 => self.slow_then_silent(pod),
            3 => {
                let lost = Action::Wires(pod, Some(Path::Pool), Fault::LostAnswers);
                let healed = Action::Wires(pod, Some(Path::Pool), Fault::None);
                self.spell(1_500, lost, healed);
            }
            4 => self.spell(6_000, Action::Deaf(pod, true), Action::Deaf(pod, false)),
            5 => {
                let at = self.moment();
                self.at(at, Action::Reset(pod));
            }
            6 => {
                let lag = Duration::from_millis(self.random.between(0, 4_000));
                let (away, back) = (Action::Standby(pod, Some(lag)), Action::Standby(pod, None));
                self.spell(4_000, away, back);
            }
            7 => self.spell(3_000, Action::Away(true), Action::Away(false)),
            8 => {
                let (at, rows) = (self.moment(), self.random.place(8));
                let off = self.random.below(600_000).cast_signed() - 300_000;
                self.at(at, Action::Fork(rows, off));
            }
            9 => {
                let (at, keep) = (self.moment(), self.random.below(6));
                self.at(at, Action::Prune(keep));
            }
            10 => self.spell(6_000, Action::Pause(pod), Action::Resume(pod)),
            11 => {
                let at = self.moment();
                self.at(at, Action::Kill(pod));
            }
            12 => {
                for _ in 0..self.random.between(1, 8) {
                    let (at, tenant) = (self.moment(), self.random.place(self.tenants));
                    self.at(at, Action::Evict(pod, tenant));
                }
            }
            13 => {
                let step = *self
                    .random
                    .pick(&[-5_000_000, -800_000, 700_000, 30_000_000]);
                let at = self.moment();
                self.at(at, Action::StepWall(pod, step));
                if self.random.chance(50) {
                    // Just when nothing is heard: who counts on that clock is fresh for longer.
                    self.spell_at(at, 5_000, Action::Wires(pod, None, Fault::Stalled), pod);
                }
            }
            14 => self.hung_up_on(pod),
            15 => self.left_behind(pod),
            _ => self.born_before_a_fork(pod),
        }
    }

    /// The wires of a pod are like this from a moment on.
    fn spell_at(&mut self, from: u64, longest: u64, begins: Action, pod: usize) {
        let healed = from + self.random.between(200, longest);
        self.at(from, begins);
        self.at(healed, Action::Wires(pod, None, Fault::None));
    }

    /// Cut off while others go on and what it misses is pruned.
    fn left_behind(&mut self, pod: usize) {
        let (from, keep) = (self.moment(), self.random.below(2));
        let healed = from + self.random.between(800, 3_000);
        self.at(from, Action::Wires(pod, None, Fault::Cut));
        self.at(healed - 1, Action::Prune(keep));
        self.at(healed, Action::Wires(pod, None, Fault::None));
    }

    /// Begins anew while another pod hears nothing; then a copy takes the database's place in which the
    /// other's last row still stands, and who is cut off changes. What the other tells now bears
    /// revisions from before this one was there, and neither knows that there was a fork.
    fn born_before_a_fork(&mut self, pod: usize) {
        let other = (pod + 1) % self.pods;
        if other == pod {
            return;
        }
        let (from, rows) = (self.moment(), self.random.place(4) + 1);
        let born = from + self.random.between(500, 1_500);
        let forks = born + self.random.between(20, 200);
        let healed = forks + self.random.between(500, 2_500);
        for (at, whose, fault) in [
            (from, other, Fault::Cut),
            (forks, pod, Fault::Cut),
            (forks, other, Fault::None),
            (healed, pod, Fault::None),
        ] {
            self.at(at, Action::Wires(whose, None, fault));
        }
        self.at(born, Action::Kill(pod));
        self.at(forks, Action::Fork(rows, 0));
        // Something to be lost, and something to be told of.
        for step in 0..4 {
            for (at, by) in [(from + step * 100, pod), (forks + 50 + step * 200, other)] {
                let errand = Errand {
                    pod: by,
                    twin: None,
                    hangs_up: None,
                    deed: Deed::Ban {
                        who: self.random.below(PEOPLE),
                        in_list: false,
                        on: Vec::new(),
                        starts: None,
                        ends: None,
                        shadow: false,
                    },
                    ..self.errand()
                };
                self.at(at, Action::Write(errand));
            }
        }
    }

    /// Answers take long, and then there are none: a lease from their receipt would be too long.
    fn slow_then_silent(&mut self, pod: usize) {
        let from = self.moment();
        let slow = Duration::from_millis(self.random.between(300, 1_200));
        self.at(from, Action::Wires(pod, None, Fault::SlowAnswers(slow)));
        let silent = from + self.random.between(100, 2_500);
        self.at(silent, Action::Wires(pod, None, Fault::Stalled));
        let healed = silent + self.random.between(1_000, 4_000);
        self.at(healed, Action::Wires(pod, None, Fault::None));
    }

    /// Evicted just when the wires are slow, so that a load meets news.
    fn hung_up_on(&mut self, pod: usize) {
        let from = self.moment();
        let slow = Duration::from_millis(self.random.between(20, 300));
        let path = *self.random.pick(&[Path::Pool, Path::Pool, Path::Link]);
        self.at(
            from,
            Action::Wires(pod, Some(path), Fault::SlowAnswers(slow)),
        );
        for step in 0..8 {
            let tenant = self.random.place(self.tenants);
            self.at(from + step * 150, Action::Evict(pod, tenant));
        }
        self.at(from + 1_200, Action::Wires(pod, Some(path), Fault::None));
    }
}

/// How many kinds of trouble there are.
const KINDS: u64 = 17;
