//! What the process gives up before it reads a key.

use rustix::{
    fs::Mode,
    process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit, umask},
    thread::set_no_new_privs,
};

/// Leaves nothing of the process's memory behind or open to others: no core dump, by limit and by flag, which also takes
/// `/proc/PID/{environ,mem,fd}` from other processes of the same user. What it makes is for nobody else, whatever the umask was; and
/// nothing it could run would have more rights than it. Keys given by `{ env = "..." }` stay in the environment of this process, as
/// removing them is not sound beside other threads: the flag is what keeps them from others.
///
/// A system that refuses one of these is no reason not to start.
pub fn harden() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = setrlimit(Resource::Core, none);
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = set_no_new_privs(true);
    umask(Mode::RWXG | Mode::RWXO);
}
