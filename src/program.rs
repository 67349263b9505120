//! From the process's arguments to its exit code.

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tiltyard_engine::Game;

use crate::cli::{Cli, Command};
use crate::config::{Source, Sources};
use crate::exit::{Exit, Usage};
use crate::output::{Output, Reader, is_lost};
use crate::roles;
use crate::stop::run_until_done;

/// Runs the program for a game on this process's arguments. Returns when all is well; any other end leaves the
/// process with its exit code, after everything was closed. The error is for `main`'s signature alone: every error
/// was shown already.
pub fn run<G: Game>() -> anyhow::Result<()> {
    show_panics_in_one_line();
    match run_with::<G>(std::env::args_os()) {
        Exit::Fine => Ok(()),
        exit => std::process::exit(i32::from(exit.code())),
    }
}

/// Runs the program for a game on these arguments, the first of which is the program's name, and says how it ended.
pub fn run_with<G: Game>(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // Known before anything is parsed, because a wrong command line is answered in JSON too.
    let json = arguments
        .iter()
        .skip(1)
        .take_while(|argument| *argument != "--")
        .any(|argument| argument == "--json");
    let output = Output::new(if json { Reader::Script } else { Reader::Person });
    let run = || match parse::<G>(&arguments) {
        Ok(cli) => answer::<G>(&cli, output).unwrap_or_else(|error| {
            output.error(&error);
            Exit::from_error(&error)
        }),
        Err(error) => refuse(output, &error),
    };
    let exit = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
        let text = "this is a mistake in the program, its place is named above; please report it";
        output.error(&anyhow::anyhow!(text));
        Exit::Failed
    });
    if exit == Exit::Fine && is_lost() { Exit::Failed } else { exit }
}

/// What this process was started as, for lines that tell what to run next: a game of one's own has its own program.
pub(crate) fn name() -> String {
    let path = std::env::args_os().next().map(PathBuf::from);
    let name = path.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| "tiltyard".to_owned())
}

fn parse<G: Game>(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let about = format!("A deterministic battle server for the game {}", G::NAME);
    let matches = Cli::command().about(about).try_get_matches_from(arguments)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    cli.globals.set = sets(arguments);
    Ok(cli)
}

/// What `--set` gives, in order. Of a flag that stands before and after the subcommand clap keeps the latter alone.
fn sets(arguments: &[OsString]) -> Vec<String> {
    let mut arguments = arguments.iter().skip(1).map(|argument| argument.to_string_lossy());
    let mut sets = Vec::new();
    while let Some(argument) = arguments.next().filter(|argument| *argument != "--") {
        if argument == "--set" {
            sets.extend(arguments.next().map(String::from));
        } else {
            sets.extend(argument.strip_prefix("--set=").map(str::to_owned));
        }
    }
    sets
}

/// Answers a command line that clap turned down, or that only asked for help or the version.
/// Lets this process have as many open files as it may: streams of strangers must not take those of recordings.
fn allow_all_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(?current, ?maximum, %error, "the limit of open files cannot be raised");
    }
}

fn refuse(output: Output, error: &clap::Error) -> Exit {
    // Nothing sensible is left to do when even this cannot be printed.
    let _ = error.print();
    let text = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => return Exit::Fine,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "a subcommand is missing".to_owned(),
        _ => {
            // The first paragraph says what is wrong; tips and usage follow.
            let text = error.render().to_string();
            let lines: Vec<_> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
            lines.join(" ").trim_start_matches("error: ").to_owned()
        }
    };
    output.result(&serde_json::json!({ "error": text }));
    Exit::Usage
}

