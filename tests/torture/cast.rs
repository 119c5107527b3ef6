//! Who plays: tenants, callers, queues and lists by their numbers; the dice and the clocks.

use bancheck::{
    domain::{keys::MasterKey, revision::Position},
    feed::{Machine, ThisMachine},
};

use crate::process::MASTER_KEY;

/// How many tenants there are; those with an even number have lists.
pub(crate) const TENANTS: u8 = 8;
/// The tenant that moves in meanwhile, with callers of its own.
pub(crate) const NEWCOMER: u8 = TENANTS;
/// How many callers each of the others has.
pub(crate) const CALLERS: u16 = 80;
/// How many queues a tenant with lists has, from 1; 0 stands for none.
pub(crate) const QUEUES: u8 = 4;
/// How many lists it has.
pub(crate) const LISTS: u8 = 3;
/// In place of a caller.
pub(crate) const NOBODY: u16 = u16::MAX;

/// A tenant's id.
pub(crate) fn tenant(at: u8) -> String {
    format!("t{at}")
}

/// The number of the tenant of this id.
pub(crate) fn tenant_of(id: &str) -> Option<u8> {
    id.strip_prefix('t')?.parse().ok()
}

/// A caller's telephone number.
pub(crate) fn caller(at: u16) -> String {
    format!("+4206011{at:05}")
}

/// The caller who has this telephone number.
pub(crate) fn caller_of(number: &str) -> Option<u16> {
    number.strip_prefix("+4206011")?.parse().ok()
}

/// A queue's id.
pub(crate) fn queue(at: u8) -> String {
    format!("q{at}")
}

/// A list's id.
pub(crate) fn list(at: u8) -> String {
    format!("l{at}")
}

/// Whether a tenant has lists.
pub(crate) const fn has_lists(tenant: u8) -> bool {
    tenant.is_multiple_of(2)
}

/// Microseconds of boot time, in which everything here is noted.
pub(crate) fn boot() -> i64 {
    ThisMachine.boot()
}

/// What to add to boot time to get the database's clock, which is this machine's.
pub(crate) fn to_wall() -> i64 {
    ThisMachine.wall() - ThisMachine.boot()
}

/// Reads tokens, the same one as before at no cost.
pub(crate) struct Reader {
    seal: bancheck::domain::keys::Seal,
    last: (String, Position),
}

impl Reader {
    /// Of the tokens that the pods of these tests make.
    pub(crate) fn new() -> Self {
        Self {
            seal: MasterKey::new(&MASTER_KEY).seal("token"),
            last: Default::default(),
        }
    }

    /// The token that says this.
    pub(crate) fn write(&self, position: Position) -> String {
        position.token(&self.seal)
    }

    /// What a token says.
    pub(crate) fn read(&mut self, token: &str) -> Position {
        if self.last.0 != token {
            let position = Position::read(token, &self.seal).expect("a token of our own");
            self.last = (token.to_owned(), position);
        }
        self.last.1
    }
}

/// Numbers that look like chance and are the same for the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Dice of a seed, for one of its uses.
    pub(crate) const fn new(seed: u64, purpose: u64) -> Self {
        Self(seed ^ purpose.wrapping_mul(0xd6e8_feb8_6659_fd93))
    }

    fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below another.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// One of the places of a slice of this length.
    pub(crate) fn place(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("a place")
    }

    /// A number between two others, the first included.
    pub(crate) fn within(&mut self, from: i64, to: i64) -> i64 {
        let span = u64::try_from(to - from).expect("from before to");
        from + i64::try_from(self.below(span)).expect("a span")
    }

    /// Whether something happens that does so often in a hundred.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Puts things into some order.
    pub(crate) fn shuffle<T>(&mut self, things: &mut [T]) {
        for at in (1..things.len()).rev() {
            things.swap(at, self.place(at + 1));
        }
    }

    /// Any caller.
    pub(crate) fn caller(&mut self) -> u16 {
        u16::try_from(self.below(u64::from(CALLERS))).expect("a caller")
    }

    /// Any tenant.
    pub(crate) fn tenant(&mut self) -> u8 {
        u8::try_from(self.below(u64::from(TENANTS))).expect("a tenant")
    }
}
