//! Rounds: whose connections are read next, so that whoever asks much keeps nobody else waiting.
//!
//! HTTP/2 reads a connection as long as there is something, and what was read is answered before anybody's
//! next question: a flood on a few connections would be before all others each time round. So each caller
//! has a share of a round, in bytes, however many connections he has, and a connection whose caller has
//! had his share stands in his line until the round is over. What a flood asks beyond its share waits in
//! the socket and at the caller, where it costs next to nothing, and slows down its own answers alone.
//!
//! It is fair queueing (Nagle, RFC 970) of what is not read yet, by bytes: few questions are much larger
//! than others. A round is over when whatever was ready on its thread has run; a listener of several threads
//! asks one of them alone, so there it may be over a little sooner.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf, Take},
    sync::Notify,
    task::yield_now,
};

use crate::auth::Asker;

/// Bytes of a caller in a round: some forty questions about one telephone number, half a millisecond of
/// a core.
const SHARE: u64 = 4 << 10;
/// The most connections of a caller that are called in a round: what a share is enough for, if each has
/// one question.
const MOST_CALLED: usize = 32;
/// Callers that are remembered until a round is over, at least.
const REMEMBERED: usize = 1_024;

/// The rounds of one listener.
pub(super) struct Rounds {
    /// The number of this one.
    number: AtomicU64,
    state: Mutex<State>,
    /// Somebody waits for the end of this round.
    awaited: Notify,
}

#[derive(Default)]
struct State {
    /// The number of the last ticket.
    tickets: u64,
    callers: HashMap<u64, Caller>,
}

#[derive(Default)]
struct Caller {
    /// Bytes of this round that were given to his connections.
    given: u64,
    /// How many of the line are called in a round: one where the last used up the share, and twice as many
    /// each time where it did not.
    reach: usize,
    /// Those of the line that have been called in this round, and have not come yet. Some do not: whoever
    /// takes no answers is not read either.
    called: BTreeSet<u64>,
    /// The others, in the order in which they came.
    line: BTreeMap<u64, Waker>,
}

