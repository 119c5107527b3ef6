//! A file between a snapshot and whoever reads it: the snapshot is let go of as soon as the disk has
//! it, and a slow reader keeps nothing in memory.

use std::{fs::File, io, os::unix::fs::FileExt as _, sync::Arc};

use prost::Message;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::spawn_blocking,
};

use crate::domain::refusal::{Reason, Refusal};

/// The most bytes of one file.
const MAX_BYTES: u64 = 4 << 30;

/// Where a message is in the file.
struct Block {
    at: u64,
    length: usize,
}

/// What the writing end tells the reading end; some 24 bytes for each message.
enum Told {
    Block(Block),
    End,
    Failed(Refusal),
}

/// The end that is written to.
pub(super) struct SpoolIn {
    file: Arc<File>,
    at: u64,
    tell: UnboundedSender<Told>,
}

/// The end that is read from.
pub(super) struct SpoolOut {
    file: Arc<File>,
    told: UnboundedReceiver<Told>,
}

/// A spool; its file has no name and goes with the last of its ends.
pub(super) fn spool() -> Result<(SpoolIn, SpoolOut), Refusal> {
    let file = Arc::new(tempfile::tempfile().map_err(|error| failed(&error))?);
    let (tell, told) = unbounded_channel();
    let spool_in = SpoolIn {
        file: Arc::clone(&file),
        at: 0,
        tell,
    };
    Ok((spool_in, SpoolOut { file, told }))
}

fn failed(error: &io::Error) -> Refusal {
    tracing::error!(%error, "an export could not be written to a temporary file");
    let message = "there is no room for a temporary file here; the log says more";
    Refusal::new(Reason::Internal, message)
}

impl SpoolIn {
    /// Writes a message; `false` = nobody will read it.
    pub(super) async fn push(&mut self, message: &impl Message) -> bool {
        let bytes = message.encode_to_vec();
        let (at, length) = (self.at, bytes.len());
        self.at += length as u64;
        if self.at > MAX_BYTES {
            let message = "an export has at most 4 GiB; narrow it, by list or by time";
            return self.fail(Refusal::new(Reason::Quota, message));
        }
        let file = Arc::clone(&self.file);
        let written = spawn_blocking(move || file.write_all_at(&bytes, at)).await;
        match written {
            Ok(Ok(())) => self.tell.send(Told::Block(Block { at, length })).is_ok(),
            Ok(Err(error)) => self.fail(failed(&error)),
            Err(_) => false,
        }
    }

    fn fail(&self, refusal: Refusal) -> bool {
        // Whoever reads may have gone.
        let _ = self.tell.send(Told::Failed(refusal));
        false
    }

    /// Says how it ended: without that, what was read is not taken for all of it.
    pub(super) fn end(self, ended: Result<(), Refusal>) {
        // Whoever reads may have gone.
        let _ = self.tell.send(match ended {
            Ok(()) => Told::End,
            Err(refusal) => Told::Failed(refusal),
        });
    }
}

impl SpoolOut {
    /// The next message, waited for; `None` = that was all.
    pub(super) async fn next<M: Message + Default + 'static>(
        &mut self,
    ) -> Result<Option<M>, Refusal> {
        let Block { at, length } = match self.told.recv().await {
            Some(Told::Block(block)) => block,
            Some(Told::End) => return Ok(None),
            Some(Told::Failed(refusal)) => return Err(refusal),
            None => {
                let message = "the export ended before its end; begin again";
                return Err(Refusal::new(Reason::Internal, message));
            }
        };
        let file = Arc::clone(&self.file);
        let read = spawn_blocking(move || {
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, at)?;
            M::decode(bytes.as_slice()).map_err(io::Error::other)
        });
        let read = read
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)));
        read.map(Some).map_err(|error| failed(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::v1::ConsistencyToken;

    fn token(text: &str) -> ConsistencyToken {
        ConsistencyToken {
            token: text.to_owned(),
        }
    }

    #[tokio::test]
    async fn what_goes_in_comes_out_in_its_order_and_an_end_is_told_from_a_death() {
        let (mut into, mut out) = spool().unwrap();
        for text in ["a", "", "ccc"] {
            assert!(into.push(&token(text)).await);
        }
        into.end(Ok(()));
        for text in ["a", "", "ccc"] {
            assert_eq!(out.next().await.unwrap(), Some(token(text)));
        }
        assert_eq!(out.next::<ConsistencyToken>().await.unwrap(), None);

        let (mut into, mut out) = spool().unwrap();
        assert!(into.push(&token("a")).await);
        drop(into);
        assert_eq!(out.next().await.unwrap(), Some(token("a")));
        assert!(out.next::<ConsistencyToken>().await.is_err());
    }

    #[tokio::test]
    async fn nobody_writes_on_for_a_reader_who_has_gone() {
        let (mut into, out) = spool().unwrap();
        drop(out);
        assert!(!into.push(&token("a")).await);
    }
}
