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
    if let Some(count) = open_files() {
        sheet.gauge("process_open_fds", "Open files and sockets", &[], f64::from(count));
    }
}

/// From Linux 6.2 on the size of the directory is the count. To list it takes a millisecond for each thousand of connections, in
/// which a worker answers nobody.
fn open_files() -> Option<u32> {
    let directory = std::path::Path::new("/proc/self/fd");
    let count = match directory.metadata().ok()?.len() {
        0 => directory.read_dir().ok()?.count() as u64,
        count => count,
    };
    Some(u32::try_from(count).unwrap_or(u32::MAX))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_files_are_those_that_a_listing_shows() {
        let listed = || u32::try_from(std::fs::read_dir("/proc/self/fd").unwrap().count()).unwrap() - 1;
        // Other tests open and close some meanwhile.
        let is_between = || {
            let before = listed();
            let count = open_files().unwrap();
            let after = listed();
            (before.min(after)..=before.max(after)).contains(&count)
        };
        assert!((0..1_000).any(|_| is_between()), "{:?} of {}", open_files(), listed());
    }
}