impl Rounds {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            number: AtomicU64::new(0),
            state: Mutex::default(),
            awaited: Notify::new(),
        })
    }

    /// Ends a round whenever that is awaited and all who were ready before have had their turn.
    pub(super) async fn run(&self) {
        loop {
            self.awaited.notified().await;
            // Behind all that is ready to run, and what has come by now.
            yield_now().await;
            self.next();
        }
    }

    /// Begins a round: the first of each line may read.
    fn next(&self) {
        let (mut called, mut awaited) = (Vec::new(), false);
        {
            let mut state = self.state();
            self.number.fetch_add(1, Ordering::Relaxed);
            state.callers.retain(|_, caller| {
                let wide = if caller.given < SHARE {
                    2 * caller.reach
                } else {
                    1
                };
                caller.reach = wide.clamp(1, MOST_CALLED);
                caller.given = 0;
                caller.called.clear();
                while caller.called.len() < caller.reach
                    && let Some((ticket, waker)) = caller.line.pop_first()
                {
                    caller.called.insert(ticket);
                    called.push(waker);
                }
                awaited |= !caller.line.is_empty();
                !caller.called.is_empty()
            });
        }
        for waker in called {
            waker.wake();
        }
        if awaited {
            self.awaited.notify_one();
        }
    }

    fn number(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is read in rounds.
pub(super) struct InRounds<C: AsyncRead> {
    /// With as many bytes as it was given and has not read.
    connection: Take<C>,
    rounds: Arc<Rounds>,
    asker: Asker,
    /// Whose share they are of, and of which round.
    caller: u64,
    round: u64,
    /// By which it stands in line.
    ticket: Option<u64>,
}

impl<C: AsyncRead> InRounds<C> {
    pub(super) fn new(connection: C, rounds: Arc<Rounds>, asker: Asker) -> Self {
        Self {
            connection: connection.take(0),
            rounds,
            caller: asker.number(),
            asker,
            round: 0,
            ticket: None,
        }
    }

    /// What is left of its caller's share; nothing = it stands in line, and will be woken.
    fn ask(&mut self, waker: &Waker) -> u64 {
        let mut state = self.rounds.state();
        let State { tickets, callers } = &mut *state;
        if self.ticket.is_none() {
            self.caller = self.asker.number();
        }
        let crowded = callers.len() >= REMEMBERED;
        let caller = callers.entry(self.caller).or_default();
        if let Some(ticket) = self.ticket
            && caller.line.contains_key(&ticket)
        {
            return 0;
        }
        let is_called = self
            .ticket
            .is_some_and(|ticket| caller.called.remove(&ticket));
        let its_turn = is_called || caller.line.is_empty() && caller.called.is_empty();
        let left = SHARE.saturating_sub(caller.given);
        if crowded {
            self.rounds.awaited.notify_one();
        }
        if its_turn && left > 0 {
            caller.given = SHARE;
            (self.round, self.ticket) = (self.rounds.number(), None);
            return left;
        }
        let ticket = *self.ticket.get_or_insert_with(|| {
            *tickets += 1;
            *tickets
        });
        caller.line.insert(ticket, waker.clone());
        self.rounds.awaited.notify_one();
        0
    }

    /// Leaves to others of its caller what it does not need.
    fn give_back(&mut self) {
        let left = self.connection.limit();
        self.connection.set_limit(0);
        let mut state = self.rounds.state();
        if !self.is_late()
            && let Some(caller) = state.callers.get_mut(&self.caller)
        {
            caller.given = caller.given.saturating_sub(left);
        }
    }

    /// Whether the round is over for which it was given what it has not read.
    fn is_late(&self) -> bool {
        self.rounds.number() != self.round
    }
}

impl<C: AsyncRead> Drop for InRounds<C> {
    fn drop(&mut self) {
        if self.connection.limit() > 0 {
            self.give_back();
        }
        let Some(ticket) = self.ticket else { return };
        if let Some(caller) = self.rounds.state().callers.get_mut(&self.caller) {
            caller.line.remove(&ticket);
            caller.called.remove(&ticket);
        }
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for InRounds<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.connection.limit() > 0 && self.is_late() {
            self.connection.set_limit(0);
        }
        if self.connection.limit() == 0 {
            let given = self.ask(context.waker());
            if given == 0 {
                return Poll::Pending;
            }
            self.connection.set_limit(given);
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.connection).poll_read(context, buffer);
        if buffer.filled().len() == before {
            self.give_back();
        }
        read
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> AsyncWrite for InRounds<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.connection.get_mut()).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.connection.get_mut()).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.connection.get_mut()).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.connection.get_mut()).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.get_ref().is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use futures_util::poll;
    use tokio::io::{AsyncWriteExt as _, DuplexStream, Repeat, duplex, repeat};

    use super::*;

    fn somebody() -> Asker {
        Asker::at(Ipv4Addr::LOCALHOST.into())
    }

    fn of<C: AsyncRead>(name: &str, rounds: &Arc<Rounds>, connection: C) -> InRounds<C> {
        let asker = somebody();
        asker.is(name);
        InRounds::new(connection, Arc::clone(rounds), asker)
    }

    /// What can be read at once.
    async fn read(connection: &mut (impl AsyncRead + Unpin)) -> u64 {
        // A task may not go on reading without end.
        yield_now().await;
        let (mut bytes, mut all) = ([0; 1_000], 0);
        while let Poll::Ready(read) = poll!(std::pin::pin!(connection.read(&mut bytes))) {
            all += u64::try_from(read.unwrap()).unwrap();
        }
        all
    }

    /// Connections of one caller, of which the first has had the share of this round; all stand in line.
    async fn crowd(count: usize) -> (Arc<Rounds>, Vec<InRounds<Repeat>>) {
        let rounds = Rounds::new();
        let mut all: Vec<_> = (0..count)
            .map(|_| of("flood", &rounds, repeat(0)))
            .collect();
        for (number, one) in all.iter_mut().enumerate() {
            assert_eq!(read(one).await, if number == 0 { SHARE } else { 0 });
        }
        (rounds, all)
    }

    #[tokio::test]
    async fn whoever_has_had_his_share_waits_for_the_next_round_and_others_do_not() {
        let rounds = Rounds::new();
        let mut flood = of("flood", &rounds, repeat(0));
        let mut other = of("other", &rounds, repeat(0));
        assert_eq!(read(&mut flood).await, SHARE);
        assert_eq!(read(&mut flood).await, 0);
        assert_eq!(read(&mut other).await, SHARE);
        rounds.next();
        assert_eq!(read(&mut flood).await, SHARE);
        assert_eq!(read(&mut flood).await, 0);
    }

    #[tokio::test]
    async fn connections_of_one_caller_have_one_share_and_stand_in_line_for_it() {
        let rounds = Rounds::new();
        let mut all: Vec<_> = (0..3).map(|_| of("flood", &rounds, repeat(0))).collect();
        let mut whose = Vec::new();
        for _ in 0..7 {
            for (number, one) in all.iter_mut().enumerate() {
                let bytes = read(one).await;
                if bytes > 0 {
                    assert_eq!(bytes, SHARE);
                    whose.push(number);
                }
            }
            rounds.next();
        }
        // The first stood in line again before the others came.
        assert_eq!(whose, [0, 0, 1, 2, 0, 1, 2]);
    }

    /// A connection on which there are so many bytes, and their writer.
    async fn little(
        name: &str,
        rounds: &Arc<Rounds>,
        bytes: usize,
    ) -> (DuplexStream, InRounds<DuplexStream>) {
        let (mut writes, reads) = duplex(1_000);
        writes.write_all(&vec![0; bytes]).await.unwrap();
        (writes, of(name, rounds, reads))
    }

    #[tokio::test]
    async fn what_one_connection_does_not_need_is_left_to_the_next_of_its_caller() {
        let rounds = Rounds::new();
        let (_writes, mut first) = little("caller", &rounds, 100).await;
        let mut much = of("caller", &rounds, repeat(0));
        assert_eq!(read(&mut first).await, 100);
        assert_eq!(read(&mut much).await, SHARE - 100);
    }

    #[tokio::test]
    async fn ever_more_of_a_line_are_called_in_a_round_as_long_as_the_share_is_enough_for_them() {
        let rounds = Rounds::new();
        let mut much = of("caller", &rounds, repeat(0));
        assert_eq!(read(&mut much).await, SHARE);
        let mut line = Vec::new();
        for _ in 0..100 {
            let (writes, mut one) = little("caller", &rounds, 100).await;
            assert_eq!(read(&mut one).await, 0);
            line.push((writes, one));
        }
        drop(much);
        let mut served = Vec::new();
        for _ in 0..7 {
            rounds.next();
            let mut bytes = 0;
            for (_, one) in &mut line {
                bytes += read(one).await;
            }
            served.push(bytes / 100);
        }
        assert_eq!(served, [1, 2, 4, 8, 16, 32, 32]);
    }

    #[tokio::test]
    async fn a_connection_that_is_at_its_end_or_gone_takes_nothing_from_its_callers_others() {
        let rounds = Rounds::new();
        let (_, mut ended) = little("caller", &rounds, 0).await;
        assert_eq!(ended.read(&mut [0; 10]).await.unwrap(), 0);
        let (_writes, mut gone) = little("caller", &rounds, 100).await;
        assert_eq!(gone.read(&mut [0; 10]).await.unwrap(), 10);
        drop(gone);
        let mut much = of("caller", &rounds, repeat(0));
        assert_eq!(read(&mut much).await, SHARE - 10);
    }

    #[tokio::test]
    async fn a_connection_that_leaves_the_line_holds_up_nobody() {
        let (rounds, mut all) = crowd(4).await;
        let mut last = all.pop().unwrap();
        // One goes before it is called, the others after that.
        drop(all.pop());
        rounds.next();
        drop(all);
        rounds.next();
        assert_eq!(read(&mut last).await, SHARE);
        let mut new = of("flood", &rounds, repeat(0));
        drop(last);
        rounds.next();
        assert_eq!(read(&mut new).await, SHARE);
    }

    #[tokio::test]
    async fn a_connection_that_does_not_come_when_it_is_called_holds_up_nobody() {
        let (rounds, mut all) = crowd(3).await;
        // The first is called, and then the second.
        rounds.next();
        rounds.next();
        assert_eq!(read(&mut all[1]).await, SHARE);
        // Its place is the one that it had.
        assert_eq!(read(&mut all[0]).await, 0);
        rounds.next();
        assert_eq!(read(&mut all[2]).await, 0);
        assert_eq!(read(&mut all[0]).await, SHARE);
    }

    #[tokio::test]
    async fn what_was_given_for_a_round_ends_with_it() {
        let rounds = Rounds::new();
        let mut hoards = of("caller", &rounds, repeat(0));
        assert_eq!(hoards.read(&mut [0; 10]).await.unwrap(), 10);
        rounds.next();
        let mut much = of("caller", &rounds, repeat(0));
        assert_eq!(read(&mut much).await, SHARE);
        assert_eq!(read(&mut hoards).await, 0);
    }

    #[tokio::test]
    async fn callers_who_ask_little_are_not_remembered() {
        let rounds = Rounds::new();
        let runs = rounds.run();
        let asks = async {
            for caller in 0..10 * REMEMBERED {
                let (_writes, mut one) = little(&caller.to_string(), &rounds, 10).await;
                assert_eq!(read(&mut one).await, 10);
                yield_now().await;
            }
        };
        tokio::select! {
            () = runs => unreachable!("they never end"),
            () = asks => {}
        }
        assert!(rounds.state().callers.len() <= REMEMBERED + 1);
    }

    #[tokio::test]
    async fn a_connection_has_the_share_of_whom_its_credential_names() {
        let rounds = Rounds::new();
        let asker = somebody();
        let mut one = InRounds::new(repeat(0), Arc::clone(&rounds), asker.clone());
        let mut other = of("principal", &rounds, repeat(0));
        asker.is("principal");
        assert_eq!(read(&mut one).await, SHARE);
        assert_eq!(read(&mut other).await, 0);
    }

    #[tokio::test]
    async fn rounds_go_on_as_long_as_anybody_reads() {
        let rounds = Rounds::new();
        let [mut one, mut two, mut other] =
            ["flood", "flood", "other"].map(|name| of(name, &rounds, repeat(0)));
        let [mut for_one, mut for_two, mut for_other] = [40_000; 3].map(|all| vec![0; all]);
        let all = async {
            tokio::join!(
                one.read_exact(&mut for_one),
                two.read_exact(&mut for_two),
                other.read_exact(&mut for_other),
            )
        };
        let (one, two, other) = tokio::select! {
            () = rounds.run() => unreachable!("they never end"),
            all = all => all,
        };
        assert_eq!([one, two, other].map(Result::unwrap), [40_000; 3]);
    }
}
