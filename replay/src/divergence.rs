//! Where a recording and its simulation part, and how exactly that is known.

use tiltyard_engine::{
    ActorId, Divergence, Game, Record, Registry, Save, SeatInput, Tick, TickRecord, bytemuck,
};

use crate::replica::Replica;

/// What is known about a first difference. In every [`Divergence`] the left side is what was recorded, the right
/// side what was simulated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The state hash differs, and at the next keyframe so does this field: the first one in the wire's order. The
    /// keyframe's tick may be later than that of the first different hash.
    State(Divergence),
    /// The state hash differs, but the states agree again at this later tick: the hash itself was changed.
    HashAlone {
        /// The tick at which they agree.
        agrees_at: u32,
    },
    /// The state hash differs and neither keyframe nor hash follows that could tell more.
    HashOnly,
    /// The hash of the tick is right, and its keyframe is not the state that has it.
    Keyframe(Divergence),
    /// A higher epoch took over from a keyframe that is not the state recorded for its tick.
    Takeover,
    /// The end names another last hash than the last state has.
    End,
    /// The end tells another outcome than the last state has, or that the battle had none.
    Outcome,
}

/// The first difference between a recording and its simulation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstDivergence {
    /// The first tick that differs.
    pub tick: u32,
    /// The recorded state hash of that tick, where one is recorded.
    pub recorded_hash: Option<u64>,
    /// The simulated state hash of that tick.
    pub simulated_hash: u64,
    /// The columns (`kind.component`) whose hashes differ at `parts_tick`, if the file has parts of a hash there.
    pub parts: Vec<String>,
    /// The first tick from `tick` on that has parts.
    pub parts_tick: Option<u32>,
    /// What is known besides.
    pub finding: Finding,
}

impl FirstDivergence {
    /// The first field that differs, with both values.
    #[must_use]
    pub const fn address(&self) -> Option<&Divergence> {
        match &self.finding {
            Finding::State(address) | Finding::Keyframe(address) => Some(address),
            _ => None,
        }
    }

    /// The first component that differs, as far as it is known.
    #[must_use]
    pub fn component(&self) -> Option<String> {
        let address = self.address().map(|address| format!("{}.{}", address.kind, address.component));
        // Parts of the very tick are closer to the cause than a later keyframe.
        let exact = self.parts_tick == Some(self.tick) || address.is_none();
        if exact && let Some(part) = self.parts.first() { Some(part.clone()) } else { address }
    }

    /// The first actor that differs, if an address is known; [`ActorId::NONE`] for a singleton or an input.
    #[must_use]
    pub fn actor(&self) -> Option<ActorId> {
        self.address().map(|address| address.actor)
    }

    /// The first field that differs, if an address is known.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        self.address().map(|address| address.field.as_str())
    }
}

impl std::fmt::Display for FirstDivergence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "tick {}", self.tick)?;
        if let Some(recorded) = self.recorded_hash {
            write!(f, ", recorded hash {recorded:016x}, simulated {:016x}", self.simulated_hash)?;
        }
        if let (Some(tick), false) = (self.parts_tick, self.parts.is_empty()) {
            write!(f, "; at tick {tick} these differ: {}", self.parts.join(", "))?;
        }
        match &self.finding {
            Finding::State(address) => write!(f, "; at the next keyframe: {address}"),
            Finding::HashAlone { agrees_at } => write!(f, "; the states agree again at tick {agrees_at}"),
            Finding::HashOnly => write!(f, "; no keyframe follows"),
            Finding::Keyframe(address) => write!(f, ", in the keyframe alone: {address}"),
            Finding::Takeover => write!(f, ": a takeover began from another state"),
            Finding::End => write!(f, ": the end names another last hash"),
            Finding::Outcome => write!(f, ": the end tells another outcome"),
        }
    }
}

/// The first difference between a recorded keyframe and the simulated battle at its tick.
pub(crate) fn against_keyframe<G: Game>(
    replica: &Replica<G>,
    recorded: &Save,
    recorded_record: &TickRecord<G::Input>,
    scratch: &mut Save,
) -> Option<Divergence> {
    let battle = replica.battle();
    battle.save(scratch);
    recorded
        .first_divergence(scratch, battle.world().registry())
        .or_else(|| first_input(battle.tick(), recorded_record, replica.record()))
}

/// The first input in which two records of a tick differ.
pub(crate) fn first_input<I: Record>(
    tick: Tick,
    left: &TickRecord<I>,
    right: &TickRecord<I>,
) -> Option<Divergence> {
    let seats = left.inputs.iter().zip(&right.inputs).enumerate();
    let differs = |(_, (left, right)): &(usize, (&SeatInput<I>, &SeatInput<I>))| {
        bytemuck::bytes_of(&left.input) != bytemuck::bytes_of(&right.input)
    };
    seats.filter(differs).find_map(|(seat, (left, right))| {
        let mut fields = crate::fields::of(&left.input).zip(crate::fields::of(&right.input));
        let ((name, left), (_, right)) = fields.find(|((_, left), (_, right))| left != right)?;
        Some(in_record(tick, "input", I::NAME, format!("seat {seat} {name}"), left, right))
    })
}

/// The first input, reason or command in which two records of a tick differ.
pub(crate) fn first_in_record<I: Record>(
    tick: Tick,
    left: &TickRecord<I>,
    right: &TickRecord<I>,
) -> Option<Divergence> {
    let reason = || {
        let mut seats = left.inputs.iter().zip(&right.inputs).enumerate();
        let (seat, (left, right)) = seats.find(|(_, (left, right))| left.reason != right.reason)?;
        let (left, right) = (format!("{:?}", left.reason), format!("{:?}", right.reason));
        Some(in_record(tick, "input", "reason", format!("seat {seat}"), left, right))
    };
    let command = || {
        let longer = left.commands.len().max(right.commands.len());
        let place = (0..longer).find(|place| left.commands.get(*place) != right.commands.get(*place))?;
        let show = |record: &TickRecord<I>| {
            record.commands.get(place).map_or("none".to_owned(), |command| format!("{command:?}"))
        };
        Some(in_record(tick, "record", "commands", format!("[{place}]"), show(left), show(right)))
    };
    first_input(tick, left, right).or_else(reason).or_else(command)
}

const fn in_record(
    tick: Tick,
    kind: &'static str,
    component: &'static str,
    field: String,
    left: String,
    right: String,
) -> Divergence {
    Divergence { tick, kind, component, actor: ActorId::NONE, field, left, right }
}

/// The columns in which the parts of two hashes of one tick differ.
pub(crate) fn different_parts(registry: &Registry, left: &[u64], right: &[u64]) -> Vec<String> {
    let columns = registry.kinds().iter().flat_map(|kind| {
        let rows = std::iter::once(format!("{}.rows", kind.name()));
        rows.chain(kind.columns().iter().map(|column| format!("{}.{}", kind.name(), column.record())))
    });
    let names = std::iter::once("battle.clock".to_owned()).chain(columns);
    let mut different: Vec<_> = names
        .zip(left.iter().zip(right))
        .filter(|(_, (left, right))| left != right)
        .map(|(name, _)| name)
        .collect();
    if left.len() != right.len() {
        different.push("battle.parts".to_owned());
    }
    different
}
