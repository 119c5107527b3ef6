//! What is written line by line, put out some lines at a time.

use std::{
    io::{self, BufWriter, Write},
    thread::sleep,
    time::Duration,
};

/// How long lines are gathered after some were put out. A line that comes after a silence is put out at once.
const MOMENT: Duration = Duration::from_millis(10);
/// How many bytes are put out in any case.
const FULL: usize = 64 << 10;

/// For a thread that writes what others hand to it, and flushes when there is no more: while it sleeps here,
/// nobody has to wake it. To wake it for each line, as each denial is one, would cost a check about as much
/// as to answer.
pub(super) struct Gathered<W: Write>(BufWriter<W>);

impl<W: Write> Gathered<W> {
    pub(super) fn new(to: W) -> Self {
        Self(BufWriter::with_capacity(FULL, to))
    }
}

impl<W: Write> Write for Gathered<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.0.flush();
        sleep(MOMENT);
        flushed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Pieces(Vec<Vec<u8>>);

    impl Write for &mut Pieces {
        fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
            self.0.push(piece.to_vec());
            Ok(piece.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_put_out_whole_in_order_and_many_at_once() {
        let mut pieces = Pieces::default();
        let lines: Vec<_> = (0..20_000).map(|at| format!("line {at}\n")).collect();
        let mut gathered = Gathered::new(&mut pieces);
        for line in &lines {
            gathered.write_all(line.as_bytes()).unwrap();
        }
        gathered.flush().unwrap();
        drop(gathered);
        assert!(pieces.0.iter().all(|piece| piece.ends_with(b"\n")));
        assert!(pieces.0.len() < 10, "{}", pieces.0.len());
        assert_eq!(pieces.0.concat(), lines.concat().into_bytes());
    }
}
