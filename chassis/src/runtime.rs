//! What a process needs before its first task.

use std::io;

/// How many worker threads a service has. Services wait more than they compute; two workers keep
/// one blocked poll from stalling the rest, and each further one costs memory in every process of a
/// host.
const WORKER_THREADS: usize = 2;

/// How many threads there are for blocking work (files, redb). The default of 512 would let a slow
/// disk take a process's memory.
const BLOCKING_THREADS: usize = 32;

/// The tokio runtime of a service process: two workers, at most 32 blocking threads.
pub fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name("mainspring")
        .enable_all()
        .build()
}

/// Makes ring the process's TLS provider. This is the first thing in every `main`; a second call
/// changes nothing.
pub fn install_crypto_provider() {
    // An error means that a provider is installed already, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
