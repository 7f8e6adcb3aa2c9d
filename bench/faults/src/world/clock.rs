//! A node's own time of day, which can be set while it runs; monotonic time goes on as it does.
//!
//! By libfaketime, which is loaded before the node's program. That does nothing to NATS servers, which make their system
//! calls themselves (Go): theirs is the machine's clock.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where `scripts/install-tools.sh` and distributions put the library.
pub fn library(workspace: &Path) -> Option<PathBuf> {
    let roots = [workspace.join(".tools/libfaketime/usr/lib"), "/usr/lib".into(), "/usr/lib64".into()];
    let machines = roots.iter().flat_map(|root| fs::read_dir(root).into_iter().flatten().flatten());
    let inside = machines.map(|machine| machine.path().join("faketime/libfaketime.so.1"));
    let outside = roots.iter().map(|root| root.join("faketime/libfaketime.so.1"));
    inside.chain(outside).find(|path| path.exists())
}

/// The clock of one node.
pub struct Clock {
    library: PathBuf,
    /// What the library reads, again and again.
    file: PathBuf,
}

impl Clock {
    /// One that is right.
    pub fn new(library: &Path, file: PathBuf) -> io::Result<Self> {
        let clock = Self { library: library.to_owned(), file };
        clock.set(0)?;
        Ok(clock)
    }

    /// Sets it so many seconds off at once; for later lives as well.
    pub fn set(&self, seconds: i64) -> io::Result<()> {
        // Never half written.
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{seconds:+}\n"))?;
        fs::rename(new, &self.file)
    }

    /// Has a process go by it.
    pub fn wind(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", &self.file)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            // Otherwise each process leaves something in /dev/shm when it is killed.
            .env("FAKETIME_DISABLE_SHM", "1");
    }
}
