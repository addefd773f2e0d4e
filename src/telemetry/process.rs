//! What the operating system says about this process.

use super::{Sheet, log::lines_lost};

/// Adds build, lost log lines, CPU time, memory and open files. What cannot be read is left out.
pub(super) fn fill(sheet: &mut Sheet) {
    sheet.gauge("segue_build_info", "The version that runs", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    sheet.counter("segue_log_lines_lost", "Log lines that their destination did not take", &[], lines_lost());
    if let Some(seconds) = cpu_seconds() {
        sheet.seconds_counter("process_cpu_seconds", "CPU time used, user and system", &[], seconds);
    }
    if let Some(bytes) = resident_bytes() {
        sheet.gauge("process_resident_memory_bytes", "Memory in use", &[], bytes);
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        let count = u32::try_from(files.count()).unwrap_or(u32::MAX);
        sheet.gauge("process_open_fds", "Open files and sockets", &[], f64::from(count));
    }
}

fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The command's name may hold spaces and brackets: the fields are counted from the last bracket on.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some((f64::from(user) + f64::from(system)) / 100.0)
}

fn resident_bytes() -> Option<f64> {
    let pages: u32 = std::fs::read_to_string("/proc/self/statm").ok()?.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(f64::from(pages) * f64::from(u32::try_from(rustix::param::page_size()).ok()?))
}
