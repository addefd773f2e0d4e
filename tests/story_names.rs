//! Apps that cannot be changed: in a network namespace of its own, Segment's names lead to segue, by hosts file, by DNS and by redirect, on port
//! 443 without root; and no program on the way is told of anything but `https://api.segment.io` (clients.md 1, protocol.md 1.9).
//!
//! The stories are told in Python, in `tests/namespace/`: everybody in them is another process. They need root, for the namespaces;
//! without it they are skipped, with a word, and with CI set they fail.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on fails")]

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Runs a story in namespaces of its own.
fn tell(story: &str, tools: &[&str]) {
    let Some(sdks) = std::env::var_os("SEGUE_TEST_SDKS").map(PathBuf::from) else { return skip(story, "scripts/test installs the SDKs") };
    if !rustix::process::geteuid().is_root() {
        return skip(story, "only root makes network namespaces");
    }
    let is_there =
        |tool: &&&str| Command::new("sh").args(["-c", &format!("command -v {tool}")]).stdout(Stdio::null()).status().unwrap().success();
    if let Some(missing) = tools.iter().find(|tool| !is_there(tool)) {
        return skip(story, &format!("{missing} is missing"));
    }
    let (scratch, project) = (tempfile::tempdir().unwrap(), Path::new(env!("CARGO_MANIFEST_DIR")));
    let ended = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child", "--propagation", "private", "python3"])
        .arg(project.join("tests/namespace").join(story))
        .args([env!("CARGO_BIN_EXE_segue").as_ref(), sdks.as_path(), &project.join("scripts"), scratch.path()])
        .stdin(Stdio::null())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    println!("{}", String::from_utf8_lossy(&ended.stdout));
    let log = std::fs::read_to_string(scratch.path().join("segue.log")).unwrap_or_default();
    assert!(ended.status.success(), "{}\nsegue said:\n{log}", String::from_utf8_lossy(&ended.stderr));
}

fn skip(story: &str, why: &str) {
    assert!(std::env::var_os("CI").is_none(), "{story} cannot be told: {why}");
    println!("skipped {story}: {why}");
}

#[test]
fn apps_that_cannot_be_changed_come_by_hosts_file_dns_and_redirect_and_segue_does_not_meet_itself() {
    tell("by_name.py", &["ip", "nft", "dnsmasq", "unshare", "setpriv", "openssl", "curl", "node", "python3"]);
}

#[test]
fn a_browser_with_segments_snippet_notices_nothing_not_even_that_segment_is_gone() {
    tell("browser.py", &["ip", "unshare", "setpriv", "openssl", "certutil", "chromium", "node", "python3"]);
}