fn answer<G: Game>(cli: &Cli, output: Output) -> anyhow::Result<Exit> {
    let modes = G::modes().iter().map(|mode| mode.name).collect();
    let loaded = Sources::of_process(cli.globals.config.clone(), cli.flags()?, modes).load();
    let command = match cli.command.clone() {
        // Judging a broken configuration is its job, so it gets the mistakes as well.
        Command::Config(command) => return command.run(output, loaded),
        command => command,
    };
    let loaded = loaded?;
    // Who serves tells what happens; for everybody else that is noise around the answer, unless it is asked for.
    let serves =
        matches!(command, Command::Up(_) | Command::Gate(_) | Command::Lobby(_) | Command::Battle(_));
    let quiet = !serves && loaded.source("log") == Some(&Source::Default);
    let config = loaded.config;
    log_to_stderr(if quiet { "warn" } else { config.log.as_str() })?;
    allow_all_files();
    match command {
        Command::Config(_) => unreachable!("answered above"),
        Command::Keys(command) => command.run(output, &config),
        Command::Demo(args) => args.run::<G>(output, config),
        Command::Up(args) => args.run::<G>(output, config),
        Command::Gate(_) => roles::gate(output, &config),
        Command::Lobby(_) => roles::lobby::<G>(output, config),
        Command::Battle(_) => roles::battle::<G>(output, &config),
        Command::Nodes(args) => args.run(output, &config),
        Command::Drain(args) => args.run(output, &config),
        Command::Token(command) => command.run::<G>(output, &config),
        Command::Connect(args) => args.run::<G>(output),
        Command::Bots(args) => args.run::<G>(output, &config),
        Command::Replay(command) if command.has_the_terminal() => command.run::<G>(output, &config),
        Command::Replay(command) => unless_stopped(output, move || command.run::<G>(output, &config)),
        Command::Bench(args) => unless_stopped(output, move || args.run::<G>(output)),
        Command::Soak(args) => args.run::<G>(output),
        Command::Layout(args) => args.run::<G>(output),
        Command::Netsim(args) => unless_stopped(output, move || args.run::<G>(output, config.battle.rate_hz)),
    }
}

/// Runs work that computes and keeps nothing open, until it is done or asked to end: then it is left where it is.
fn unless_stopped(
    output: Output,
    work: impl FnOnce() -> anyhow::Result<Exit> + Send + 'static,
) -> anyhow::Result<Exit> {
    run_until_done(|stop| async move {
        let mut work = tokio::task::spawn_blocking(work);
        tokio::select! {
            done = &mut work => match done {
                Ok(exit) => exit,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
            () = stop.asked() => {
                output.note("interrupted");
                output.result(&serde_json::json!({ "interrupted": true }));
                Ok(Exit::Failed)
            }
        }
    })
}

/// Sends log lines to standard error, coloured on a terminal only.
fn log_to_stderr(filter: &str) -> anyhow::Result<()> {
    use std::io::IsTerminal as _;
    use tracing_subscriber::filter::Targets;
    use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
    use tracing_subscriber::util::SubscriberInitExt as _;

    let filter: Targets = filter.parse().map_err(|error| Usage(format!("log: {error}")))?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // A program that embeds this one may have set its own subscriber, which then stays.
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).try_init();
    Ok(())
}

/// A panic names its place and nothing more: a backtrace helps nobody who runs the program.
fn show_panics_in_one_line() {
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let text =
            text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
        // On a taken terminal nobody could read it.
        crate::play::give_back();
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        Output::new(Reader::Script).note(format!("panic at {place}: {text}"));
    }));
}

#[cfg(test)]
mod tests {
    use tiltyard_engine::skirmish::Skirmish;

    use super::*;

    #[test]
    fn settings_before_and_after_the_subcommand_hold_together() {
        let line = "tiltyard --set a=1 --set=b=2 --json replay --set c=3 verify --set=d=4 -- --set=e";
        let arguments: Vec<_> = line.split(' ').map(OsString::from).collect();
        let cli = parse::<Skirmish>(&arguments).unwrap();
        assert_eq!(cli.globals.set, ["a=1", "b=2", "c=3", "d=4"]);
    }
}
