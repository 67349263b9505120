//! A gate as small as it can be: guests, one queue, one battle.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt};
use tiltyard_api::{
    BattleOver, BattleReady, Cancelled, ClientMessage, ErrorCode, GateError, GateMessage, Hex64, LoggedIn,
    LoggedOut, Login, MatchFound, ModeInfo, Modes, Queued, Text, VERSION, Welcome, YourBattle,
};
use tiltyard_netcode::token::TokenFile;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::tungstenite::Message;

use crate::world::BATTLE;

pub(crate) const MODE: &str = "skirmish";

#[derive(Default)]
struct State {
    logins: u64,
    resumes: u64,
    names: BTreeMap<u64, String>,
    /// Number and password of those who registered, by name.
    accounts: BTreeMap<String, (u64, String)>,
    /// Who queued, in order: the seat of each.
    queue: Vec<u64>,
    letters: BTreeMap<u64, mpsc::UnboundedSender<GateMessage>>,
    over: Option<BattleOver>,
}

pub(crate) struct Gate {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    cut: watch::Sender<u32>,
}

#[derive(Clone)]
struct Shared {
    state: Arc<Mutex<State>>,
    files: Arc<Vec<TokenFile>>,
    cut: watch::Receiver<u32>,
}

impl Gate {
    /// Opens a gate to a battle whose seats have these tokens; it begins when all are queued for.
    pub(crate) async fn open(files: Vec<TokenFile>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let (cut, watched) = watch::channel(0);
        let shared = Shared { state: Arc::clone(&state), files: Arc::new(files), cut: watched };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, shared.clone()));
            }
        });
        Self { address, state, cut }
    }

    /// Cuts every connection without a word.
    pub(crate) fn cut_all(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }

    pub(crate) fn resumes(&self) -> u64 {
        self.state.lock().unwrap().resumes
    }

    /// Tells everybody of the result.
    pub(crate) fn settle(&self, over: &BattleOver) {
        let mut state = self.state.lock().unwrap();
        state.over = Some(over.clone());
        for letters in state.letters.values() {
            // A player who is gone hears nothing.
            let _ = letters.send(GateMessage::BattleOver(over.clone()));
        }
    }
}

async fn serve(stream: TcpStream, mut shared: Shared) {
    let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
    let (letters, mut incoming) = mpsc::unbounded_channel();
    shared.cut.mark_unchanged();
    let mut player = 0;
    loop {
        let answer = tokio::select! {
            // A cut that came before a question is done before the question is read.
            biased;
            _ = shared.cut.changed() => return,
            Some(letter) = incoming.recv() => letter,
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    let message = ClientMessage::parse(text.as_str()).expect("a client of ours");
                    shared.answer(&mut player, &message, &letters)
                }
                Some(Ok(_)) => continue,
                _ => return,
            },
        };
        if socket.send(Message::text(answer.to_json())).await.is_err() {
            return;
        }
    }
}

