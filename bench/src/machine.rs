//! What the numbers were measured on.

use std::fs;
use std::io;

fn first_line(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().lines().next().unwrap_or("?").to_owned()
}

/// Prints the command and the machine.
pub fn describe() {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("?", |(_, m)| m);
    let count = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let load = first_line("/proc/loadavg");
    let conntrack = fs::metadata("/proc/sys/net/netfilter/nf_conntrack_count").is_ok();
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    println!("$ midplane-bench {}", arguments.join(" "));
    println!("machine: {count} x {model}, Linux {}, loopback", first_line("/proc/sys/kernel/osrelease"));
    println!("load average: {load}; conntrack: {}", if conntrack { "yes" } else { "no" });
    println!();
}

/// Raises the number of descriptors to what this process may have.
pub fn raise_descriptor_limit() -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit for the kernel to fill in and to read.
    let failed = unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 {
            true
        } else {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) != 0
        }
    };
    if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
}
