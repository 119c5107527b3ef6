//! Whose questions a connection carries, so that a listener can give each caller the same.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use xxhash_rust::xxh3::xxh3_64;

/// Bytes of an IPv6 address that say in which network of one machine, or of one site, it is: a /64.
const NETWORK: usize = 8;

/// Whoever asks on a connection: whom a credential that was found good names, and until then, or where
/// none is asked for, whoever is at its address. One handle of many on the same.
#[derive(Clone, Debug)]
pub struct Asker(Arc<AtomicU64>);

impl Asker {
    /// Whoever is at an address, or in its network of IPv6, which a machine may have to itself.
    pub fn at(address: IpAddr) -> Self {
        let number = match address.to_canonical() {
            IpAddr::V4(address) => xxh3_64(&address.octets()),
            IpAddr::V6(address) => xxh3_64(&address.octets()[..NETWORK]),
        };
        Self(Arc::new(AtomicU64::new(number)))
    }

    /// Says who it is that asks there.
    pub(crate) fn is(&self, principal: &str) {
        let number = xxh3_64(principal.as_bytes());
        self.0.store(number, Ordering::Relaxed);
    }

    /// A hash of who asks.
    pub fn number(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
