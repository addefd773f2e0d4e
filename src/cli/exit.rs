//! Exit codes: what a script learns from a command.

use std::process::ExitCode;

/// How a command ended. The numbers are a promise to scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or yes.
    Done,
    /// Failed, in a way that has no number of its own.
    Failed,
    /// The command line is wrong.
    Usage,
    /// It worked, and the answer is no: unhealthy, or warnings with `--strict`.
    No,
    /// Refused by a limit.
    Refused,
    /// No sidecar can be reached.
    Unreachable,
    /// Somebody else changed it; look again.
    Conflict,
    /// Done on some instances, and not on others.
    Partial,
    /// Not allowed.
    Denied,
    /// The configuration is wrong.
    Config,
    /// Timed out.
    TimedOut,
    /// Stopped by SIGINT before it was done.
    Interrupted,
    /// Stopped by SIGTERM before it was done.
    Terminated,
    /// Stopped by SIGQUIT.
    Quit,
}

impl Exit {
    /// The number that the process ends with.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::No => 3,
            Self::Refused => 4,
            Self::Unreachable => 69,
            Self::Conflict => 75,
            Self::Partial => 76,
            Self::Denied => 77,
            Self::Config => 78,
            Self::TimedOut => 124,
            Self::Interrupted => 130,
            Self::Quit => 131,
            Self::Terminated => 143,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}
