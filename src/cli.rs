//! The command line: what can be asked for, and the flags that every question takes.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::bench::BenchArgs;
use crate::bots::BotsArgs;
use crate::config::Flag;
use crate::config::command::ConfigCommand;
use crate::connect::ConnectArgs;
use crate::demo::DemoArgs;
use crate::exit::Usage;
use crate::keys::command::KeysCommand;
use crate::layout::LayoutArgs;
use crate::netsim::NetsimArgs;
use crate::nodes::{DrainArgs, NodesArgs};
use crate::replay::ReplayCommand;
use crate::roles::RoleArgs;
use crate::soak::SoakArgs;
use crate::token::TokenCommand;
use crate::up::UpArgs;

/// The whole command line.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "tiltyard",
    version,
    about = "A deterministic battle server",
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Examples:
  tiltyard demo
  tiltyard up
  tiltyard config print

Exit codes: 0 fine, 1 the thing asked about failed, 2 usage or configuration."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every subcommand.
#[derive(Clone, Debug, Args)]
pub(crate) struct Globals {
    /// Print exactly one JSON object on standard output; everything else goes to standard error
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Read this configuration file instead of tiltyard.toml; the variable TILTYARD_CONFIG does the same
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Override a setting, such as battle.rate_hz=60; may be given several times
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

/// What can be asked for.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the whole house in small: bots log in, are matched and fight; their recordings are verified
    #[command(after_help = "Examples:
  tiltyard demo
  tiltyard demo --players 4 --battles 8 --seconds 5 --seed 7
  tiltyard demo --lane datagram --feed frame --out replays --json

Bad tokens and random datagrams are sent on purpose; that they are refused is part of the demo.
The demo's bots decide each input some ticks ahead, so that one seed repeats itself; the time from input to state
holds this lead.
Exit codes: 0 all is well, 1 something was lost, diverged or is missing.")]
    Demo(DemoArgs),
    /// Show the configuration with where each value came from, or judge it
    #[command(
        subcommand,
        after_help = "Examples:
  tiltyard config print
  tiltyard config check"
    )]
    Config(ConfigCommand),
    /// Make or rotate the keys of a cluster
    #[command(
        subcommand,
        after_help = "Examples:
  tiltyard keys new
  tiltyard keys rotate"
    )]
    Keys(KeysCommand),
    /// Run the whole house in this process until Ctrl-C: gate, lobby, matchmaker, battle nodes
    #[command(after_help = "Examples:
  tiltyard up
  tiltyard up --nodes 3 --data /var/lib/tiltyard
  tiltyard up --json

With --json the one object comes as soon as all is ready. Ctrl-C ends in order and aborts the battles that run; SIGTERM
lets them finish, for battle.drain_seconds at most; a second signal ends at once. SIGHUP does not end it.")]
    Up(UpArgs),
    /// Run a gate: WebSockets for players, whose sessions it carries to the lobbies
    #[command(after_help = "Examples:
  tiltyard gate --etcd http://127.0.0.1:2379
  tiltyard gate --name gate-2 --etcd http://127.0.0.1:2379 --set gate.listen=127.0.0.1:7710 --set http.listen=127.0.0.1:7731

Needs a directory that the other processes reach (a build with --features etcd), and the cluster secret. SIGTERM and
Ctrl-C end it in order: its clients go on at another gate, with the same session.")]
    Gate(RoleArgs),
    /// Run a lobby: sessions, queue, matchmaker, results
    #[command(after_help = "Examples:
  tiltyard lobby --etcd http://127.0.0.1:2379
  tiltyard lobby --name lobby-2 --etcd http://127.0.0.1:2379 --set control.listen=127.0.0.1:7732 --set http.listen=127.0.0.1:7731

Needs a directory that the other processes reach (a build with --features etcd), and the keys. Its players come by way
of gates. SIGTERM and Ctrl-C end it in order: its sessions go on at another lobby.")]
    Lobby(RoleArgs),
    /// Run a battle node
    #[command(after_help = "Examples:
  tiltyard battle --etcd http://127.0.0.1:2379
  tiltyard battle --name node-2 --etcd http://127.0.0.1:2379 --set control.listen=127.0.0.1:7742 --set http.listen=127.0.0.1:7741

Needs a directory that the other processes reach (a build with --features etcd), and the cluster secret. Ctrl-C ends
in order and aborts the battles that run; SIGTERM lets them finish, for battle.drain_seconds at most; a second signal
ends at once.")]
    Battle(RoleArgs),
    /// Show who is registered in a cluster, how loaded, draining or not
    #[command(after_help = "Examples:
  tiltyard nodes --etcd http://127.0.0.1:2379
  tiltyard --json nodes")]
    Nodes(NodesArgs),
    /// Take a battle node out of service: no new battles; waits until those that run have finished
    #[command(after_help = "Examples:
  tiltyard drain node-2 --etcd http://127.0.0.1:2379
  tiltyard --json drain node-2 --seconds 600

