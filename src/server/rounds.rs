//! Rounds: whose connections are read next, so that whoever asks much keeps nobody else waiting.
//!
//! HTTP/2 reads a connection as long as there is something, and what was read is answered before anybody's
//! next question: a flood on a few connections would be before all others each time round. So each caller
//! has a share of a round, in bytes, however many connections he has, and a connection whose caller has
//! had his share stands in his line until the round is over. What a flood asks beyond its share waits
//! where it costs nothing, in the socket and at the caller, and slows down its own answers alone.
//!
//! This is stochastic fairness queueing (INFOCOM 1990): callers are told apart by a part of the hash that an
//! [`Asker`] has, and those few for whom it is the same have one share between them.

use std::{
    collections::VecDeque,
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
/// Callers that are told apart.
const CALLERS: u64 = 256;

/// The rounds of one listener.
pub(super) struct Rounds {
    callers: Mutex<Vec<Caller>>,
    /// Somebody waits for the end of this round.
    awaited: Notify,
}

#[derive(Default)]
struct Caller {
    /// Bytes of this round that were given to his connections.
    given: u64,
    line: VecDeque<(Arc<Seat>, Waker)>,
}

/// Where a connection that stands in line is given its bytes.
type Seat = AtomicU64;

impl Rounds {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            callers: Mutex::new((0..CALLERS).map(|_| Caller::default()).collect()),
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
        let mut awaited = false;
        for caller in self.callers().iter_mut() {
            caller.given = 0;
            if let Some((seat, waker)) = caller.line.pop_front() {
                caller.given = SHARE;
                seat.store(SHARE, Ordering::Relaxed);
                waker.wake();
                awaited |= !caller.line.is_empty();
            }
        }
        if awaited {
            self.awaited.notify_one();
        }
    }

    fn callers(&self) -> MutexGuard<'_, Vec<Caller>> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place_of(asker: &Asker) -> usize {
    usize::try_from(asker.number() % CALLERS).unwrap_or(0)
}

/// A connection that is read in rounds.
pub(super) struct InRounds<C> {
    /// With as many bytes as it was given and has not read.
    connection: Take<C>,
    rounds: Arc<Rounds>,
    asker: Asker,
    /// Who was given them.
    caller: usize,
    seat: Arc<Seat>,
    in_line: bool,
}

impl<C: AsyncRead> InRounds<C> {
    pub(super) fn new(connection: C, rounds: Arc<Rounds>, asker: Asker) -> Self {
        Self {
            connection: connection.take(0),
            rounds,
            caller: place_of(&asker),
            asker,
            seat: Arc::default(),
            in_line: false,
        }
    }

    /// What is left of its caller's share; nothing = it stands in line, and will be woken.
    fn ask(&mut self, waker: &Waker) -> u64 {
        if self.in_line {
            let given = self.seat.swap(0, Ordering::Relaxed);
            self.in_line = given == 0;
            return given;
        }
        self.caller = place_of(&self.asker);
        let caller = &mut self.rounds.callers()[self.caller];
        let left = SHARE.saturating_sub(caller.given);
        if left > 0 && caller.line.is_empty() {
            caller.given = SHARE;
            return left;
        }
        let place = (Arc::clone(&self.seat), waker.clone());
        caller.line.push_back(place);
        self.in_line = true;
        self.rounds.awaited.notify_one();
        0
    }

    /// Leaves to others of its caller what it does not need.
    fn give_back(&mut self) {
        let caller = &mut self.rounds.callers()[self.caller];
        caller.given = caller.given.saturating_sub(self.connection.limit());
        self.connection.set_limit(0);
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for InRounds<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.connection.limit() == 0 {
            let given = self.ask(context.waker());
            if given == 0 {
                return Poll::Pending;
            }
            self.connection.set_limit(given);
        }
        let read = Pin::new(&mut self.connection).poll_read(context, buffer);
        if read.is_pending() {
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
    use tokio::io::{AsyncWriteExt as _, duplex, repeat};

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
        let (mut bytes, mut all) = ([0; 1_000], 0);
        while let Poll::Ready(read) = poll!(std::pin::pin!(connection.read(&mut bytes))) {
            all += u64::try_from(read.unwrap()).unwrap();
        }
        all
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
                if read(one).await > 0 {
                    whose.push(number);
                }
            }
            rounds.next();
        }
        // The first stood in line again before the others came.
        assert_eq!(whose, [0, 0, 1, 2, 0, 1, 2]);
    }

    #[tokio::test]
    async fn what_one_connection_does_not_need_is_left_to_the_next_of_its_caller() {
        let rounds = Rounds::new();
        let (mut writes, reads) = duplex(1_000);
        writes.write_all(&[0; 100]).await.unwrap();
        let mut little = of("caller", &rounds, reads);
        let mut much = of("caller", &rounds, repeat(0));
        assert_eq!(read(&mut little).await, 100);
        assert_eq!(read(&mut much).await, SHARE - 100);
    }

    #[tokio::test]
    async fn a_connection_that_leaves_the_line_holds_up_nobody() {
        let rounds = Rounds::new();
        let mut first = of("flood", &rounds, repeat(0));
        let mut gone = of("flood", &rounds, repeat(0));
        let mut last = of("flood", &rounds, repeat(0));
        assert_eq!(read(&mut first).await, SHARE);
        assert_eq!(read(&mut gone).await, 0);
        assert_eq!(read(&mut last).await, 0);
        drop(gone);
        for _ in ["first", "gone"] {
            rounds.next();
            assert_eq!(read(&mut last).await, 0);
        }
        rounds.next();
        assert_eq!(read(&mut last).await, SHARE);
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