impl Shared {
    fn answer(
        &self,
        player: &mut u64,
        message: &ClientMessage,
        letters: &mpsc::UnboundedSender<GateMessage>,
    ) -> GateMessage {
        let mut state = self.state.lock().unwrap();
        match message {
            ClientMessage::Hello(hello) => {
                assert_eq!(hello.version, VERSION);
                let server = Text::cut("a small gate");
                let (message_bytes_max, idle_timeout_ms) = (4096, 60_000);
                GateMessage::Welcome(Welcome { version: VERSION, server, message_bytes_max, idle_timeout_ms })
            }
            ClientMessage::Register(register) => {
                let name = register.name.as_str().to_owned();
                if state.accounts.contains_key(&name) {
                    return refusal("register", ErrorCode::NameTaken);
                }
                state.logins += 1;
                *player = state.logins;
                state.accounts.insert(name.clone(), (*player, register.password.as_str().to_owned()));
                state.names.insert(*player, name);
                state.letters.insert(*player, letters.clone());
                self.entered(&state, *player)
            }
            ClientMessage::Login(Login { name: Some(name), password: Some(password) }) => {
                match state.accounts.get(name.as_str()) {
                    Some((number, known)) if known == password.as_str() => *player = *number,
                    _ => return refusal("login", ErrorCode::Credentials),
                }
                state.letters.insert(*player, letters.clone());
                self.entered(&state, *player)
            }
            ClientMessage::Login(login) => {
                state.logins += 1;
                *player = state.logins;
                let name = login.name.as_ref().map_or("guest", Text::as_str).to_owned();
                state.names.insert(*player, name);
                state.letters.insert(*player, letters.clone());
                self.entered(&state, *player)
            }
            ClientMessage::Resume(resume) => {
                state.resumes += 1;
                *player = resume.session.as_str().parse().unwrap();
                state.letters.insert(*player, letters.clone());
                self.entered(&state, *player)
            }
            ClientMessage::Modes(_) => {
                let mode = ModeInfo {
                    name: Text::cut(MODE),
                    teams: 2,
                    seats_per_team: 2,
                    rate_hz: 30,
                    ticks_max: 90,
                    protocol_hash: vec![0; 16].try_into().unwrap(),
                    waiting: state.queue.len() as u32,
                };
                GateMessage::Modes(Modes { modes: vec![mode].try_into().unwrap() })
            }
            ClientMessage::Queue(queue) if queue.mode.as_str() != MODE => {
                refusal("queue", ErrorCode::NoSuchMode)
            }
            ClientMessage::Queue(_) if state.queue.contains(player) => {
                refusal("queue", ErrorCode::AlreadyQueued)
            }
            ClientMessage::Queue(_) => {
                state.queue.push(*player);
                if self.is_matched(&state) {
                    self.tell_of_the_match(&state);
                }
                GateMessage::Queued(Queued { mode: Text::cut(MODE), ticket: Hex64(*player) })
            }
            ClientMessage::Cancel(_) => {
                state.queue.retain(|queued| queued != player);
                GateMessage::Cancelled(Cancelled { ticket: Hex64(*player) })
            }
            ClientMessage::Issue(_) => GateMessage::BattleReady(Box::new(self.ready(0))),
            ClientMessage::WhereIsMyBattle(_) => {
                let seat = state.queue.iter().position(|queued| queued == player);
                let here = self.is_matched(&state) && state.over.is_none();
                let battle = seat.filter(|_| here).map(|seat| Box::new(self.ready(seat)));
                GateMessage::YourBattle(YourBattle { battle })
            }
            ClientMessage::Logout(_) => GateMessage::LoggedOut(LoggedOut {}),
        }
    }

    fn is_matched(&self, state: &State) -> bool {
        state.queue.len() == self.files.len()
    }

    fn entered(&self, state: &State, player: u64) -> GateMessage {
        let queued = state.queue.contains(&player);
        GateMessage::LoggedIn(LoggedIn {
            player: Hex64(player),
            name: Text::cut(&state.names[&player]),
            session: Text::cut(&player.to_string()),
            expires_unix_ms: u64::MAX,
            queued: queued && !self.is_matched(state),
            in_battle: queued && self.is_matched(state) && state.over.is_none(),
        })
    }

    fn tell_of_the_match(&self, state: &State) {
        for (seat, player) in state.queue.iter().enumerate() {
            let letters = &state.letters[player];
            let found = MatchFound { mode: Text::cut(MODE), players: self.files.len() as u16, bots: 0 };
            // A player who is gone hears nothing.
            let _ = letters.send(GateMessage::MatchFound(found));
            let _ = letters.send(GateMessage::BattleReady(Box::new(self.ready(seat))));
        }
    }

    fn ready(&self, seat: usize) -> BattleReady {
        let file = &self.files[seat];
        let addresses: Vec<_> = file.addresses.iter().map(|at| Text::cut(&at.to_string())).collect();
        BattleReady {
            battle: Hex64(BATTLE.0),
            epoch: 5,
            mode: Text::cut(MODE),
            seat: seat as u16,
            team: (seat % 2) as u8,
            token: file.token.as_bytes().to_vec().try_into().unwrap(),
            secret: file.session_secret.as_bytes().to_vec().try_into().unwrap(),
            addresses: addresses.try_into().unwrap(),
            protocol_hash: vec![0; 16].try_into().unwrap(),
            rate_hz: 30,
            expires_unix_ms: u64::MAX,
        }
    }
}

fn refusal(of: &str, code: ErrorCode) -> GateMessage {
    let (of, message) = (Text::cut(of), Text::default());
    GateMessage::Error(GateError { code, of, message, retry_after_ms: 0 })
}
