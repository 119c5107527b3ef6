//! What becomes of the rows of an import.

/// The most rows of one import.
pub const MAX_ROWS: u64 = 10_000_000;
/// How many failures are told one by one.
pub const MAX_FAILURES: usize = 1_000;

/// What an import does with a row whose ban stands already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum OnDuplicate {
    /// Leaves it as it is.
    #[default]
    Skip = 1,
    /// Has it become what the row says.
    Update = 2,
    /// Counts the row as failed.
    Fail = 3,
}

impl OnDuplicate {
    /// The one with this number.
    pub fn from_number(number: i32) -> Option<Self> {
        [Self::Skip, Self::Update, Self::Fail]
            .into_iter()
            .find(|one| *one as i32 == number)
    }
}

/// What became of the rows of an import, or of a part of it. Every row is counted once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The import's id; empty where nothing was to be written.
    pub import_id: String,
    /// How many rows there were.
    pub rows: u64,
    /// Rows that became bans.
    pub created: u64,
    /// Rows that changed a ban.
    pub updated: u64,
    /// Rows whose ban stood already.
    pub duplicates: u64,
    /// Rows left out because of an exception.
    pub excepted: u64,
    /// Rows that failed.
    pub failed: u64,
    /// The first failures: the row's number, and the refusal as it is told on the wire.
    pub failures: Vec<(i32, Vec<u8>)>,
    /// A digest of all rows, by which a second file under the same id is recognised.
    pub trail: [u8; 16],
}

impl Tally {
    /// Counts the rows that came next as well.
    pub fn absorb(&mut self, next: Self) {
        let Self {
            import_id: _,
            rows,
            created,
            updated,
            duplicates,
            excepted,
            failed,
            failures,
            trail: _,
        } = next;
        self.rows += rows;
        self.created += created;
        self.updated += updated;
        self.duplicates += duplicates;
        self.excepted += excepted;
        self.failed += failed;
        let room = MAX_FAILURES.saturating_sub(self.failures.len());
        self.failures.extend(failures.into_iter().take(room));
    }

    /// Whether anything was written.
    pub const fn wrote(&self) -> bool {
        self.created + self.updated > 0
    }
}
