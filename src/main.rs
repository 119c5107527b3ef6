//! The `bancheck` binary: server and client in one.

use std::process::ExitCode;

use bancheck::feed::PodClock;

/// Faster than the system's under many small allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    #[cfg(feature = "teeth")]
    bancheck::teeth::inject_from_environment();
    bancheck::cli::main(&PodClock::default())
}
