//! Whole houses whose players come over other transports than UDP.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use tiltyard_client::{BattleSession, Bot, Over, PlayerSettings, Report};
use tiltyard_engine::skirmish::Skirmish;
use tiltyard_netcode::Transport;
use tiltyard_netcode::link::LinkConfig;
use tiltyard_netcode::token::TokenFile;

use crate::program::{Program, Up};

#[test]
fn bots_fight_over_tcp_on_real_sockets() {
    let program = Program::new();
    let up = Up::start(&program, "up --nodes 1");
    for wishes in ["--transport tcp --lane auto", "--transport tcp --lane kcp"] {
        let line = format!("bots --gate {} --players 4 --mode duel --feed mixed {wishes}", up.gate());
        let (code, bots) = program.json(&line);
        let counts = (&bots["finished"], &bots["desyncs"], &bots["transports"]["tcp"]);
        assert_eq!((code, counts), (0, (&4.into(), &0.into(), &4.into())), "{bots}");
    }
    assert_eq!(up.interrupt(), (Some(0), String::new()));
    let (code, verdict) = program.json("replay verify tiltyard-data/replays");
    assert_eq!((code, verdict["files"].as_array().map(Vec::len)), (0, Some(4)), "{verdict}");
}

#[test]
fn bots_find_tcp_by_themselves_where_datagrams_do_not_come_through_on_real_sockets() {
    let program = Program::new();
    let up = Up::start(&program, "up --nodes 1");
    let line = format!("bots --gate {} --players 2 --mode duel --loss 100", up.gate());
    let (code, bots) = program.json(&line);
    let counts = (&bots["finished"], &bots["desyncs"], &bots["transports"]["tcp"]);
    assert_eq!((code, counts), (0, (&2.into(), &0.into(), &2.into())), "{bots}");
}

/// What a node shows in TLS.
fn write_certificate(program: &Program) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    program.write("certificate.pem", &made.cert.pem());
    program.write("key.pem", &made.signing_key.serialize_pem());
    let own = Permissions::from_mode(0o600);
    std::fs::set_permissions(program.path().join("key.pem"), own).expect("its owner's alone");
}

#[test]
fn bots_fight_over_websockets_in_tls_on_real_sockets_where_nothing_else_comes_through() {
    let program = Program::new();
    write_certificate(&program);
    let battle = "[battle]\ntcp = false\ncertificate = \"certificate.pem\"\ncertificate_key = \"key.pem\"\n";
    program.write("tiltyard.toml", battle);
    let up = Up::start(&program, "up --nodes 1");
    for wishes in ["--transport websocket", "--loss 100"] {
        let line = format!("bots --gate {} --players 4 --mode duel --feed mixed {wishes}", up.gate());
        let (code, bots) = program.json(&line);
        let counts = (&bots["finished"], &bots["desyncs"], &bots["transports"]["websocket"]);
        assert_eq!((code, counts), (0, (&4.into(), &0.into(), &4.into())), "{bots}");
    }
    assert_eq!(up.interrupt(), (Some(0), String::new()));
    program.write("tiltyard.toml", "[battle]\ncertificate = \"key.pem\"\n");
    let (code, refused) = program.json("up --nodes 1");
    assert_eq!((code, refused["error"].as_str().is_some()), (2, true), "{refused}");
    assert!(refused.to_string().contains("battle.certificate_key go together"), "{refused}");
}

/// Plays a battle whose datagrams are lost from the middle on; gives what the player saw.
async fn play_and_lose_datagrams(file: TokenFile) -> Report {
    let settings = PlayerSettings::default();
    let mut session = BattleSession::<Skirmish>::connect(file, settings, Box::new(Bot)).await.unwrap();
    while session.pilot().newest_tick().is_none_or(|tick| tick.0 < 60) {
        assert!(!session.pilot().is_over(), "{:?}", session.report());
        session.turn().await.unwrap();
    }
    let before = session.report();
    assert_eq!((before.transport, before.reconnects), (Some(Transport::Udp), 0));
    session.set_link(LinkConfig { loss: 10_000, ..LinkConfig::default() }, 1);
    let report = session.run_for(Duration::from_secs(90)).await.unwrap();
    assert_eq!(report.place.map(|place| place.seat), before.place.map(|place| place.seat));
    report
}

#[test]
fn a_player_whose_datagrams_are_blocked_in_a_battle_goes_on_over_tcp_on_real_sockets() {
    goes_on_over(Transport::Tcp, &Program::new());
}

/// A player loses what his datagrams bring in the middle of a battle, and comes back over `expected`.
fn goes_on_over(expected: Transport, program: &Program) {
    let up = Up::start_with(program, "up --nodes 1", 20);
    let (code, issued) = program.json(&format!("token issue --gate {} --mode duel --out a.token", up.gate()));
    assert_eq!(code, 0, "{issued}");
    let path = program.path().join(issued["out"].as_str().expect("a file"));
    let file: TokenFile = std::fs::read_to_string(path).expect("the token file").parse().expect("a token");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let report = runtime.block_on(play_and_lose_datagrams(file));
    assert!(matches!(report.over, Some(Over::Ended(_))), "{report:?}");
    assert_eq!((report.transport, report.reconnects), (Some(expected), 1), "{report:?}");
    assert_eq!((report.desyncs, report.agrees), (0, Some(true)), "{report:?}");
}

#[cfg(feature = "quic")]
mod quic {
    use super::*;

    const BATTLE: &str =
        "[battle]\nquic = true\ncertificate = \"certificate.pem\"\ncertificate_key = \"key.pem\"\n";

    #[test]
    fn bots_fight_over_quic_on_real_sockets_also_where_our_own_datagrams_do_not_come_through() {
        let program = Program::new();
        write_certificate(&program);
        program.write("tiltyard.toml", BATTLE);
        let up = Up::start(&program, "up --nodes 1");
        for wishes in ["--transport quic --lane kcp", "--loss 100"] {
            let line = format!("bots --gate {} --players 4 --mode duel --feed mixed {wishes}", up.gate());
            let (code, bots) = program.json(&line);
            let counts = (&bots["finished"], &bots["desyncs"], &bots["transports"]["quic"]);
            assert_eq!((code, counts), (0, (&4.into(), &0.into(), &4.into())), "{bots}");
        }
        assert_eq!(up.interrupt(), (Some(0), String::new()));
        let (code, verdict) = program.json("replay verify tiltyard-data/replays");
        assert_eq!((code, verdict["files"].as_array().map(Vec::len)), (0, Some(4)), "{verdict}");
    }

    #[test]
    fn a_player_whose_datagrams_are_blocked_in_a_battle_goes_on_over_quic_on_real_sockets() {
        let program = Program::new();
        write_certificate(&program);
        program.write("tiltyard.toml", BATTLE);
        goes_on_over(Transport::Quic, &program);
    }

    #[test]
    fn quic_without_a_certificate_is_refused() {
        let program = Program::new();
        program.write("tiltyard.toml", "[battle]\nquic = true\n");
        let (code, refused) = program.json("up --nodes 1");
        assert_eq!(code, 2, "{refused}");
        assert!(refused.to_string().contains("battle.quic needs battle.certificate"), "{refused}");
    }
}

#[cfg(not(feature = "quic"))]
#[test]
fn a_build_without_quic_says_so() {
    let program = Program::new();
    program.write("tiltyard.toml", "[battle]\nquic = true\n");
    let (code, refused) = program.json("up --nodes 1");
    assert_eq!(code, 2, "{refused}");
    assert!(refused.to_string().contains("battle.quic needs a build with `--features quic`"), "{refused}");
}
