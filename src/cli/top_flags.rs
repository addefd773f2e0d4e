//! The flags of `top`, and what `demo` shares with it.

use clap::{Args, ValueEnum};

/// Flags of `top`.
#[derive(Debug, Clone, Args)]
pub struct TopFlags {
    /// Begin with changes armed; without it W arms them.
    #[arg(long, env = "SEGUE_TOP_OPERATE", hide_env = true)]
    pub operate: bool,
    /// The first screen: overview, sources, diffs, tap, dest, versions, journal or audit.
    #[arg(long, value_name = "NAME", env = "SEGUE_TOP_SCREEN", hide_env = true)]
    pub screen: Option<String>,
    /// Write ASCII alone; so it is where the locale is not UTF-8.
    #[arg(long, env = "SEGUE_TOP_ASCII", hide_env = true)]
    pub ascii: bool,
    /// The colours: the terminal's own sixteen, or exact ones for a dark or a light background.
    #[arg(long, value_enum, default_value = "auto", env = "SEGUE_TOP_THEME", hide_env = true)]
    pub theme: Theme,
}

/// The colours of a dashboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Theme {
    /// The terminal's own, unless it says that its background is light; none with `NO_COLOR`.
    Auto,
    /// For a dark background.
    Dark,
    /// For a light background.
    Light,
    /// None.
    Mono,
}
