//! Child processes, and what they use.

use std::fs;
use std::io;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::Context;

/// A child that ends when it is dropped.
pub struct Process {
    child: Child,
    name: String,
}

impl Process {
    pub fn start(name: &str, command: &mut Command) -> anyhow::Result<Self> {
        let child = command.spawn().with_context(|| format!("start {name}: {command:?}"))?;
        Ok(Self { child, name: name.to_owned() })
    }

    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Tells it to stop; it may take its time.
    pub fn stop(&self) -> io::Result<()> {
        // SAFETY: the child has not been waited for, so the id is its own.
        match unsafe { libc::kill(self.child.id().cast_signed(), libc::SIGTERM) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Fails if it has ended.
    pub fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => anyhow::bail!("{} ended: {status}", self.name),
        }
    }

    /// CPU time of all its threads so far, user and kernel.
    pub fn cpu(&self) -> io::Result<Duration> {
        let mut clock = 0;
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: both pointers are to live variables of the right type.
        let failed = unsafe {
            libc::clock_getcpuclockid(self.child.id().cast_signed(), &raw mut clock) != 0
                || libc::clock_gettime(clock, &raw mut time) != 0
        };
        if failed {
            return Err(io::Error::last_os_error());
        }
        Ok(Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap_or(0)))
    }

    /// Resident memory in bytes.
    pub fn resident(&self) -> anyhow::Result<u64> {
        let statm = fs::read_to_string(format!("/proc/{}/statm", self.child.id()))?;
        let pages: u64 = statm.split(' ').nth(1).context("statm")?.parse()?;
        Ok(pages * 4096)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