The node's process stays until it is ended. Exit codes: 0 no battle is left, 1 some are, or the node does not answer.")]
    Drain(DrainArgs),
    /// Get, show or judge battle tokens
    #[command(
        subcommand,
        after_help = "Examples:
  tiltyard token issue --mode skirmish --out t.token
  tiltyard token check t.token"
    )]
    Token(TokenCommand),
    /// Play a battle with a token, as one test client
    #[command(after_help = "Examples:
  tiltyard connect --token t.token
  tiltyard connect --token t.token --script idle --seconds 5 --feed frame --json
  tiltyard connect --token t.token --interactive")]
    Connect(ConnectArgs),
    /// Send bots through the whole lobby of a running house
    #[command(after_help = "Examples:
  tiltyard bots --players 10
  tiltyard bots --gate ws://127.0.0.1:7700 --players 20 --battles 3 --mode duel
  tiltyard bots --players 10 --loss 5 --delay 50 --jitter 10 --seed 7

A bad link lies between each bot and its battle, both ways; the gate is reached without it.
Exit codes: 0 every bot played every battle to its end and no state differed, 1 not so.")]
    Bots(BotsArgs),
    /// Look into recordings and prove them
    #[command(
        subcommand,
        after_help = "Examples:
  tiltyard replay info battle.replay
  tiltyard replay verify tiltyard-data/replays
  tiltyard replay play battle.replay"
    )]
    Replay(ReplayCommand),
    /// Measure what this machine can carry, without a network
    #[command(after_help = "Examples:
  tiltyard bench
  tiltyard --json bench --seconds 10
  tiltyard bench --scene all --svg cost.svg
  tiltyard bench --scene many
  tiltyard bench --scene crowd

The tick is measured beside the game's rules written by hand, where the game has that (limit_us, ratio); both must come
to the same state hash at every tick. `many` steps 1,000 battles of the game's first scene and 200 of its second in turn.
`crowd` is a game of its own: it looks for the most users that hold when each of them moves, looks over a rectangle and
makes a blast of 50 m in every tick of 20 ms.")]
    Bench(BenchArgs),
    /// Prove that no state depends on its history: random battles, rolled back, restored, led astray, on all cores
    #[command(after_help = "Examples:
  tiltyard soak
  tiltyard soak --ticks 100000000
  tiltyard soak --seed 7 --json

Ends at the first state that differs, and names its seed, tick, component, actor and field.
Exit codes: 0 all states were the same (after Ctrl-C: those that were compared), 1 one was not.")]
    Soak(SoakArgs),
    /// Print the layout of the game's records: what a client that is not written in Rust reads the feed by
    #[command(after_help = "Examples:
  tiltyard layout
  tiltyard --json layout

docs/PROTOCOL.md says how to read it.")]
    Layout(LayoutArgs),
    /// Play battles over a seeded bad link in virtual time: the real endpoints, no socket, no clock
    #[command(after_help = "Examples:
  tiltyard netsim --loss 5 --delay 40 --jitter 20
  tiltyard netsim --players 100 --lane datagram --feed frame --minutes 1 --seed 7 --json
  tiltyard netsim --tables --svg state-age.svg

A seed repeats its run to the last datagram, whatever machine it runs on.
Exit codes: 0 all battles were played to the end and no state differed, 1 not so.")]
    Netsim(NetsimArgs),
}

impl Cli {
    /// All settings that flags override: `--set` first, then the subcommand's own, which say it closer by.
    pub(crate) fn flags(&self) -> Result<Vec<Flag>, Usage> {
        let split = |text: &String| match text.split_once('=') {
            Some((key, value)) => Ok(Flag::new(format!("--set {key}"), key.trim(), value)),
            None => Err(Usage(format!("--set {text}: write KEY=VALUE, such as battle.rate_hz=60"))),
        };
        let mut flags = self.globals.set.iter().map(split).collect::<Result<Vec<_>, _>>()?;
        flags.extend(match &self.command {
            Command::Connect(_)
            | Command::Replay(_)
            | Command::Bench(_)
            | Command::Layout(_)
            | Command::Netsim(_)
            | Command::Soak(_) => Vec::new(),
            Command::Token(token) => token.flags(),
            Command::Config(config) => config.flags(),
            Command::Keys(keys) => keys.flags(),
            Command::Bots(bots) => bots.flags(),
            Command::Demo(demo) => demo.flags(),
            Command::Up(up) => up.flags(),
            Command::Gate(role) | Command::Lobby(role) | Command::Battle(role) => role.flags(),
            Command::Nodes(nodes) => nodes.flags(),
            Command::Drain(drain) => drain.flags(),
        });
        Ok(flags)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn walk(command: &clap::Command, visit: &mut impl FnMut(&clap::Command)) {
        visit(command);
        for subcommand in command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
            walk(subcommand, visit);
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_help_has_examples_and_every_example_parses() {
        let mut examples = 0;
        walk(&Cli::command(), &mut |command| {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let lines: Vec<_> = help.lines().filter_map(|line| line.strip_prefix("  ")).collect();
            assert!(!lines.is_empty(), "{} has no example", command.get_name());
            for line in lines {
                let parsed = Cli::try_parse_from(line.split_whitespace());
                assert!(parsed.is_ok_and(|cli| cli.flags().is_ok()), "{line}");
                examples += 1;
            }
        });
        assert!(examples >= 10);
    }
}
