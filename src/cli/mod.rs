//! The command line.
//!
//! It owns the commands, their flags and how they talk: results on stdout, talk on stderr, exit codes by [`Exit`]. Every
//! flag has a twin in the environment. It promises that a command tells everything it knows to be wrong at once, and that
//! no secret is taken as a flag or printed. It never decides anything about events.

mod attach;
mod audit;
mod census_flags;
mod certificate;
mod certs;
mod certs_export;
mod certs_flags;
mod certs_lines;
mod certs_rotate;
mod certs_status;
mod certs_store;
mod certs_trust;
mod check;
mod command;
mod config;
mod diff;
mod doctor;
mod doctor_flags;
mod doctor_looks;
mod doctor_runtimes;
mod evidence_flags;
mod exit;
mod export;
mod harden;
mod health;
mod hold;
mod inert;
mod journal;
mod journal_flags;
mod kill;
mod lane_flags;
mod limit;
mod one_sided;
mod predictions;
mod purge;
mod quarantine;
mod quarantine_flags;
mod ramp;
mod ramp_flags;
mod reload;
mod replay;
mod replay_flags;
mod route;
mod route_flags;
mod run;
mod source;
mod source_flags;
mod state_flags;
mod status;
mod talk;
mod top;
mod top_flags;
mod unknown;
mod version;
mod versions;
mod webhook;

use std::{
    ffi::OsString,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{
    ArgMatches, CommandFactory, FromArgMatches,
    error::{ContextKind, ContextValue, ErrorKind},
};

pub use command::Cli;
use command::{Command, ConfigCommand, Manner, Standin};
pub use exit::Exit;
use talk::Talk;

use crate::{config::nearest, model::inert, telemetry};

/// Runs the command of this process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    harden::harden();
    telemetry::guard_panics();
    run(std::env::args_os()).into()
}

/// Runs the command of these arguments, the program's name first.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let matches = match Cli::command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => return explain(&error),
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return explain(&error),
    };
    let talk = Talk::new(&cli.manner);
    match dispatch(cli, &matches, &talk) {
        Ok(exit) => exit,
        // The reader of a pipe went away (`segue config show | head`): nothing is left to be told.
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) => Exit::Done,
        Err(error) => {
            talk.error(&error);
            Exit::Failed
        }
    }
}

/// A command that speaks to the running sidecar speaks to each that was named, in turn; how each took it is told.
fn dispatch(cli: Cli, matches: &ArgMatches, talk: &Talk) -> anyhow::Result<Exit> {
    let instances: Vec<PathBuf> = cli.manner.instances().map(Path::to_owned).collect();
    if instances.len() < 2 || !cli.command.is_attached() {
        return carry_out(&cli.manner, cli.command, matches, talk);
    }
    if cli.command.has_no_end() {
        talk.error(&anyhow::anyhow!("--watch looks at one sidecar at a time\n  Nothing was changed.\n  Name one of them: --attach PATH"));
        return Ok(Exit::Usage);
    }
    let mut exits = Vec::new();
    for instance in instances {
        let talk = talk.about(&inert(&instance.to_string_lossy()));
        exits.push(carry_out(&cli.manner.of_instance(&instance), cli.command.clone(), matches, &talk)?);
    }
    let is_done = |exit: &&Exit| matches!(exit, Exit::Done | Exit::No);
    Ok(match exits.iter().filter(is_done).count() {
        done if done > 0 && done < exits.len() => Exit::Partial,
        // All did, or none: the worst says how.
        _ => exits.into_iter().max_by_key(|exit| exit.number()).unwrap_or(Exit::Done),
    })
}

fn carry_out(manner: &Manner, command: Command, matches: &ArgMatches, talk: &Talk) -> anyhow::Result<Exit> {
    match command {
        Command::Run(flags) => match config::load(manner, matches, talk) {
            Ok(loaded) => run::sidecar(loaded, config::again(manner, matches), flags.attention(), talk),
            Err(exit) => Ok(exit),
        },
        Command::Demo(flags) => run::demo(&flags, talk),
        Command::Top(flags) => top::top(manner, flags, talk),
        Command::Check(flags) => check::check(manner, &flags, matches, talk),
        Command::Certs { command } => certs::certs(manner, command, talk),
        Command::Config { command: ConfigCommand::Init } => config::init(manner, talk),
        Command::Config { command: ConfigCommand::Schema } => config::schema(talk),
        Command::Config { command: ConfigCommand::Show } => config::show(manner, matches, talk),
        Command::Health(flags) => health::health(manner, &flags, talk),
        Command::Status(flags) => status::status(manner, &flags, talk),
        Command::Versions(flags) => versions::versions(manner, &flags, talk),
        Command::Predictions(flags) => predictions::predictions(manner, &flags, talk),
        Command::Drain { command } => status::drain(manner, &command, talk),
        Command::Route { command } => route::route(manner, command, talk),
        Command::Replay { command } => replay::replay(manner, command, talk),
        Command::Diff(arguments) => diff::diff(manner, arguments, talk),
        Command::Trace(flags) => diff::trace(manner, &flags, talk),
        Command::Ledger(flags) => diff::ledger(manner, &flags, talk),
        Command::Certificate(arguments) => certificate::certificate(manner, &arguments, talk),
        Command::Webhook { command } => webhook::webhook(manner, &command, talk),
        Command::Kill { command } => kill::kill(manner, command, talk),
        Command::Audit { command } => audit::audit(manner, command, talk),
        Command::Reload { dry_run } => reload::reload(manner, dry_run, talk),
        Command::Hold { command } => hold::hold(manner, command, talk),
        Command::Limit { command } => limit::limit(manner, command, talk),
        Command::Doctor(flags) => doctor::doctor(manner, &flags, talk),
        Command::Source { command } => source::source(manner, command, talk),
        Command::Purge(flags) => purge::purge(manner, flags, talk),
        Command::Unpark { lane, dry_run } => hold::unpark(manner, &lane, dry_run, talk),
        Command::Quarantine { command } => quarantine::quarantine(manner, command, talk),
        Command::Journal(flags) => journal::journal(manner, &flags, matches, talk),
        Command::Version => version::version(talk),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "segue", &mut script);
            io::stdout().write_all(&script)?;
            Ok(Exit::Done)
        }
        Command::Standin(Standin { vendor, flags }) => run::standin(vendor, &flags, talk),
    }
}

/// Prints what clap found; an unknown command gets the nearest one and the list of all.
fn explain(error: &clap::Error) -> Exit {
    let printed = match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(word)) => io::stderr().write_all(unknown_command(word).as_bytes()),
        _ => error.print(),
    };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion if printed.is_ok() => Exit::Done,
        _ => Exit::Usage,
    }
}

fn unknown_command(word: &str) -> String {
    let command = Cli::command();
    let names: Vec<&str> = command.get_subcommands().filter(|command| !command.is_hide_set()).map(clap::Command::get_name).collect();
    let hint = nearest(word, names.iter().copied()).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
    format!("error: there is no command `{word}`{hint}\n  Commands: {}\n", names.join(", "))
}
